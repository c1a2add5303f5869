//! Names that a shell completes, fetched from the cluster while one types.
//!
//! The command line so far says which node and key, as it would for the command itself. Nobody waits
//! for long, nobody is asked for a passphrase, and where no node answers nothing is offered.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
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

fn candidates(kind: ObjectKind, is_meant: fn(&str) -> bool) -> Vec<CompletionCandidate> {
    let (sender, names) = mpsc::sync_channel(1);
    // It is left behind when it takes too long: the process ends with the answer.
    std::thread::spawn(move || {
        let _ = sender.send(fetch(kind).unwrap_or_default());
    });
    let names = names.recv_timeout(WITHIN).unwrap_or_default();
    let names = names.into_iter().filter(|name| is_meant(name)).take(NAMES_MAX);
    names.map(CompletionCandidate::new).collect()
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
        let none = target("verdict -- verdict admin flag get --key".split(' ').map(OsString::from));
        assert_eq!(none, AdminTarget::new(Vec::new(), None, None));
    }
}
