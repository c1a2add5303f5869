//! `verdict admin snooze`: a rule that is not to count for one key until some time.
//!
//! The key stays here: only a salted hash of it is sent. See `docs/admin.md` for what that hides.

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use verdict_config::definition::{SNOOZE_PREFIX, SNOOZE_SALT_DIGITS, SnoozeDefinition, hash_unit};
use verdict_config::{ObjectKind, TimestampMs};

use super::super::{EXIT_OK, Failure, Outcome, names};
use super::Session;
use super::changes::{self, WriteArgs, plain};
use crate::output::{FAINT, GOOD, Output};

/// Hexadecimal digits of an object's name behind its prefix.
const NAME_DIGITS: usize = 16;
/// The longest time that `--for` takes, in milliseconds: ten years.
const FOR_MS_MAX: i64 = 3_653 * DAY_MS;
const DAY_MS: i64 = 86_400_000;

const ADD_HELP: &str = "Examples:\n  \
    verdict admin snooze add payment_fraud blocked_device --unit card-77 --for 7d --comment \"case 12\"\n  \
    verdict admin snooze add payment_fraud blocked_device --unit - --until 2027-01-31 --comment \"case 12\"\n\
    The second reads the key from the standard input, so that it stands in no list of processes.";

/// Commands for snoozes.
#[derive(Debug, Subcommand)]
pub enum SnoozeCommand {
    /// Let a rule not count for one key until some time. The same rule and key again: a new time.
    #[command(after_help = ADD_HELP)]
    Add(AddArgs),
    /// The snoozes, those whose time is over as well.
    #[command(after_help = "Example: verdict admin snooze list --unit card-77")]
    List {
        /// Only those for this key; `-` reads it from the standard input.
        #[arg(long, value_name = "KEY")]
        unit: Option<String>,
    },
    /// Let rules count again.
    #[command(after_help = "Examples:\n  verdict admin snooze remove snooze-0f3a9c517be2d468\n  \
                            verdict admin snooze remove --expired")]
    Remove {
        /// The snoozes, as `list` names them.
        #[arg(
            value_name = "NAME", required_unless_present = "expired", add = names::of_snoozes()
        )]
        names: Vec<String>,
        /// Those whose time is over.
        #[arg(long, conflicts_with = "names")]
        expired: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// Arguments of `snooze add`.
#[derive(Debug, Args)]
#[group(id = "end", required = true, multiple = false, args = ["for_ms", "until"])]
pub struct AddArgs {
    /// The rule set.
    #[arg(value_name = "RULE_SET", add = names::of(ObjectKind::RuleSet))]
    rule_set: String,
    /// The rule's id in the set.
    #[arg(value_name = "RULE", add = names::of_rules("add"))]
    rule: String,
    /// The unit of the flow's decisions that it is for, as requests write it; `-` reads it from the
    /// standard input.
    #[arg(long, value_name = "KEY")]
    unit: String,
    /// How long: a number with m, h, d or w.
    #[arg(long = "for", value_name = "TIME", value_parser = duration_ms)]
    for_ms: Option<i64>,
    /// Until when.
    #[arg(long, value_name = "TIME", value_parser = TimestampMs::parse)]
    until: Option<TimestampMs>,
    /// Why, for whoever finds it.
    #[arg(long, value_name = "TEXT")]
    comment: String,
    #[command(flatten)]
    write: WriteArgs,
}

/// A duration as people write it (`90m`, `12h`, `7d`, `2w`) in milliseconds.
fn duration_ms(text: &str) -> Result<i64, String> {
    let expected =
        || "expected a number with m, h, d or w, like 7d, and at most ten years".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let unit_ms = match unit {
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => DAY_MS,
        'w' => 7 * DAY_MS,
        _ => return Err(expected()),
    };
    let count = text.strip_suffix(unit).and_then(|count| count.parse::<u32>().ok());
    let whole = count.and_then(|count| i64::from(count).checked_mul(unit_ms));
    whole.filter(|ms| (1..=FOR_MS_MAX).contains(ms)).ok_or_else(expected)
}

