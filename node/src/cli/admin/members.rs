//! `verdict admin members`.

use clap::{Args, Subcommand};
use serde_json::Value as Json;
use verdict_admin::{MemberRequest, Request};

use super::super::{EXIT_OK, Outcome};
use super::changes::{self, WriteArgs, plain};
use super::{Session, operating};
use crate::output::{BAD, FAINT, GOOD, Output};

/// Commands for the members of the cluster.
#[derive(Debug, Subcommand)]
pub enum MembersCommand {
    /// The members, and how the log of each stands.
    #[command(after_help = "Example: verdict admin members list")]
    List,
    /// Make a one-time token that lets a node join.
    #[command(after_help = "Example: verdict admin members token --valid-s 600 --why \"rack 4\"")]
    Token {
        /// How long it is good, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
        valid_s: u64,
        /// The node stays a learner.
        #[arg(long)]
        learner: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Make a learner a voter.
    #[command(after_help = "Example: verdict admin members promote 4 --dry-run")]
    Promote(MemberArgs),
    /// Remove a member for good; refused where the others would have no majority.
    #[command(after_help = "Example: verdict admin members remove 4 --why \"the disk is gone\"")]
    Remove(MemberArgs),
    /// Make a token for a node that takes the place of one that is gone: in one change, once it has
    /// caught up.
    #[command(after_help = "Example: verdict admin members replace 3 --why \"new machine\"")]
    Replace(MemberArgs),
    /// Remove a member that runs, which hands over the lead first if it has it.
    #[command(after_help = "Example: verdict admin members retire 3 --dry-run")]
    Retire(MemberArgs),
}

/// A member, and how it is changed.
#[derive(Debug, Args)]
pub struct MemberArgs {
    /// The node's id; of a replacement, of the node that is gone.
    #[arg(value_name = "NODE")]
    node_id: u64,
    #[command(flatten)]
    write: WriteArgs,
}

impl MemberArgs {
    fn request(&self) -> MemberRequest {
        MemberRequest {
            node_id: self.node_id,
            request_id: Some(changes::request_id()),
            why: self.write.why.clone(),
            dry_run: self.write.dry_run,
        }
    }
}

/// Runs one of the commands.
pub fn run(command: &MembersCommand, session: &mut Session, output: &Output) -> Outcome {
    use MembersCommand as C;
    let gone = |of: &MemberArgs| format!("Node {} is no member any more.", of.node_id);
    let (request, write, done) = match command {
        C::List => return list(session, output),
        C::Token { valid_s, learner, write } => {
            let WriteArgs { why, dry_run } = write.clone();
            let request = Request::Token { valid_s: *valid_s, voter: !learner, why, dry_run };
            (request, write, None)
        }
        C::Replace(of) => (Request::Replace(of.request()), &of.write, None),
        C::Retire(of) => (Request::Retire(of.request()), &of.write, Some(gone(of))),
        C::Remove(of) => (Request::Remove(of.request()), &of.write, Some(gone(of))),
        C::Promote(of) => {
            let done = format!("Node {} is a voter.", of.node_id);
            (Request::Promote(of.request()), &of.write, Some(done))
        }
    };
    let answered = session.ask(&request)?;
    if !write.dry_run && answered.answer["authority"].is_string() {
        session.follow_rotation(output);
    }
    match done {
        _ if write.dry_run => show_plan(&answered.answer, output),
        Some(done) => operating::done(&answered, &done, output),
        None => token(&answered.answer, output),
    }
}

/// Shows what would become of the members: a line each, as differences are shown.
fn show_plan(answer: &Json, output: &Output) -> Outcome {
    if output.is_json() {
        output.json(answer);
        return Ok(EXIT_OK);
    }
    for (text, change) in plan_lines(answer) {
        output.say(match change {
            Some(Change::Goes) => output.styled(BAD, &text),
            Some(Change::Comes) => output.styled(GOOD, &text),
            Some(Change::Stays) => output.styled(FAINT, &text),
            None => text,
        });
    }
    Ok(EXIT_OK)
}

/// What becomes of a line of members.
enum Change {
    Goes,
    Comes,
    Stays,
}

fn plan_lines(answer: &Json) -> Vec<(String, Option<Change>)> {
    let named = |side: &Json| -> Vec<String> {
        let members = side["members"].as_array().into_iter().flatten();
        let one = |member: &Json| match member["node_id"].as_u64() {
            Some(node_id) => format!("node {node_id} {}", plain(&member["standing"])),
            None => format!("the node that joins {}", plain(&member["standing"])),
        };
        members.map(one).collect()
    };
    let (before, after) = (named(&answer["before"]), named(&answer["after"]));
    let mut lines = Vec::new();
    for member in &before {
        lines.push(if after.contains(member) {
            (format!("    {member}"), Some(Change::Stays))
        } else {
            (format!("  - {member}"), Some(Change::Goes))
        });
    }
    let new = after.iter().filter(|member| !before.contains(member));
    lines.extend(new.map(|member| (format!("  + {member}"), Some(Change::Comes))));
    let count = |side: &Json| {
        format!("{} voters, majority {}", plain(&side["voters"]), plain(&side["majority"]))
    };
    let (now, then) = (count(&answer["before"]), count(&answer["after"]));
    let counts = if now == then { now } else { format!("{now}; then {then}") };
    lines.push((format!("{counts}."), None));
    if let Some(heirs) = answer["lead_goes_to_one_of"].as_array()
        && !heirs.is_empty()
    {
        let heirs: Vec<String> = heirs.iter().map(plain).collect();
        lines
            .push((format!("The lead goes to one of the nodes {} first.", heirs.join(", ")), None));
    }
    if before == after {
        lines.push(("Nothing would change.".to_owned(), None));
    }
    lines
}

/// A token is a secret that is shown once.
fn token(answer: &Json, output: &Output) -> Outcome {
    if output.is_json() {
        output.json(answer);
    } else {
        output.raw(plain(&answer["token"]));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_shows_who_changes_and_what_a_majority_is() {
        let side = |members: &[(Json, &str)], voters: u64| {
            let one = |(id, standing): &(Json, &str)| json!({"node_id": id, "standing": standing});
            let members: Vec<Json> = members.iter().map(one).collect();
            json!({ "members": members, "voters": voters, "majority": voters / 2 + 1 })
        };
        let texts = |answer: &Json| -> Vec<String> {
            plan_lines(answer).into_iter().map(|(text, _)| text).collect()
        };
        let before = side(&[(json!(1), "voter"), (json!(2), "voter"), (json!(4), "learner")], 2);
        let after = side(&[(json!(1), "voter"), (json!(4), "voter"), (json!(null), "voter")], 3);
        let plan = json!({ "before": before, "after": after, "lead_goes_to_one_of": [1, 4] });
        let expected = [
            "    node 1 voter",
            "  - node 2 voter",
            "  - node 4 learner",
            "  + node 4 voter",
            "  + the node that joins voter",
            "2 voters, majority 2; then 3 voters, majority 2.",
            "The lead goes to one of the nodes 1, 4 first.",
        ];
        assert_eq!(texts(&plan), expected);
        let same = json!({ "before": before, "after": before, "lead_goes_to_one_of": [] });
        let told = texts(&same);
        assert_eq!(told[3..], ["2 voters, majority 2.", "Nothing would change."]);
    }
}
