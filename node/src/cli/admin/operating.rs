//! `verdict admin status`, `drain`, `loglevel`, `blobs`, `actors` and `refusals`.

use serde_json::{Value as Json, json};
use verdict_admin::{Answered, Request};

use super::super::{EXIT_OK, Outcome};
use super::Session;
use super::changes::plain;
use super::members::members_of;
use crate::output::{BAD, FAINT, GOOD, Output, WARN};

/// Says that something was done.
pub fn done(answered: &Answered, text: &str, output: &Output) -> Outcome {
    if output.is_json() {
        output.json(&answered.answer);
    } else {
        output.say(output.styled(GOOD, text));
    }
    Ok(EXIT_OK)
}

/// Shows the nodes as the one that answers sees them.
pub fn status(session: &mut Session, output: &Output) -> Outcome {
    let answered = session.ask(&Request::Status {})?;
    if output.is_json() {
        output.json(&answered.answer);
        return Ok(EXIT_OK);
    }
    let title = format!("node {}", answered.node_id);
    super::super::explanation::show_status(&title, &answered.answer, output);
    Ok(EXIT_OK)
}

/// Shows the members of a cluster.
pub fn show_members(cluster: &Json, output: &Output) {
    let rows = members_of(cluster).into_iter().map(|peer| {
        let member = &peer["member"];
        let attributes = &member["attributes"];
        let role = if member["voter"] == true { "voter" } else { "learner" };
        let leads = peer["member"]["node_id"] == cluster["leader"];
        vec![
            plain(&member["node_id"]),
            if leads { output.styled(GOOD, "leader") } else { role.to_owned() },
            plain(&attributes["region"]),
            plain(&attributes["http_address"]),
            plain(&attributes["admin_address"]),
            plain(&peer["matched_index"]),
        ]
    });
    output.table(&["node", "role", "region", "http", "admin", "log index"], rows.collect());
}

/// Tells the node to end, or shows what that would do.
pub fn drain(dry_run: bool, session: &mut Session, output: &Output) -> Outcome {
    let answered = session.ask(&Request::Drain { dry_run })?;
    if !dry_run {
        let text = format!("Node {} finishes what runs and ends.", answered.node_id);
        return done(&answered, &text, output);
    }
    if output.is_json() {
        output.json(&answered.answer);
        return Ok(EXIT_OK);
    }
    output.say(draining(answered.node_id, &answered.answer));
    Ok(EXIT_OK)
}

/// What a drain would do, in sentences.
fn draining(node_id: u64, answer: &Json) -> String {
    let lead = match (answer["leads"] == true, answer["lead_goes_to"].as_u64()) {
        (false, _) => "would not have to hand the lead over".to_owned(),
        (true, Some(next)) => format!("would hand the lead to node {next}"),
        (true, None) => "leads, and no other voter takes the lead: changes would wait".to_owned(),
    };
    format!("Node {node_id} {lead}, finish what runs and end. It stays a member.")
}

