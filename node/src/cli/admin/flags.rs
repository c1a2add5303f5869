//! `verdict admin flag`.

use clap::Subcommand;
use serde_json::{Value as Json, json};
use verdict_config::ObjectKind;

use super::super::{EXIT_OK, Failure, Outcome, names};
use super::Session;
use super::changes::{self, Current, Edit, WriteArgs, plain};
use crate::output::{BAD, FAINT, GOOD, Output};
use crate::reasons;

/// Commands for flags.
#[derive(Debug, Subcommand)]
pub enum FlagCommand {
    /// The flags with their state and default.
    #[command(after_help = "Example: verdict admin flag list")]
    List,
    /// One flag.
    #[command(after_help = "Example: verdict admin flag get industry-model")]
    Get {
        /// The flag.
        #[arg(add = names::of(ObjectKind::Flag))]
        name: String,
    },
    /// Set the variant that a flag gives by default, or replace its definition by a file's.
    #[command(after_help = "Example: verdict admin flag set new-checkout on --why \"go\"")]
    Set {
        /// The flag.
        #[arg(add = names::of(ObjectKind::Flag))]
        name: String,
        /// The variant.
        #[arg(required_unless_present = "file", add = names::of_variants("set"))]
        variant: Option<String>,
        /// A JSON file with the whole definition instead.
        #[arg(long, value_name = "FILE", conflicts_with = "variant")]
        file: Option<std::path::PathBuf>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Enable a disabled flag, or disable an enabled one.
    #[command(after_help = "Example: verdict admin flag toggle new-checkout")]
    Toggle {
        /// The flag.
        #[arg(add = names::of(ObjectKind::Flag))]
        name: String,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Give everybody one variant at once, whatever else the flag says; or end that. Shows first what
    /// will be served and to whom that is new.
    #[command(after_help = "Example: verdict admin flag kill new-checkout --variant off")]
    Kill {
        /// The flag.
        #[arg(add = names::of(ObjectKind::Flag))]
        name: String,
        /// The variant; the default one, if absent.
        #[arg(long, value_name = "VARIANT", add = names::of_variants("kill"))]
        variant: Option<String>,
        /// Let the flag's own rules hold again.
        #[arg(long, conflicts_with = "variant")]
        undo: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// Runs one of the commands.
pub fn run(command: &FlagCommand, session: &mut Session, output: &Output) -> Outcome {
    let kind = ObjectKind::Flag;
    match command {
        FlagCommand::List => list(session, output),
        FlagCommand::Get { name } => changes::show_object(session, kind, name, output),
        FlagCommand::Set { name, file: Some(file), write, .. } => {
            let bytes = super::super::data::read_bytes(file)?;
            let body: Json = serde_json::from_slice(&bytes).map_err(|error| {
                Failure::new(format!("{}: {}", file.display(), reasons::json(&error)))
            })?;
            let change = changes::put(kind, name, None, body);
            let why = format!("set flag {name} from a file");
            changes::propose(session, vec![change], (write, &why), output)
        }
        FlagCommand::Set { name, variant, write, .. } => {
            let variant = variant.clone().unwrap_or_default();
            let why = format!("set flag {name} to {variant}");
            edit(session, name, (write, &why), output, |flag| {
                if !flag["variants"].as_object().is_some_and(|all| all.contains_key(&variant)) {
                    return Err(no_variant(flag, &variant));
                }
                flag["defaultVariant"] = json!(variant);
                Ok(())
            })
        }
        FlagCommand::Toggle { name, write } => {
            let why = format!("toggle flag {name}");
            edit(session, name, (write, &why), output, |flag| {
                let enabled = flag["state"] == "ENABLED";
                flag["state"] = json!(if enabled { "DISABLED" } else { "ENABLED" });
                Ok(())
            })
        }
        FlagCommand::Kill { name, variant, undo, write } => {
            if *undo {
                let why = format!("revive flag {name}");
                return edit(session, name, (write, &why), output, revive);
            }
            let why = format!("kill flag {name}");
            kill(session, (name, variant.as_ref()), (write, &why), output)
        }
    }
}

/// Fixes a flag to one variant, and says before what will be served and to whom that is new.
fn kill(
    session: &mut Session,
    (name, variant): (&str, Option<&String>),
    write: (&WriteArgs, &str),
    output: &Output,
) -> Outcome {
    let Current { revision, mut body } = changes::read(session, ObjectKind::Flag, name)?;
    let default = body["defaultVariant"].as_str().map(str::to_owned);
    let is_named = variant.is_some();
    let variant = variant.cloned().or(default).ok_or_else(|| {
        Failure::new(format!(
            "the flag {name} has no default variant: name one with --variant; there are {}",
            variants(&body).join(", ")
        ))
    })?;
    if !variants(&body).contains(&variant.as_str()) {
        return Err(no_variant(&body, &variant));
    }
    let effect = Effect::of(name, &body, &variant, is_named);
    effect.show(output);
    body["off"] = json!(variant);
    let change = changes::put(ObjectKind::Flag, name, Some(revision), body);
    let mut answer = changes::send(session, vec![change], write)?;
    answer["effect"] = effect.json();
    changes::show_applied(&answer, output)
}

/// Lets a flag's own rules hold again.
fn revive(flag: &mut Json) -> Result<(), Failure> {
    let body = flag.as_object_mut().ok_or_else(|| Failure::new("the flag is no object"))?;
    match body.shift_remove("off") {
        Some(_) => Ok(()),
        None => Err(Failure::new("the flag was not killed, so that there is nothing to undo")),
    }
}

/// What fixing a flag to a variant does.
#[derive(Debug, PartialEq)]
struct Effect {
    serves: String,
    value: Json,
    /// Who gets something else than before, in words.
    changes_for: String,
    warning: Option<String>,
}

impl Effect {
    fn of(name: &str, flag: &Json, variant: &str, is_named: bool) -> Self {
        let default = flag["defaultVariant"].as_str();
        let others: Vec<&str> =
            variants(flag).into_iter().filter(|other| *other != variant).collect();
        let has_targeting = !matches!(&flag["targeting"], Json::Null)
            && flag["targeting"].as_object().is_none_or(|targeting| !targeting.is_empty());
        let (changes_for, changes_nothing) = match flag["off"].as_str() {
            Some(off) if off == variant => ("nobody".to_owned(), true),
            Some(off) => (format!("everybody: the flag is fixed to {off} now"), false),
            None if flag["state"] != "ENABLED" => (
                "everybody: the flag is disabled now, and applications use their own default"
                    .to_owned(),
                false,
            ),
            None if has_targeting && default == Some(variant) => {
                ("those to whom the targeting gives another variant".to_owned(), false)
            }
            None if has_targeting => {
                let default = default.unwrap_or("no variant");
                (
                    format!(
                        "everybody who gets {default} now, or another variant by the targeting"
                    ),
                    false,
                )
            }
            None if default == Some(variant) => ("nobody".to_owned(), true),
            None => (format!("everybody: they get {} now", default.unwrap_or("no variant")), false),
        };
        let choice = match others.as_slice() {
            [] => "the flag has no other variant".to_owned(),
            others => format!("name another with --variant: {}", others.join(", ")),
        };
        let warning = if changes_nothing {
            Some(format!("nothing changes: {name} gives {variant} to everybody already; {choice}"))
        } else if is_named {
            None
        } else {
            Some(format!(
                "{variant} is the default variant of {name}, which most may get already; to stop \
                 {variant} itself, {choice}"
            ))
        };
        let value = flag["variants"][variant].clone();
        Self { serves: variant.to_owned(), value, changes_for, warning }
    }

    fn show(&self, output: &Output) {
        let value = self.value.to_string();
        let short: String = value.chars().take(80).collect();
        output.say(format!("Everybody gets {} ({short}).", self.serves));
        output.say(format!("It changes for {}.", self.changes_for));
        if let Some(warning) = &self.warning {
            output.warn(warning);
        }
    }

    fn json(&self) -> Json {
        json!({
            "serves": self.serves, "value": self.value, "changes_for": self.changes_for,
            "warning": self.warning,
        })
    }
}

fn variants(flag: &Json) -> Vec<&str> {
    flag["variants"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn no_variant(flag: &Json, variant: &str) -> Failure {
    let known = variants(flag).join(", ");
    Failure::new(format!("the flag has no variant {variant:?}; it has {known}"))
}

fn edit(
    session: &mut Session,
    name: &str,
    (write, why): (&WriteArgs, &str),
    output: &Output,
    change: impl Fn(&mut Json) -> Result<(), Failure>,
) -> Outcome {
    let edit = Edit { kind: ObjectKind::Flag, name, write, why: why.to_owned() };
    changes::edit(session, &edit, output, change)
}

fn list(session: &mut Session, output: &Output) -> Outcome {
    let flags = changes::list(session, ObjectKind::Flag)?;
    if output.is_json() {
        output.json(&json!({ "flags": flags }));
        return Ok(EXIT_OK);
    }
    let rows = flags.iter().map(|flag| {
        let body = &flag["body"];
        let state = match (body["off"].as_str(), body["state"].as_str()) {
            (Some(off), _) => output.styled(BAD, &format!("killed: {off}")),
            (None, Some("ENABLED")) => output.styled(GOOD, "enabled"),
            (None, _) => output.styled(FAINT, "disabled"),
        };
        let variants = body["variants"].as_object().map(|all| all.len()).unwrap_or(0);
        vec![
            plain(&flag["name"]),
            state,
            plain(&body["defaultVariant"]),
            variants.to_string(),
            plain(&flag["revision"]),
        ]
    });
    output.table(&["flag", "state", "default", "variants", "revision"], rows.collect());
    Ok(EXIT_OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flag: Json, variant: &str, is_named: bool, changes_for: &str, warning: Option<&str>) {
        let mut flag = flag;
        flag["variants"] = json!({ "old": "model-1", "new": "model-2" });
        let effect = Effect::of("risk-model", &flag, variant, is_named);
        assert!(effect.changes_for.contains(changes_for), "{effect:?}");
        assert_eq!(effect.warning.is_some(), warning.is_some(), "{effect:?}");
        let text = effect.warning.clone().unwrap_or_default();
        assert!(text.contains(warning.unwrap_or_default()), "{effect:?}");
    }

    #[test]
    fn a_kill_says_to_whom_it_is_new() {
        let plain = json!({ "state": "ENABLED", "defaultVariant": "new" });
        let nothing = Some("name another with --variant: old");
        check(plain.clone(), "new", false, "nobody", nothing);
        check(plain.clone(), "new", true, "nobody", nothing);
        check(plain, "old", true, "they get new now", None);
        let targeted = json!({ "state": "ENABLED", "defaultVariant": "old",
            "targeting": { "if": [true, "new", null] } });
        check(
            targeted.clone(),
            "old",
            false,
            "the targeting gives another",
            Some("--variant: new"),
        );
        check(targeted, "new", true, "who gets old now", None);
        let fixed = json!({ "state": "ENABLED", "defaultVariant": "new", "off": "old" });
        check(fixed.clone(), "old", true, "nobody", Some("gives old to everybody"));
        check(fixed, "new", true, "fixed to old now", None);
        let disabled = json!({ "state": "DISABLED", "defaultVariant": "new" });
        check(disabled, "old", true, "their own default", None);
    }
}
