//! `verdict admin authority`: replacing the cluster's authority while everything runs.

use clap::Subcommand;
use serde_json::Value as Json;
use verdict_admin::{Request, RotateRequest, RotationStep};

use super::super::{EXIT_OK, Outcome};
use super::Session;
use super::changes::{self, WriteArgs, plain};
use crate::output::{FAINT, GOOD, Output, WARN};

/// Digits of an authority's SHA-256 that are shown in tables.
const DIGITS_SHOWN: usize = 12;

/// Commands for the cluster's authority.
#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// The authorities that are trusted, how far each node is, and the step that comes next.
    #[command(after_help = "Example: verdict admin authority show")]
    Show,
    /// Make a new authority: every node trusts it beside the one that signs.
    #[command(after_help = "Example: verdict admin authority install --why \"yearly\"")]
    Install(WriteArgs),
    /// Let the new authority sign: every node gets a certificate of it, without a restart. Refused
    /// while a node does not trust it yet.
    #[command(after_help = "Example: verdict admin authority use")]
    Use(WriteArgs),
    /// Trust the old authority no more, and erase its private key. Refused while a node has no
    /// certificate of the new one. Key files that were not used since `install` have to be renewed
    /// by `verdict admin keys renew`.
    #[command(after_help = "Example: verdict admin authority remove")]
    Remove(WriteArgs),
    /// Give a new authority up that does not sign yet.
    #[command(after_help = "Example: verdict admin authority abandon --why \"by mistake\"")]
    Abandon(WriteArgs),
}

/// Runs one of the commands.
pub fn run(command: &AuthorityCommand, session: &mut Session, output: &Output) -> Outcome {
    let (step, write) = match command {
        AuthorityCommand::Show => return show(session, output),
        AuthorityCommand::Install(write) => (RotationStep::Install, write),
        AuthorityCommand::Use(write) => (RotationStep::Use, write),
        AuthorityCommand::Remove(write) => (RotationStep::Remove, write),
        AuthorityCommand::Abandon(write) => (RotationStep::Abandon, write),
    };
    // Who removes an authority must not be connected by a certificate of it: the answer would be
    // cut off. Asking first renews this key's own.
    session.ask(&Request::Authority {})?;
    let why = write.why.clone();
    let request = Request::Rotate(RotateRequest {
        step,
        request_id: changes::request_id(),
        why: why.unwrap_or_else(|| format!("{} the authority", step.as_str())),
        dry_run: write.dry_run,
    });
    let answered = session.ask(&request)?;
    let done = changes::show_applied(&answered.answer, output)?;
    if !write.dry_run {
        output.say(match step {
            RotationStep::Install => "Next, once every node trusts it: verdict admin authority use",
            RotationStep::Use => {
                "Next, once every node has its certificate, and every operator \
                 used a key file: verdict admin authority remove"
            }
            RotationStep::Remove | RotationStep::Abandon => "See verdict admin authority show.",
        });
    }
    Ok(done)
}

fn show(session: &mut Session, output: &Output) -> Outcome {
    let answer = session.ask(&Request::Authority {})?.answer;
    if output.is_json() {
        output.json(&answer);
        return Ok(EXIT_OK);
    }
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let authorities = list(&answer["trusted"]).into_iter().map(|authority| {
        let signs = authority["sha256"] == answer["issues"];
        let state = if signs { output.styled(GOOD, "signs") } else { "trusted".to_owned() };
        vec![plain(&authority["sha256"]), state, short(&authority["endorsed"]["by"])]
    });
    output.table(&["authority", "state", "signed by"], authorities.collect());
    let shorts = |value: &Json| list(value).iter().map(short).collect::<Vec<_>>().join(", ");
    let members = list(&answer["members"]).into_iter().map(|member| {
        if member["reached"] != true {
            let id = plain(&member["node_id"]);
            return vec![id, output.styled(WARN, "not reached"), String::new(), String::new()];
        }
        vec![
            plain(&member["node_id"]),
            short(&member["certified_by"]),
            shorts(&member["trusts"]),
            shorts(&member["keys"]),
        ]
    });
    output.table(&["node", "certificate of", "trusts", "keys"], members.collect());
    for waits in list(&answer["waits_for"]) {
        output.say(output.styled(WARN, &format!("Waits: {}.", plain(&waits))));
    }
    let next = format!("Next: verdict admin authority {}", plain(&answer["next"]));
    output.say(output.styled(FAINT, &next));
    Ok(EXIT_OK)
}

fn short(sha256: &Json) -> String {
    plain(sha256).chars().take(DIGITS_SHOWN).collect()
}
