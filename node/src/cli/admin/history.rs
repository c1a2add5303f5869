//! `verdict admin log`, `history`, `diff` and `rollback`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};
use verdict_admin::{ObjectName, Request, RollbackRequest};
use verdict_config::ObjectKind;

use super::super::{EXIT_OK, Failure, Outcome};
use super::Session;
use super::changes::{self, WriteArgs, plain};
use crate::output::{FAINT, GOOD, HEAD, Output};

/// Between two looks for what is new.
const FOLLOW_PERIOD: Duration = Duration::from_millis(500);
/// The most entries that one look takes.
const PAGE: u32 = 200;

/// Help of `rollback`.
pub const ROLLBACK_HELP: &str = "Examples:\n  \
    verdict admin rollback --last\n  \
    verdict admin rollback --to 41 --why \"false positives\"\n  \
    verdict admin rollback --to 41 --object rule_set/merchant_risk --object flag/new-checkout\n  \
    Example of looking first: verdict admin rollback --last --dry-run";

/// Arguments of `log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Go on with what is changed from now on.
    #[arg(long)]
    follow: bool,
    /// How many entries.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The kind.
    #[arg(value_name = "KIND", value_parser = kind)]
    kind: ObjectKind,
    /// The object; all of the kind, if absent.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// How many entries.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The older revision.
    #[arg(value_name = "FROM")]
    from: u64,
    /// The newer one; what is agreed now, if absent.
    #[arg(value_name = "TO")]
    to: Option<u64>,
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false, args = ["to", "last"])]
pub struct RollbackArgs {
    /// The revision whose state is restored.
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    /// Undo the last change set: what it touched is again as it was before.
    #[arg(long)]
    last: bool,
    /// Only these objects, as KIND/NAME; everything, if absent.
    #[arg(long = "object", value_name = "KIND/NAME", value_parser = object_name)]
    objects: Vec<ObjectName>,
    #[command(flatten)]
    write: WriteArgs,
}

/// A kind as the command line names it.
fn kind(text: &str) -> Result<ObjectKind, String> {
    text.parse().map_err(|fault: verdict_config::Fault| fault.message)
}

/// An object as the command line names it.
fn object_name(text: &str) -> Result<ObjectName, String> {
    let (kind, name) = text.split_once('/').ok_or("expected KIND/NAME, like flag/new-checkout")?;
    Ok(ObjectName { kind: self::kind(kind)?, name: name.to_owned() })
}

fn entries(session: &mut Session, request: &Request) -> Result<Vec<Json>, Failure> {
    let mut answer = session.ask(request)?.answer;
    Ok(match answer["entries"].take() {
        Json::Array(entries) => entries,
        _ => Vec::new(),
    })
}

fn page(limit: u32) -> Request {
    Request::History { kind: None, name: None, limit: Some(limit), cursor: None }
}

/// Shows the audit.
pub fn log(arguments: &LogArgs, session: &mut Session, output: &Output) -> Outcome {
    let mut shown = entries(session, &page(arguments.limit))?;
    if output.is_json() && !arguments.follow {
        output.json(&json!({ "entries": shown }));
        return Ok(EXIT_OK);
    }
    // The newest stands last on a terminal, where a follower's next line appears.
    shown.reverse();
    show_entries(&shown, output);
    let mut last = revision_of(shown.last());
    if !arguments.follow {
        return Ok(EXIT_OK);
    }
    // Until it is interrupted.
    loop {
        std::thread::sleep(FOLLOW_PERIOD);
        let mut newer = entries(session, &page(PAGE))?;
        newer.retain(|entry| revision_of(Some(entry)) > last);
        newer.reverse();
        show_entries(&newer, output);
        last = last.max(revision_of(newer.last()));
    }
}

fn revision_of(entry: Option<&Json>) -> u64 {
    entry.and_then(|entry| entry["revision"].as_u64()).unwrap_or(0)
}

