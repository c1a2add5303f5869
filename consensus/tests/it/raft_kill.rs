//! kill -9 of a node of one at any moment, over the real store: what was acknowledged is there,
//! once, and what was shown is never taken back.
//!
//! The test starts itself again as a child that proposes, with snapshots and purges as often as
//! may be; after some acknowledgements it is killed in the middle of whatever it does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use verdict_config::ObjectKind;
use verdict_consensus::{Author, ChangeSet, Log, RaftLogOptions};

use super::cluster::{bootstrap, open_alone, options};
use super::support::{body, setting};

const CHILD: &str = "VERDICT_RAFT_CHILD";
const ROUNDS: u64 = 12;

fn often() -> RaftLogOptions {
    RaftLogOptions { snapshot_entries: 15, entries_kept: 3, ..options() }
}

/// Runs only as the child of the test below.
#[tokio::test]
async fn child() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (folder, round) = given.split_once('|').unwrap();
    let log = open_alone(Path::new(folder), often()).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "shows {} .", log.catalogue().revision()).unwrap();
    for number in 0i64.. {
        let name = format!("k{}", number % 30);
        let set = ChangeSet::new(format!("{round}.{number}"), "w", vec![setting(&name, number)]);
        let applied = log.propose(set, Author::named("child")).await.unwrap();
        writeln!(out, "ack {} {name} {number} .", applied.revision).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("raft");
    bootstrap(&folder);
    let mut acknowledged: BTreeMap<u64, (String, i64, String)> = BTreeMap::new();
    let mut seed = 0x5eed_u64;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["raft_kill::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, format!("{}|{round}", folder.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (wanted, mut taken) = (1 + (seed >> 33) % 70, 0);
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                [.., "shows", revision, "."] => {
                    let shown: u64 = revision.parse().unwrap();
                    let known = acknowledged.last_key_value().map_or(0, |(revision, _)| *revision);
                    assert!(shown >= known, "it shows {shown}, and acknowledged {known}");
                }
                [.., "ack", revision, name, number, "."] => {
                    let number: i64 = number.parse().unwrap();
                    let told = (name.to_owned(), number, format!("{round}.{number}"));
                    let before = acknowledged.insert(revision.parse().unwrap(), told);
                    assert_eq!(before, None, "a revision is given once");
                    taken += 1;
                }
                _ => {}
            }
            if taken == wanted {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(taken >= wanted, "the child ended by itself after {taken}");
    }
    let log = open_alone(&folder, often()).unwrap();
    let catalogue = log.catalogue();
    for (revision, (name, number, request)) in &acknowledged {
        let older = catalogue.at_revision(*revision).unwrap();
        let value = body(&older, ObjectKind::Setting, name).unwrap();
        assert_eq!(value["value"], *number, "revision {revision}");
        // A client that was cut off asks again, and gets the first answer.
        let set = ChangeSet::new(request.as_str(), "w", vec![setting(name, *number)]);
        let again = log.propose(set, Author::named("child")).await.unwrap();
        assert_eq!((again.revision, again.repeated), (*revision, true));
    }
}
