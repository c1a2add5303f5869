//! One change of an object: read, edit, show, send.

use clap::Args;
use serde_json::{Value as Json, json};
use verdict_admin::{ChangeRequest, ObjectChange, Request};
use verdict_config::ObjectKind;
use verdict_consensus::Op;

use super::super::{EXIT_OK, Failure, Outcome};
use super::Session;
use crate::output::{BAD, FAINT, GOOD, Output, WARN};

/// The most lines of a difference that are shown of one object.
const LINES_SHOWN: usize = 200;

/// What every command that writes takes.
#[derive(Debug, Clone, Args)]
pub struct WriteArgs {
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Only show the difference.
    #[arg(long)]
    pub dry_run: bool,
}

/// A name for a change set, which makes sending it twice harmless.
pub fn request_id() -> String {
    ulid::Ulid::generate().to_string()
}

/// An object as it is now.
pub struct Current {
    /// The revision of its last change.
    pub revision: u64,
    /// Its body.
    pub body: Json,
}

/// Reads an object.
pub fn read(session: &mut Session, kind: ObjectKind, name: &str) -> Result<Current, Failure> {
    let request = Request::Object { kind, name: name.to_owned(), revision: None };
    let mut answer = session.ask(&request)?.answer;
    Ok(Current { revision: answer["revision"].as_u64().unwrap_or(0), body: answer["body"].take() })
}

/// A put of an object, refused if somebody changed it since it was read.
pub fn put(kind: ObjectKind, name: &str, revision: Option<u64>, body: Json) -> ObjectChange {
    let body = Some(body);
    ObjectChange { kind, name: name.to_owned(), op: Op::Put, expected_revision: revision, body }
}

/// A delete of an object.
pub fn delete(kind: ObjectKind, name: &str, revision: Option<u64>) -> ObjectChange {
    let (op, body) = (Op::Delete, None);
    ObjectChange { kind, name: name.to_owned(), op, expected_revision: revision, body }
}

/// An object that is edited, and how the edit is sent.
pub struct Edit<'a> {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: &'a str,
    /// Options of the command.
    pub write: &'a WriteArgs,
    /// Why, where the command gives no reason.
    pub why: String,
}

/// Reads an object, edits it and sends the edit. Where the edit changes nothing, nothing is sent: a
/// revision without a difference would only hide others in the history.
pub fn edit(
    session: &mut Session,
    edit: &Edit<'_>,
    output: &Output,
    change: impl FnOnce(&mut Json) -> Result<(), Failure>,
) -> Outcome {
    let Current { revision, body } = read(session, edit.kind, edit.name)?;
    let mut edited = body.clone();
    change(&mut edited)?;
    if edited == body {
        if output.is_json() {
            output.json(&json!({ "revision": revision, "applied": [], "unchanged": true }));
        } else {
            output.say(format!(
                "Nothing to change: {} {} says so already, since revision {revision}.",
                edit.kind, edit.name
            ));
        }
        return Ok(EXIT_OK);
    }
    let change = put(edit.kind, edit.name, Some(revision), edited);
    propose(session, vec![change], (edit.write, &edit.why), output)
}

/// Sends a change set, or shows what it would do.
pub fn propose(
    session: &mut Session,
    changes: Vec<ObjectChange>,
    write: (&WriteArgs, &str),
    output: &Output,
) -> Outcome {
    show_applied(&send(session, changes, write)?, output)
}

/// Sends a change set, or asks what it would do; gives the answer.
pub fn send(
    session: &mut Session,
    changes: Vec<ObjectChange>,
    (write, default_why): (&WriteArgs, &str),
) -> Result<Json, Failure> {
    let request = Request::Change(ChangeRequest {
        request_id: request_id(),
        why: write.why.clone().unwrap_or_else(|| default_why.to_owned()),
        dry_run: write.dry_run,
        changes,
    });
    Ok(session.ask(&request)?.answer)
}

