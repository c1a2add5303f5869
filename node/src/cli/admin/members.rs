//! `verdict admin members`.

use clap::Subcommand;
use serde_json::Value as Json;
use verdict_admin::Request;

use super::super::{EXIT_OK, Outcome};
use super::changes::plain;
use super::{Session, operating};
use crate::output::Output;

/// Commands for the members of the cluster.
#[derive(Debug, Subcommand)]
pub enum MembersCommand {
    /// The members, and how the log of each stands.
    #[command(after_help = "Example: verdict admin members list")]
    List,
    /// Make a one-time token that lets a node join.
    #[command(after_help = "Example: verdict admin members token --valid-s 600")]
    Token {
        /// How long it is good, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
        valid_s: u64,
        /// The node stays a learner.
        #[arg(long)]
        learner: bool,
    },
    /// Make a learner a voter.
    #[command(after_help = "Example: verdict admin members promote 4")]
    Promote {
        /// The node's id.
        node_id: u64,
    },
    /// Remove a member for good; refused where the others would have no majority.
    #[command(after_help = "Example: verdict admin members remove 4")]
    Remove {
        /// The node's id.
        node_id: u64,
    },
    /// Make a token for a node that takes the place of one that is gone: in one change, once it has
    /// caught up.
    #[command(after_help = "Example: verdict admin members replace 3")]
    Replace {
        /// The id of the node that is gone.
        node_id: u64,
    },
    /// Remove a member that runs, which hands over the lead first if it has it.
    #[command(after_help = "Example: verdict admin members retire 3")]
    Retire {
        /// The node's id.
        node_id: u64,
    },
}

/// Runs one of the commands.
pub fn run(command: &MembersCommand, session: &mut Session, output: &Output) -> Outcome {
    let (request, done) = match *command {
        MembersCommand::List => return list(session, output),
        MembersCommand::Token { valid_s, learner } => {
            let request = Request::Token { valid_s, voter: !learner };
            return token(&session.ask(&request)?.answer, output);
        }
        MembersCommand::Replace { node_id } => {
            return token(&session.ask(&Request::Replace { node_id })?.answer, output);
        }
        MembersCommand::Retire { node_id } => {
            (Request::Retire { node_id }, format!("Node {node_id} is no member any more."))
        }
        MembersCommand::Promote { node_id } => {
            (Request::Promote { node_id }, format!("Node {node_id} is a voter."))
        }
        MembersCommand::Remove { node_id } => {
            (Request::Remove { node_id }, format!("Node {node_id} is no member any more."))
        }
    };
    operating::done(&session.ask(&request)?, &done, output)
}

/// A token is a secret that is shown once.
fn token(answer: &Json, output: &Output) -> Outcome {
    if output.is_json() {
        output.json(answer);
    } else {
        output.line(plain(&answer["token"]));
        if let Some(name) = answer["certificate_name"].as_str() {
            output.note(format!("The node's certificate has to be for {name}."));
        }
    }
    Ok(EXIT_OK)
}

fn list(session: &mut Session, output: &Output) -> Outcome {
    let answer = session.ask(&Request::Members {})?.answer;
    if output.is_json() {
        output.json(&answer);
        return Ok(EXIT_OK);
    }
    operating::show_members(&answer, output);
    Ok(EXIT_OK)
}

/// The members of a cluster's status.
pub fn members_of(cluster: &Json) -> Vec<Json> {
    cluster["peers"].as_array().cloned().unwrap_or_default()
}
