//! `verdict admin model`.

use clap::Subcommand;
use serde_json::json;
use verdict_config::ObjectKind;

use super::super::{EXIT_OK, Outcome};
use super::Session;
use super::changes::{self, WriteArgs, plain};
use super::transfers::{self, PushArgs};
use crate::output::Output;

/// Commands for models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// The models and the aliases that lead to them.
    #[command(after_help = "Example: verdict admin model list")]
    List,
    /// Let an alias lead to a model: the version that flows with this alias use.
    #[command(after_help = "Example: verdict admin model activate industry industry-v2")]
    Activate {
        /// The alias.
        alias: String,
        /// The model.
        model: String,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Send a model's folder, have every node load it, and put it into the catalogue.
    #[command(
        after_help = "Example: verdict admin model push models/industry-v2 --name industry-v2"
    )]
    Push(PushArgs),
    /// One alias.
    #[command(after_help = "Example: verdict admin model alias industry")]
    Alias {
        /// The alias.
        name: String,
    },
}

/// Runs one of the commands.
pub fn run(command: &ModelCommand, session: &mut Session, output: &Output) -> Outcome {
    match command {
        ModelCommand::List => list(session, output),
        ModelCommand::Push(arguments) => transfers::push(arguments, session, output),
        ModelCommand::Alias { name } => {
            changes::show_object(session, ObjectKind::Alias, name, output)
        }
        ModelCommand::Activate { alias, model, write } => {
            let why = format!("activate model {model} as {alias}");
            let change = changes::put(ObjectKind::Alias, alias, None, json!({ "model": model }));
            changes::propose(session, vec![change], (write, &why), output)
        }
    }
}

fn list(session: &mut Session, output: &Output) -> Outcome {
    let models = changes::list(session, ObjectKind::Model)?;
    let aliases = changes::list(session, ObjectKind::Alias)?;
    if output.is_json() {
        output.json(&json!({ "models": models, "aliases": aliases }));
        return Ok(EXIT_OK);
    }
    let rows = models.iter().map(|model| {
        let name = plain(&model["name"]);
        let leading = aliases.iter().filter(|alias| alias["body"]["model"] == name.as_str());
        let leading: Vec<String> = leading.map(|alias| plain(&alias["name"])).collect();
        let hash: String = plain(&model["body"]["content_hash"]).chars().take(12).collect();
        vec![name, hash, leading.join(", "), plain(&model["revision"])]
    });
    output.table(&["model", "content", "aliases", "revision"], rows.collect());
    Ok(EXIT_OK)
}