/// Commands for a node's clock.
#[derive(Debug, clap::Subcommand)]
pub enum ClockCommand {
    /// Say that the clock of the node is right. A node whose clock is far from the newest time that it
    /// knows, and that most voters do not confirm, does not lead and lets nothing expire until then.
    #[command(after_help = "Example: verdict admin --node 127.0.0.1:7722 clock confirm")]
    Confirm {
        /// Only show what the clock shows.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Confirms a node's clock, or shows it.
pub fn clock(command: &ClockCommand, session: &mut Session, output: &Output) -> Outcome {
    let ClockCommand::Confirm { dry_run } = command;
    let answered = session.ask(&Request::ConfirmClock { dry_run: *dry_run })?;
    if output.is_json() {
        output.json(&answered.answer);
        return Ok(EXIT_OK);
    }
    let (node, now) = (answered.node_id, plain(&answered.answer["now"]));
    output.say(match (answered.answer["doubted"] == true, *dry_run) {
        (false, _) => format!("The clock of node {node} shows {now} and is not in doubt."),
        (true, true) => {
            let newest = plain(&answered.answer["doubt"]["newest"]);
            format!("The clock of node {node} shows {now}; the newest time it knows is {newest}.")
        }
        (true, false) => format!("The clock of node {node} shows {now} and is confirmed."),
    });
    Ok(EXIT_OK)
}

/// Sets what the node logs, or shows what that would change.
pub fn log_level(
    (directives, for_s, dry_run): (Option<String>, u64, bool),
    session: &mut Session,
    output: &Output,
) -> Outcome {
    let answered = session.ask(&Request::LogLevel { directives, for_s: Some(for_s), dry_run })?;
    if !dry_run {
        return done(&answered, "The node logs so now.", output);
    }
    let answer = &answered.answer;
    if output.is_json() {
        output.json(answer);
        return Ok(EXIT_OK);
    }
    output.say(output.styled(BAD, &format!("  - {}", plain(&answer["before"]))));
    output.say(output.styled(GOOD, &format!("  + {}", plain(&answer["after"]))));
    if let Some(seconds) = answer["for_s"].as_u64() {
        output.say(format!("For {seconds} s, then {}.", plain(&answer["then"])));
    }
    Ok(EXIT_OK)
}

/// Shows which node has what.
pub fn blobs(session: &mut Session, output: &Output) -> Outcome {
    let answer = session.ask(&Request::Blobs {})?.answer;
    if output.is_json() {
        output.json(&answer);
        return Ok(EXIT_OK);
    }
    let items = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let mut rows = Vec::new();
    for node in items(&answer["nodes"]) {
        for model in items(&node["models"]) {
            let state = match (model["present"] == true, model["loaded"] == true) {
                (_, true) => output.styled(GOOD, "loaded"),
                (true, false) => "on disk".to_owned(),
                (false, false) => output.styled(WARN, "absent"),
            };
            let hash: String = plain(&model["content_hash"]).chars().take(12).collect();
            rows.push(vec![plain(&node["node_id"]), plain(&model["model"]), hash, state]);
        }
    }
    output.table(&["node", "model", "content", "state"], rows);
    let rows = items(&answer["nodes"]).into_iter().map(|node| {
        vec![
            plain(&node["node_id"]),
            plain(&node["folders"]),
            megabytes(&node["folder_bytes"]),
            items(&node["unnamed"]).len().to_string(),
            plain(&node["objects"]),
            megabytes(&node["object_bytes"]),
        ]
    });
    let head = ["node", "model folders", "MB", "of no model", "large objects", "MB"];
    output.table(&head, rows.collect());
    for node in items(&answer["not_asked"]) {
        let reason = plain(&node["reason"]);
        let text = format!("node {} could not be asked: {reason}", plain(&node["node_id"]));
        output.say(output.styled(BAD, &text));
    }
    Ok(EXIT_OK)
}

/// Bytes as megabytes with one decimal.
fn megabytes(bytes: &Json) -> String {
    let tenths = bytes.as_u64().unwrap_or(0).div_ceil(100_000);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Draws the supervision tree.
pub fn actors(session: &mut Session, output: &Output) -> Outcome {
    let answered = session.ask(&Request::Actors {})?;
    if output.is_json() {
        output.json(&answered.answer);
        return Ok(EXIT_OK);
    }
    output.say(output.styled(FAINT, &format!("node {}", answered.node_id)));
    draw(&answered.answer, ("", ""), output);
    Ok(EXIT_OK)
}

fn draw(node: &Json, (lead, below): (&str, &str), output: &Output) {
    let state = plain(&node["state"]);
    let style = match state.as_str() {
        "running" => GOOD,
        "starting" | "backing_off" => WARN,
        _ => BAD,
    };
    let queue = match (node["queue_depth"].as_u64(), node["queue_limit"].as_u64()) {
        (Some(depth), Some(limit)) => format!("  queue {depth}/{limit}"),
        _ => String::new(),
    };
    let restarts = match node["restarts"].as_u64() {
        Some(count) if count > 0 => output.styled(WARN, &format!("  restarts {count}")),
        _ => String::new(),
    };
    let panic = match node["last_panic"].as_str() {
        Some(text) => output.styled(BAD, &format!("  last panic: {text}")),
        None => String::new(),
    };
    let name = plain(&node["name"]);
    output.say(format!("{lead}{name} {}{queue}{restarts}{panic}", output.styled(style, &state)));
    let children = node["children"].as_array().cloned().unwrap_or_default();
    for (position, child) in children.iter().enumerate() {
        let last = position + 1 == children.len();
        let (branch, trunk) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(child, (&format!("{below}{branch}"), &format!("{below}{trunk}")), output);
    }
}

/// Shows what was refused.
pub fn refusals(session: &mut Session, output: &Output) -> Outcome {
    let answer = session.ask(&Request::Refusals {})?.answer;
    if output.is_json() {
        output.json(&answer);
        return Ok(EXIT_OK);
    }
    let refusals = answer["refusals"].as_array().cloned().unwrap_or_default();
    let rows = refusals.iter().map(|refusal| {
        ["at", "key", "code", "detail"].iter().map(|name| plain(&refusal[*name])).collect()
    });
    output.table(&["at", "key", "code", "detail"], rows.collect());
    output.say(format!("{} since the start.", json!(answer["total"])));
    Ok(EXIT_OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_says_where_the_lead_goes() {
        let check = |leads: bool, next: Option<u64>, part: &str| {
            let told = draining(3, &json!({ "leads": leads, "lead_goes_to": next }));
            assert!(told.contains(part) && told.contains("stays a member"), "{told}");
        };
        check(true, Some(2), "hand the lead to node 2");
        check(true, None, "no other voter");
        check(false, None, "not have to hand");
    }
}