/// Shows the answer to a change or a rollback.
pub fn show_applied(answer: &Json, output: &Output) -> Outcome {
    if output.is_json() {
        output.json(answer);
        return Ok(EXIT_OK);
    }
    let dry_run = answer["dry_run"] == true;
    if dry_run {
        let differences = answer["differences"].as_array().cloned().unwrap_or_default();
        for difference in &differences {
            show_difference(difference, output);
        }
        show_findings(answer, output);
        output.say(format!("Would make revision {}.", answer["revision"]));
        return Ok(EXIT_OK);
    }
    for applied in answer["applied"].as_array().into_iter().flatten() {
        let sign = match applied["op"].as_str() {
            Some("delete") => output.styled(BAD, "-"),
            _ => output.styled(GOOD, "+"),
        };
        output.say(format!("{sign} {} {}", plain(&applied["kind"]), plain(&applied["name"])));
    }
    output.say(format!("Revision {}.", answer["revision"]));
    Ok(EXIT_OK)
}

/// Shows what a dry run found suspicious.
pub fn show_findings(answer: &Json, output: &Output) {
    for finding in answer["findings"].as_array().into_iter().flatten() {
        let object = format!("{}/{}", plain(&finding["kind"]), plain(&finding["name"]));
        let kind = output.styled(WARN, &plain(&finding["finding"]));
        output.say(format!("{object} {kind} {}", plain(&finding["message"])));
    }
}

/// A JSON value as text: strings without their quotes.
pub fn plain(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Shows how one object differs, line by line.
pub fn show_difference(difference: &Json, output: &Output) {
    let title = format!("{} {}", plain(&difference["kind"]), plain(&difference["name"]));
    output.say(output.styled(WARN, &title));
    let lines = |side: &Json| -> Vec<String> {
        match &side["body"] {
            Json::Null => Vec::new(),
            body => {
                let text = serde_json::to_string_pretty(body).unwrap_or_default();
                text.lines().map(str::to_owned).collect()
            }
        }
    };
    let (before, after) = (lines(&difference["before"]), lines(&difference["after"]));
    for line in differing_lines(&before, &after).into_iter().take(LINES_SHOWN) {
        output.say(match line {
            Line::Removed(text) => output.styled(BAD, &format!("  - {text}")),
            Line::Added(text) => output.styled(GOOD, &format!("  + {text}")),
            Line::Skipped(count) => {
                output.styled(FAINT, &format!("    ... {count} lines as before"))
            }
        });
    }
}

/// A line of a difference.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Removed(&'a str),
    Added(&'a str),
    Skipped(usize),
}

/// What stands between the first and the last line that differ.
fn differing_lines<'a>(before: &'a [String], after: &'a [String]) -> Vec<Line<'a>> {
    let same = |(left, right): &(&String, &String)| left == right;
    let head = before.iter().zip(after).take_while(same).count();
    let rest = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(rest).take_while(same).count();
    let mut lines = Vec::new();
    if head > 0 {
        lines.push(Line::Skipped(head));
    }
    lines.extend(before[head..before.len() - tail].iter().map(|line| Line::Removed(line)));
    lines.extend(after[head..after.len() - tail].iter().map(|line| Line::Added(line)));
    if tail > 0 {
        lines.push(Line::Skipped(tail));
    }
    lines
}

/// An object of a kind as people read it: JSON.
pub fn show_object(
    session: &mut Session,
    kind: ObjectKind,
    name: &str,
    output: &Output,
) -> Outcome {
    let Current { revision, body } = read(session, kind, name)?;
    if output.is_json() {
        output.json(&json!({ "kind": kind, "name": name, "revision": revision, "body": body }));
    } else {
        output.say(output.styled(FAINT, &format!("{kind} {name}, revision {revision}")));
        output.say(serde_json::to_string_pretty(&body).unwrap_or_default());
    }
    Ok(EXIT_OK)
}

/// The objects of a kind.
pub fn list(session: &mut Session, kind: ObjectKind) -> Result<Vec<Json>, Failure> {
    let mut answer = session.ask(&Request::Objects { kind, names_only: false })?.answer;
    Ok(match answer["objects"].take() {
        Json::Array(objects) => objects,
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (before, after) = (lines("a b c d"), lines("a x c d"));
        let expected = [Line::Skipped(1), Line::Removed("b"), Line::Added("x"), Line::Skipped(2)];
        assert_eq!(differing_lines(&before, &after), expected);
        assert_eq!(differing_lines(&[], &lines("a")), [Line::Added("a")]);
        assert_eq!(differing_lines(&before, &before), [Line::Skipped(4)]);
        let expected = [Line::Skipped(2), Line::Added("b")];
        assert_eq!(differing_lines(&lines("a b"), &lines("a b b")), expected);
    }
}