/// A key as it was given, or the first line of the standard input.
fn read_key(given: &str) -> Result<String, Failure> {
    let key = if given == "-" {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(|error| {
            let reason = crate::reasons::io(&error);
            Failure::new(format!("the key cannot be read from standard input: {reason}"))
        })?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        given.to_owned()
    };
    if key.is_empty() { Err(Failure::new("the key is empty")) } else { Ok(key) }
}

fn now() -> TimestampMs {
    crate::http::now()
}

/// A snooze as it stands in the catalogue.
struct Found {
    name: String,
    revision: u64,
    snooze: SnoozeDefinition,
}

fn all(session: &mut Session) -> Result<Vec<Found>, Failure> {
    let settings = changes::list(session, ObjectKind::Setting)?;
    let found = settings.into_iter().filter_map(|mut setting| {
        let name = setting["name"].as_str().filter(|name| SnoozeDefinition::is_named(name))?;
        let (name, revision) = (name.to_owned(), setting["revision"].as_u64()?);
        let snooze = serde_json::from_value(setting["body"].take()).ok()?;
        Some(Found { name, revision, snooze })
    });
    Ok(found.collect())
}

/// Runs one of the commands.
pub fn run(command: &SnoozeCommand, session: &mut Session, output: &Output) -> Outcome {
    match command {
        SnoozeCommand::Add(add) => self::add(add, session, output),
        SnoozeCommand::List { unit } => list(unit.as_deref(), session, output),
        SnoozeCommand::Remove { names, expired, write } => {
            remove(names, *expired, write, session, output)
        }
    }
}

fn add(arguments: &AddArgs, session: &mut Session, output: &Output) -> Outcome {
    let AddArgs { rule_set, rule, for_ms, until, comment, write, .. } = arguments;
    let key = read_key(&arguments.unit)?;
    let set = changes::read(session, ObjectKind::RuleSet, rule_set)?;
    let flow = plain(&set.body["flow"]);
    let end = for_ms.map(|for_ms| TimestampMs(now().0.saturating_add(for_ms)));
    let end = end.or(*until).ok_or_else(|| Failure::new("say --for or --until"))?;
    // One salt a flow: a decision hashes its unit once for each.
    let known = all(session)?.into_iter().find(|known| known.snooze.flow == flow);
    let salt = known.map_or_else(new_salt, |known| known.snooze.salt);
    let snooze = SnoozeDefinition {
        unit_hash: hex::encode(hash_unit(&salt, &flow, &key)),
        rule_set: rule_set.clone(),
        rule: rule.clone(),
        until: end,
        comment: comment.clone(),
        flow,
        salt,
    };
    let name = name_of(&snooze);
    let why = format!("snooze {rule_set}/{rule} until {end}: {comment}");
    let body = serde_json::to_value(&snooze).map_err(anyhow::Error::from)?;
    let change = changes::put(ObjectKind::Setting, &name, None, body);
    changes::propose(session, vec![change], (write, &why), output)
}

fn new_salt() -> String {
    let salt: [u8; SNOOZE_SALT_DIGITS / 2] = rand::random();
    hex::encode(salt)
}

/// The name of the object: the same for the same rule and key, so that there is one of them.
fn name_of(snooze: &SnoozeDefinition) -> String {
    let SnoozeDefinition { rule_set, rule, unit_hash, salt, .. } = snooze;
    let mut digits = hex::encode(hash_unit(salt, rule_set, &format!("{rule}:{unit_hash}")));
    digits.truncate(NAME_DIGITS);
    format!("{SNOOZE_PREFIX}{digits}")
}

