//! `verdict admin list`.

use clap::Subcommand;
use serde_json::{Value as Json, json};
use verdict_config::ObjectKind;

use super::super::{EXIT_OK, Failure, Outcome, names};
use super::Session;
use super::changes::{self, Current, Edit, WriteArgs, plain};
use crate::output::Output;

/// Commands for lists.
#[derive(Debug, Subcommand)]
pub enum ListCommand {
    /// Put values into a list; a value that is there already takes the new expiry and comment.
    #[command(
        after_help = "Example: verdict admin list add gambling \"fruit machine\" --comment \"case 7\""
    )]
    Add {
        /// The list.
        #[arg(add = names::of(ObjectKind::List))]
        name: String,
        /// The values.
        #[arg(required = true)]
        values: Vec<String>,
        /// From this time on they do not count.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Why they are there.
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Take values out of a list.
    #[command(after_help = "Example: verdict admin list remove gambling \"fruit machine\"")]
    Remove {
        /// The list.
        #[arg(add = names::of(ObjectKind::List))]
        name: String,
        /// The values.
        #[arg(required = true)]
        values: Vec<String>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// The lists, or one list's values.
    #[command(after_help = "Example: verdict admin list show gambling")]
    Show {
        /// The list; all of them with their sizes, if absent.
        #[arg(add = names::of(ObjectKind::List))]
        name: Option<String>,
    },
}

/// Runs one of the commands.
pub fn run(command: &ListCommand, session: &mut Session, output: &Output) -> Outcome {
    match command {
        ListCommand::Show { name: None } => show_all(session, output),
        ListCommand::Show { name: Some(name) } => show(session, name, output),
        ListCommand::Add { name, values, expires, comment, write } => {
            let why = format!("add {} to list {name}", values.join(", "));
            edit(session, name, (write, &why), output, |entries| {
                for value in values {
                    let mut entry = json!({ "value": value });
                    if let Some(expires) = expires {
                        entry["expires"] = json!(expires);
                    }
                    if let Some(comment) = comment {
                        entry["comment"] = json!(comment);
                    }
                    match entries.iter_mut().find(|known| known["value"] == value.as_str()) {
                        // Without a new expiry or comment the entry is as it was asked for.
                        Some(_) if expires.is_none() && comment.is_none() => {}
                        Some(known) => *known = entry,
                        None => entries.push(entry),
                    }
                }
                Ok(())
            })
        }
        ListCommand::Remove { name, values, write } => {
            let why = format!("remove {} from list {name}", values.join(", "));
            edit(session, name, (write, &why), output, |entries| {
                for value in values {
                    let before = entries.len();
                    entries.retain(|known| known["value"] != value.as_str());
                    if entries.len() == before {
                        return Err(Failure::new(format!(
                            "{value:?} is not in the list {name}: `verdict admin list show {name}` \
                             shows its values"
                        )));
                    }
                }
                Ok(())
            })
        }
    }
}

fn edit(
    session: &mut Session,
    name: &str,
    (write, why): (&WriteArgs, &str),
    output: &Output,
    change: impl Fn(&mut Vec<Json>) -> Result<(), Failure>,
) -> Outcome {
    let edit = Edit { kind: ObjectKind::List, name, write, why: why.to_owned() };
    changes::edit(session, &edit, output, |body| {
        let entries = body["entries"].as_array_mut();
        change(entries.ok_or_else(|| Failure::new(format!("the list {name} has no entries")))?)
    })
}

fn show_all(session: &mut Session, output: &Output) -> Outcome {
    let lists = changes::list(session, ObjectKind::List)?;
    let size = |list: &Json| list["body"]["entries"].as_array().map_or(0, Vec::len);
    if output.is_json() {
        let lists = lists.iter().map(|list| {
            json!({ "name": list["name"], "revision": list["revision"], "entries": size(list) })
        });
        output.json(&json!({ "lists": lists.collect::<Vec<_>>() }));
        return Ok(EXIT_OK);
    }
    let rows = lists
        .iter()
        .map(|list| vec![plain(&list["name"]), size(list).to_string(), plain(&list["revision"])]);
    output.table(&["list", "entries", "revision"], rows.collect());
    Ok(EXIT_OK)
}

fn show(session: &mut Session, name: &str, output: &Output) -> Outcome {
    let Current { body, revision } = changes::read(session, ObjectKind::List, name)?;
    if output.is_json() {
        output.json(&json!({ "name": name, "revision": revision, "entries": body["entries"] }));
        return Ok(EXIT_OK);
    }
    let entries = body["entries"].as_array().cloned().unwrap_or_default();
    let rows = entries.iter().map(|entry| {
        vec![plain(&entry["value"]), plain(&entry["expires"]), plain(&entry["comment"])]
    });
    output.table(&["value", "expires", "comment"], rows.collect());
    Ok(EXIT_OK)
}
