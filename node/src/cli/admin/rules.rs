//! `verdict admin rules` and `verdict admin flow`.
//!
//! A draft is a rule set that stands beside the published one, as the setting `draft.NAME`: it is
//! replicated, has a history, and serves nobody until it is published.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value as Json, json};
use verdict_actors::catalogue::{CatalogueObjects, check_catalogue};
use verdict_config::catalogue::{plan_files, read_files, read_yaml};
use verdict_config::{ObjectId, ObjectKind, ObjectName};
use verdict_rules::RuleLimits;

use super::super::{EXIT_FAULTS, EXIT_OK, Failure, Outcome, data, names};
use super::Session;
use super::changes::{self, WriteArgs, plain};
use crate::catalogue_dir;
use crate::output::{BAD, GOOD, Output};

/// Commands for rule sets.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// The rule sets and drafts.
    #[command(after_help = "Example: verdict admin rules list")]
    List,
    /// One rule set, or its draft.
    #[command(after_help = "Example: verdict admin rules show merchant_risk --draft")]
    Show {
        /// The rule set.
        #[arg(add = names::of(ObjectKind::RuleSet))]
        name: String,
        /// Its draft.
        #[arg(long)]
        draft: bool,
    },
    /// Say what publishing a file would be refused for, and how it differs.
    #[command(after_help = "Example: verdict admin rules check rules/merchant_risk.yaml")]
    Check {
        /// The rule set's YAML file.
        file: PathBuf,
    },
    /// Keep a file as a draft.
    #[command(after_help = "Example: verdict admin rules draft rules/merchant_risk.yaml")]
    Draft {
        /// The rule set's YAML file.
        file: PathBuf,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Run the tests beside the rules of a file, a draft or a published rule set, against the
    /// lists, tables and flows that are published.
    #[command(after_help = "Example: verdict admin rules test merchant_risk --draft")]
    Test {
        /// The rule set, or a YAML file.
        #[arg(add = names::of(ObjectKind::RuleSet))]
        name: String,
        /// Its draft.
        #[arg(long)]
        draft: bool,
    },
    /// Publish a draft, or a file: one change set, from one revision on every node.
    #[command(after_help = "Example: verdict admin rules publish merchant_risk --why \"case 12\"")]
    Publish {
        /// The rule set whose draft it is, or a YAML file.
        #[arg(add = names::of(ObjectKind::RuleSet))]
        name: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// Commands for flows.
#[derive(Debug, Subcommand)]
pub enum FlowCommand {
    /// The flows.
    #[command(after_help = "Example: verdict admin flow list")]
    List,
    /// One flow.
    #[command(after_help = "Example: verdict admin flow show merchant_onboarding")]
    Show {
        /// The flow.
        #[arg(add = names::of(ObjectKind::Flow))]
        name: String,
    },
}

fn draft_name(name: &str) -> String {
    format!("draft.{name}")
}

/// Runs a command for flows.
pub fn run_flow(command: &FlowCommand, session: &mut Session, output: &Output) -> Outcome {
    let name = match command {
        FlowCommand::Show { name } => {
            return changes::show_object(session, ObjectKind::Flow, name, output);
        }
        FlowCommand::List => "flow",
    };
    let flows = changes::list(session, ObjectKind::Flow)?;
    if output.is_json() {
        output.json(&json!({ "flows": flows }));
        return Ok(EXIT_OK);
    }
    let rows = flows.iter().map(|flow| {
        let body = &flow["body"];
        let rules = body["rules"].as_array().cloned().unwrap_or_default();
        let rules: Vec<String> = rules.iter().map(plain).collect();
        let fields = body["fields"].as_object().map_or(0, serde_json::Map::len);
        vec![
            plain(&flow["name"]),
            fields.to_string(),
            rules.join(", "),
            plain(&body["record"]),
            plain(&flow["revision"]),
        ]
    });
    output.table(&[name, "fields", "rules", "record", "revision"], rows.collect());
    Ok(EXIT_OK)
}

/// Runs a command for rule sets.
pub fn run(command: &RulesCommand, session: &mut Session, output: &Output) -> Outcome {
    match command {
        RulesCommand::List => list(session, output),
        RulesCommand::Show { name, draft: false } => {
            changes::show_object(session, ObjectKind::RuleSet, name, output)
        }
        RulesCommand::Show { name, draft: true } => {
            changes::show_object(session, ObjectKind::Setting, &draft_name(name), output)
        }
        RulesCommand::Check { file } => {
            let (name, body) = read_rules(file)?;
            let write = WriteArgs { why: None, dry_run: true };
            let change = changes::put(ObjectKind::RuleSet, &name, None, body);
            changes::propose(session, vec![change], (&write, "check"), output)
        }
        RulesCommand::Draft { file, write } => {
            let (name, body) = read_rules(file)?;
            let why = format!("draft of rule set {name}");
            let change = changes::put(ObjectKind::Setting, &draft_name(&name), None, body);
            changes::propose(session, vec![change], (write, &why), output)
        }
        RulesCommand::Test { name, draft } => test(session, name, *draft, output),
        RulesCommand::Publish { name, write } => publish(session, name, write, output),
    }
}

fn publish(session: &mut Session, name: &str, write: &WriteArgs, output: &Output) -> Outcome {
    let path = Path::new(name);
    let changes = if path.is_file() {
        let (name, body) = read_rules(path)?;
        vec![changes::put(ObjectKind::RuleSet, &name, None, body)]
    } else {
        let draft = changes::read(session, ObjectKind::Setting, &draft_name(name))?;
        vec![
            changes::put(ObjectKind::RuleSet, name, None, draft.body),
            changes::delete(ObjectKind::Setting, &draft_name(name), Some(draft.revision)),
        ]
    };
    let why = format!("publish rule set {}", changes[0].name);
    changes::propose(session, changes, (write, &why), output)
}

/// A rule set of a YAML file: its name and its body.
fn read_rules(path: &Path) -> Result<(String, Json), Failure> {
    let bytes = data::read_bytes(path)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(format!("{} is not UTF-8: save it as UTF-8", path.display())))?;
    let file = path.display().to_string();
    let body = read_yaml(&file, &text)?.json;
    match body["rule_set"].as_str().map(str::to_owned) {
        Some(name) => Ok((name, body)),
        None => Err(Failure::new(format!("{file} says no rule_set"))),
    }
}

fn list(session: &mut Session, output: &Output) -> Outcome {
    let published = changes::list(session, ObjectKind::RuleSet)?;
    let settings = changes::list(session, ObjectKind::Setting)?;
    let drafts: Vec<&str> = settings
        .iter()
        .filter_map(|setting| setting["name"].as_str()?.strip_prefix("draft."))
        .collect();
    if output.is_json() {
        output.json(&json!({ "rule_sets": published, "drafts": drafts }));
        return Ok(EXIT_OK);
    }
    let rows = published.iter().map(|set| {
        let name = plain(&set["name"]);
        let rules = set["body"]["rules"].as_array().map_or(0, Vec::len);
        let draft = if drafts.contains(&name.as_str()) { "yes" } else { "" };
        let flow = plain(&set["body"]["flow"]);
        vec![name, flow, rules.to_string(), plain(&set["revision"]), draft.to_owned()]
    });
    output.table(&["rule set", "flow", "rules", "revision", "draft"], rows.collect());
    Ok(EXIT_OK)
}

fn test(session: &mut Session, name: &str, draft: bool, output: &Output) -> Outcome {
    let path = Path::new(name);
    let tested = match (path.is_file(), draft) {
        (true, _) => Some(read_rules(path)?),
        (false, true) => {
            let draft = changes::read(session, ObjectKind::Setting, &draft_name(name))?;
            Some((name.to_owned(), draft.body))
        }
        (false, false) => None,
    };
    let mut objects = fetch(session)?;
    let name = match tested {
        None => name.to_owned(),
        Some((name, body)) => {
            let kind = ObjectKind::RuleSet;
            let object = ObjectName::new(kind, name.as_str()).map_err(|fault| vec![fault])?;
            objects.insert(ObjectId { kind, name: object }, body);
            name
        }
    };
    // Through the texts of files, as `verdict test` reads them, so that faults have places.
    let plan = plan_files(&read_files(&BTreeMap::new())?, &objects)?;
    let files: BTreeMap<String, Vec<u8>> = plan.writes.into_iter().collect();
    let text = read_files(&files)?;
    let report = check_catalogue(&CatalogueObjects::from(&text), None, RuleLimits::default());
    let tests = report.tests.iter().find(|tests| tests.rule_set == name);
    let object = format!("rule_set/{name}");
    let faults: Vec<_> = report
        .blocking()
        .into_iter()
        .filter(|fault| fault.object.to_string() == object)
        .map(|fault| text.locate(&fault.object, fault.fault))
        .collect();
    let Some(tests) = tests else {
        if faults.is_empty() {
            return Err(Failure::new(format!("there is no rule set {name:?}")));
        }
        return Err(Failure::Faults(faults));
    };
    let (run, passed) = (tests.report.results.len(), tests.report.passed());
    if output.is_json() {
        output.json(&json!({
            "rule_set": name, "run": run, "passed": passed, "failed": run - passed,
            "never_hit": tests.report.never_hit, "faults": faults,
        }));
    } else {
        output.faults(&faults);
        let style = if passed == run { GOOD } else { BAD };
        output.say(output.styled(style, &format!("{passed} of {run} tests passed")));
        if !tests.report.never_hit.is_empty() {
            output.say(format!("No test hits {}.", tests.report.never_hit.join(", ")));
        }
    }
    Ok(if passed == run && faults.is_empty() { EXIT_OK } else { EXIT_FAULTS })
}

/// Everything that rules can name. Models cannot be named by rules and stay where they are.
fn fetch(session: &mut Session) -> Result<BTreeMap<ObjectId, Json>, Failure> {
    let mut objects = BTreeMap::new();
    let kinds = ObjectKind::ALL.into_iter().filter(|kind| catalogue_dir::has_files(*kind));
    for kind in kinds.filter(|kind| *kind != ObjectKind::Model) {
        for mut object in changes::list(session, kind)? {
            let name = object["name"].as_str().unwrap_or_default();
            let name = ObjectName::new(kind, name).map_err(|fault| vec![fault])?;
            objects.insert(ObjectId { kind, name }, object["body"].take());
        }
    }
    Ok(objects)
}