fn show_entries(entries: &[Json], output: &Output) {
    if output.is_json() {
        entries.iter().for_each(|entry| output.json(entry));
        return;
    }
    let mut seen = BTreeSet::new();
    for entry in entries {
        if seen.insert(revision_of(Some(entry))) {
            output.say(format!(
                "{} {} by {}{}  {}",
                output.styled(HEAD, &format!("revision {}", entry["revision"])),
                plain(&entry["at"]),
                output.styled(GOOD, &plain(&entry["author"])),
                from_where(entry),
                plain(&entry["why"]),
            ));
            let index = format!("log index {}", entry["log_index"]);
            let id = plain(&entry["request_id"]);
            output.say(output.styled(FAINT, &format!("  {index}, request {id}")));
        }
        let (op, kind) = (plain(&entry["op"]), plain(&entry["kind"]));
        output.say(format!("  {op} {kind} {}", plain(&entry["name"])));
    }
}

/// Where a change came from; nothing where it came from the node itself.
fn from_where(entry: &Json) -> String {
    entry["address"].as_str().map(|address| format!(" from {address}")).unwrap_or_default()
}

/// Shows the history of an object.
pub fn history(arguments: &HistoryArgs, session: &mut Session, output: &Output) -> Outcome {
    let HistoryArgs { kind, name, limit } = arguments;
    let (kind, name, limit) = (Some(*kind), name.clone(), Some(*limit));
    let found = entries(session, &Request::History { kind, name, limit, cursor: None })?;
    if output.is_json() {
        output.json(&json!({ "entries": found }));
        return Ok(EXIT_OK);
    }
    let rows = found.iter().map(|entry| {
        vec![
            plain(&entry["revision"]),
            plain(&entry["at"]),
            plain(&entry["author"]),
            plain(&entry["address"]),
            plain(&entry["op"]),
            plain(&entry["name"]),
            plain(&entry["why"]),
        ]
    });
    output.table(&["revision", "at", "author", "from", "op", "name", "why"], rows.collect());
    Ok(EXIT_OK)
}

/// Shows what differs between two revisions.
pub fn diff(arguments: &DiffArgs, session: &mut Session, output: &Output) -> Outcome {
    let request = Request::Diff { from: arguments.from, to: arguments.to };
    let answer = session.ask(&request)?.answer;
    if output.is_json() {
        output.json(&answer);
        return Ok(EXIT_OK);
    }
    let differences = answer["differences"].as_array().cloned().unwrap_or_default();
    for difference in &differences {
        changes::show_difference(difference, output);
    }
    let left_out = answer["left_out"].as_u64().unwrap_or(0);
    if left_out > 0 {
        output.say(format!("{left_out} more objects differ."));
    }
    if differences.is_empty() {
        output.say(format!("Revisions {} and {} say the same.", answer["from"], answer["to"]));
    }
    Ok(EXIT_OK)
}

/// Restores an older state.
pub fn rollback(arguments: &RollbackArgs, session: &mut Session, output: &Output) -> Outcome {
    let (to_revision, objects) = match arguments.to {
        Some(to) => (to, arguments.objects.clone()),
        None => last_change(session, &arguments.objects)?,
    };
    let why = arguments.write.why.clone();
    let request = Request::Rollback(RollbackRequest {
        request_id: changes::request_id(),
        why: why.unwrap_or_else(|| format!("rollback to revision {to_revision}")),
        dry_run: arguments.write.dry_run,
        to_revision,
        objects,
    });
    let answered = session.ask(&request)?;
    changes::show_applied(&answered.answer, output)
}

/// What the last change set touched, and the revision before it.
fn last_change(
    session: &mut Session,
    only: &[ObjectName],
) -> Result<(u64, Vec<ObjectName>), Failure> {
    // A change set has at most as many objects as a page has entries.
    let found = entries(session, &page(1_000))?;
    let last = revision_of(found.first());
    if last == 0 {
        return Err(Failure::new("nothing was changed yet"));
    }
    let touched = found.iter().filter(|entry| revision_of(Some(entry)) == last);
    let mut objects = Vec::new();
    for entry in touched {
        let text = format!("{}/{}", plain(&entry["kind"]), plain(&entry["name"]));
        let object = object_name(&text).map_err(Failure::new)?;
        if only.is_empty() || only.contains(&object) {
            objects.push(object);
        }
    }
    if objects.is_empty() {
        return Err(Failure::new(format!(
            "the last change, revision {last}, touched none of them"
        )));
    }
    Ok((last - 1, objects))
}