fn list(key: Option<&str>, session: &mut Session, output: &Output) -> Outcome {
    let key = key.map(read_key).transpose()?;
    let mut found = all(session)?;
    if let Some(key) = &key {
        found.retain(|known| {
            let SnoozeDefinition { salt, flow, unit_hash, .. } = &known.snooze;
            hex::encode(hash_unit(salt, flow, key)) == *unit_hash
        });
    }
    found.sort_by(|a, b| (a.snooze.until, &a.name).cmp(&(b.snooze.until, &b.name)));
    let now = now();
    if output.is_json() {
        let snoozes: Vec<Json> = found
            .iter()
            .map(|known| {
                let Found { name, revision, snooze } = known;
                json!({ "name": name, "revision": revision, "flow": snooze.flow,
                    "rule_set": snooze.rule_set, "rule": snooze.rule, "until": snooze.until,
                    "expired": snooze.until <= now, "comment": snooze.comment })
            })
            .collect();
        output.json(&json!({ "snoozes": snoozes }));
        return Ok(EXIT_OK);
    }
    let rows = found.iter().map(|Found { name, snooze, .. }| {
        let state = match snooze.until <= now {
            true => output.styled(FAINT, "over"),
            false => output.styled(GOOD, "sleeps"),
        };
        vec![
            name.clone(),
            snooze.flow.clone(),
            format!("{}/{}", snooze.rule_set, snooze.rule),
            snooze.until.to_string(),
            state,
            snooze.comment.clone(),
        ]
    });
    output.table(&["snooze", "flow", "rule", "until", "state", "comment"], rows.collect());
    Ok(EXIT_OK)
}

fn remove(
    names: &[String],
    expired: bool,
    write: &WriteArgs,
    session: &mut Session,
    output: &Output,
) -> Outcome {
    let (found, now) = (all(session)?, now());
    let removed: Vec<&Found> = if expired {
        found.iter().filter(|known| known.snooze.until <= now).collect()
    } else {
        let one = |name: &String| {
            let known = found.iter().find(|known| known.name == *name);
            known.ok_or_else(|| Failure::new(format!("there is no snooze {name:?}")))
        };
        names.iter().map(one).collect::<Result<_, _>>()?
    };
    if removed.is_empty() {
        return Err(Failure::new("no snooze's time is over"));
    }
    let rules: Vec<String> = removed
        .iter()
        .map(|known| format!("{}/{}", known.snooze.rule_set, known.snooze.rule))
        .collect();
    let why = format!("{} again", rules.join(", "));
    let mut why: String = why.chars().take(500).collect();
    why.insert_str(0, "count ");
    let changes = removed
        .iter()
        .map(|known| changes::delete(ObjectKind::Setting, &known.name, Some(known.revision)));
    changes::propose(session, changes.collect(), (write, &why), output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, ms) in [("90m", 5_400_000), ("12h", 43_200_000), ("7d", 604_800_000)] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        assert_eq!(duration_ms("2w"), duration_ms("14d"));
        for wrong in ["", "7", "d", "-1d", "0d", "7y", "99999w", "1.5h", "7 d", "7é"] {
            assert!(duration_ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_rule_and_key_make_one_name() {
        let snooze = |rule: &str, unit: &str| SnoozeDefinition {
            flow: "payment".to_owned(),
            rule_set: "fraud".to_owned(),
            rule: rule.to_owned(),
            salt: "0a".repeat(16),
            unit_hash: hex::encode(hash_unit(&"0a".repeat(16), "payment", unit)),
            until: TimestampMs(1),
            comment: "case 7".to_owned(),
        };
        let name = name_of(&snooze("large", "c1"));
        assert!(verdict_config::ObjectName::new(ObjectKind::Setting, name.as_str()).is_ok());
        let later = SnoozeDefinition { until: TimestampMs(9), ..snooze("large", "c1") };
        assert_eq!(name_of(&later), name);
        assert_ne!(name_of(&snooze("large", "c2")), name);
        assert_ne!(name_of(&snooze("small", "c1")), name);
    }
}
