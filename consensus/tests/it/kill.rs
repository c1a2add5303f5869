//! kill -9 at any moment: what was acknowledged is there, once.
//!
//! The test starts itself again as a child that proposes and tells each acknowledgement; after some
//! of them the child is killed in the middle of whatever it does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use verdict_config::ObjectKind;
use verdict_consensus::{Author, ChangeSet, LocalLog, LocalLogOptions, Log};

use super::local_log::options;
use super::support::{body, setting};

const CHILD: &str = "VERDICT_LOG_CHILD";
const ROUNDS: u64 = 20;

/// Runs only as the child of the test below.
#[tokio::test]
async fn child() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (folder, round) = given.split_once('|').unwrap();
    let options = LocalLogOptions { snapshot_commands: 40, ..options() };
    let (log, _) = LocalLog::open(std::path::Path::new(folder), options).unwrap();
    let mut out = std::io::stdout();
    let mut refusals = 0;
    for number in 0i64.. {
        let name = format!("k{}", number % 30);
        let set = ChangeSet::new(format!("{round}.{number}"), "w", vec![setting(&name, number)]);
        match log.propose(set, Author::named("child")).await {
            Ok(applied) => writeln!(out, "ack {} {name} {number} .", applied.revision).unwrap(),
            Err(error) => {
                let status = log.status().failed;
                writeln!(out, "refused {} {} .", error.code(), status.is_some()).unwrap();
                refusals += 1;
                if refusals == 2 {
                    return;
                }
            }
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<u64, (String, i64, String)> = BTreeMap::new();
    let mut seed = 0x5eed_u64;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, format!("{}|{round}", folder.path().display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wanted = 1 + (seed >> 33) % 60;
        let mut taken = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            if let ["ack", revision, name, number, "."] = line.split(' ').collect::<Vec<_>>()[..] {
                let number: i64 = number.parse().unwrap();
                let request = format!("{round}.{number}");
                let before =
                    acknowledged.insert(revision.parse().unwrap(), (name.into(), number, request));
                assert_eq!(before, None, "a revision is given once");
                taken += 1;
            }
            if taken == wanted {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        check(folder.path(), &acknowledged).await;
    }
    assert!(acknowledged.len() > 200);
}

/// The disk takes no more (a limit on file sizes stands in for it): the write is refused, and so is
/// everything after it, until the log is opened again.
#[tokio::test]
async fn a_refused_write_is_final() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; ulimit -f 16; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{}|0", folder.path().display()))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = |word: &str| text.lines().filter(|l| l.contains(word)).collect::<Vec<_>>();
    let (acknowledged, refused) = (lines("ack "), lines("refused "));
    assert!(acknowledged.len() > 10, "{text}");
    assert!(refused.len() > 1 && refused.iter().all(|l| *l == "refused VD0704 true ."), "{text}");
    let (log, recovery) = LocalLog::open(folder.path(), options()).unwrap();
    assert_eq!(log.catalogue().revision(), acknowledged.len() as u64, "{recovery:?}");
    assert!(recovery.torn_bytes > 0);
}

async fn check(folder: &std::path::Path, acknowledged: &BTreeMap<u64, (String, i64, String)>) {
    let (log, _) = LocalLog::open(folder, options()).unwrap();
    let catalogue = log.catalogue();
    for (revision, (name, number, request)) in acknowledged {
        let older = catalogue.at_revision(*revision).unwrap();
        let value = body(&older, ObjectKind::Setting, name).unwrap();
        assert_eq!(value["value"], *number, "revision {revision}");
        let head = &catalogue.changes_since(revision - 1, 1).unwrap()[0];
        assert_eq!(head.revision, *revision, "{request}");
    }
    // A client that was cut off asks again, and gets the first answer.
    if let Some((revision, (name, number, request))) = acknowledged.last_key_value() {
        let set = ChangeSet::new(request.as_str(), "w", vec![setting(name, *number)]);
        let again = log.propose(set, Author::named("child")).await.unwrap();
        assert_eq!((again.revision, again.repeated), (*revision, true));
    }
}
