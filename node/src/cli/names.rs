//! Names that a shell completes, fetched from the cluster while one types.
//!
//! The command line so far says which node and key, as it would for the command itself. Nobody waits
//! for long, nobody is asked for a passphrase, and where no node answers nothing is offered.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use serde_json::Value as Json;
use verdict_admin::Request;
use verdict_config::ObjectKind;
use verdict_config::definition::SnoozeDefinition;

use super::admin::{AdminTarget, Session};

/// How long a shell waits for names.
const WITHIN: Duration = Duration::from_secs(2);
/// The most names that are offered.
const NAMES_MAX: usize = 10_000;

/// Completes with the names of a kind's objects.
pub fn of(kind: ObjectKind) -> ArgValueCandidates {
    ArgValueCandidates::new(move || candidates(kind, |_| true))
}

/// Completes with the names of snoozes.
pub fn of_snoozes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(ObjectKind::Setting, SnoozeDefinition::is_named))
}

/// Completes with the variants of the flag that stands behind a word of the command line.
pub fn of_variants(behind: &'static str) -> ArgValueCandidates {
    of_parts(ObjectKind::Flag, behind, |flag| {
        let variants = flag["variants"].as_object();
        variants.map(|variants| variants.keys().cloned().collect()).unwrap_or_default()
    })
}

/// Completes with the ids of the rules of the set that stands behind a word of the command line.
pub fn of_rules(behind: &'static str) -> ArgValueCandidates {
    of_parts(ObjectKind::RuleSet, behind, |set| {
        let rules = set["rules"].as_array().into_iter().flatten();
        rules.filter_map(|rule| rule["id"].as_str().map(str::to_owned)).collect()
    })
}

fn of_parts(
    kind: ObjectKind,
    behind: &'static str,
    parts: fn(&Json) -> Vec<String>,
) -> ArgValueCandidates {
    ArgValueCandidates::new(move || {
        let words = std::env::args_os().filter_map(|word| word.into_string().ok());
        let Some(name) = name_behind(words, behind) else { return Vec::new() };
        offered(move || {
            let mut session = Session::open_unasked(&target(std::env::args_os()))?;
            let request = Request::Object { kind, name, revision: None };
            Some(parts(&session.ask(&request).ok()?.answer["body"]))
        })
    })
}

/// The first word behind a subcommand that is no option: the object that it is about.
fn name_behind(words: impl Iterator<Item = String>, subcommand: &str) -> Option<String> {
    words.skip_while(|word| word != subcommand).skip(1).find(|word| !word.starts_with('-'))
}

fn candidates(kind: ObjectKind, is_meant: fn(&str) -> bool) -> Vec<CompletionCandidate> {
    offered(move || Some(fetch(kind)?.into_iter().filter(|name| is_meant(name)).collect()))
}

/// What is fetched in time.
fn offered(
    fetch: impl FnOnce() -> Option<Vec<String>> + Send + 'static,
) -> Vec<CompletionCandidate> {
    let (sender, names) = mpsc::sync_channel(1);
    // It is left behind when it takes too long: the process ends with the answer.
    std::thread::spawn(move || {
        let _ = sender.send(fetch().unwrap_or_default());
    });
    let names = names.recv_timeout(WITHIN).unwrap_or_default();
    names.into_iter().take(NAMES_MAX).map(CompletionCandidate::new).collect()
}

fn fetch(kind: ObjectKind) -> Option<Vec<String>> {
    let mut session = Session::open_unasked(&target(std::env::args_os()))?;
    let answer = session.ask(&Request::Objects { kind, names_only: true }).ok()?.answer;
    let objects = answer["objects"].as_array()?.iter();
    Some(objects.filter_map(|object| object["name"].as_str().map(str::to_owned)).collect())
}

/// The nodes and the key that the words of an unfinished command line name.
fn target(words: impl Iterator<Item = OsString>) -> AdminTarget {
    let words: Vec<String> = words.filter_map(|word| word.into_string().ok()).collect();
    let values = |option: &str| {
        let joined = format!("{option}=");
        let apart = words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].clone());
        let together = words.iter().filter_map(|word| word.strip_prefix(&joined));
        apart.chain(together.map(str::to_owned)).collect::<Vec<_>>()
    };
    let path = |option: &str| values(option).pop().map(PathBuf::from);
    AdminTarget::new(values("--node"), path("--key"), path("--passphrase-file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_typed_so_far_say_whom_to_ask() {
        let words = "verdict -- verdict admin --node a:1 --key=own.key --node b:2 flag get x";
        let found = target(words.split(' ').map(OsString::from));
        let expected = AdminTarget::new(
            vec!["a:1".to_owned(), "b:2".to_owned()],
            Some(PathBuf::from("own.key")),
            None,
        );
        assert_eq!(found, expected);
        let words = "verdict -- verdict admin --node a:1 flag set --dry-run new-checkout o";
        let name = name_behind(words.split(' ').map(str::to_owned), "set");
        assert_eq!(name.as_deref(), Some("new-checkout"));
        let none = target("verdict -- verdict admin flag get --key".split(' ').map(OsString::from));
        assert_eq!(none, AdminTarget::new(Vec::new(), None, None));
    }
}
