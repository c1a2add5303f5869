//! `verdict admin flag`.

use clap::Subcommand;
use serde_json::{Map, Value as Json, json};
use verdict_config::ObjectKind;

use super::super::{EXIT_OK, Failure, Outcome, names};
use super::Session;
use super::changes::{self, Current, WriteArgs, plain};
use crate::output::{BAD, FAINT, GOOD, Output};

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
    /// Give everybody one variant at once, whatever else the flag says; or end that.
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
            let body: Json = serde_json::from_slice(&bytes)
                .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
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
            let why =
                if *undo { format!("revive flag {name}") } else { format!("kill flag {name}") };
            edit(session, name, (write, &why), output, |flag| kill(flag, variant.as_ref(), *undo))
        }
    }
}

fn kill(flag: &mut Json, variant: Option<&String>, undo: bool) -> Result<(), Failure> {
    let body = flag.as_object_mut().ok_or_else(|| Failure::new("the flag is no object"))?;
    if undo {
        let killed = body.shift_remove("off").is_some();
        return if killed { Ok(()) } else { Err(Failure::new("the flag was not killed")) };
    }
    let default = body.get("defaultVariant").and_then(Json::as_str).map(str::to_owned);
    let variant = variant
        .cloned()
        .or(default)
        .ok_or_else(|| Failure::new("the flag has no default variant: name one with --variant"))?;
    let variants = body.get("variants").and_then(Json::as_object);
    if !variants.is_some_and(|all| all.contains_key(&variant)) {
        return Err(no_variant(flag, &variant));
    }
    flag["off"] = json!(variant);
    Ok(())
}

fn no_variant(flag: &Json, variant: &str) -> Failure {
    let empty = Map::new();
    let known = flag["variants"].as_object().unwrap_or(&empty);
    let known: Vec<&str> = known.keys().map(String::as_str).collect();
    Failure::new(format!("there is no variant {variant:?}; there are {}", known.join(", ")))
}

fn edit(
    session: &mut Session,
    name: &str,
    write: (&WriteArgs, &str),
    output: &Output,
    change: impl Fn(&mut Json) -> Result<(), Failure>,
) -> Outcome {
    let Current { revision, mut body } = changes::read(session, ObjectKind::Flag, name)?;
    change(&mut body)?;
    let change = changes::put(ObjectKind::Flag, name, Some(revision), body);
    changes::propose(session, vec![change], write, output)
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
