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
    /// Put a learner in the place of a voter that is gone, in one step.
    #[command(after_help = "Example: verdict admin members replace 3 --with 4")]
    Replace {
        /// The node that is gone.
        node_id: u64,
        /// The learner.
        #[arg(long, value_name = "NODE_ID")]
        with: u64,
    },
}

/// Runs one of the commands.
pub fn run(command: &MembersCommand, session: &mut Session, output: &Output) -> Outcome {
    let (request, done) = match *command {
        MembersCommand::List => return list(session, output),
        MembersCommand::Token { valid_s, learner } => {
            let answer = session.ask(&Request::Token { valid_s, voter: !learner })?.answer;
            if output.is_json() {
                output.json(&answer);
            } else {
                output.line(plain(&answer["token"]));
            }
            return Ok(EXIT_OK);
        }
        MembersCommand::Promote { node_id } => {
            (Request::Promote { node_id }, format!("Node {node_id} is a voter."))
        }
        MembersCommand::Remove { node_id } => {
            (Request::Remove { node_id }, format!("Node {node_id} is no member any more."))
        }
        MembersCommand::Replace { node_id, with } => {
            let done = format!("Node {with} votes in the place of node {node_id}.");
            (Request::Replace { node_id, with }, done)
        }
    };
    operating::done(&session.ask(&request)?, &done, output)
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
