//! kill -9 at any moment: what was acknowledged is there.
//!
//! The test starts itself again as a child, which writes and tells each acknowledgement; after some
//! of them, chosen anew each round, the child is killed in the middle of whatever it does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use verdict_actors::journal::{DecisionId, NewOutcome, OutcomeTarget, SearchQuery};

use super::support::{Bench, Given, all, counted};

const CHILD: &str = "VERDICT_JOURNAL_CHILD";
const ROUNDS: u64 = 20;

fn bench() -> Bench {
    Bench::with(|options| {
        options.segment_bytes = 16_384;
        options.sync_ms_max = 2;
    })
}

/// Runs only as the child of the test below.
#[test]
fn child() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (folder, round) = given.split_once('|').unwrap();
    let mut bench = bench();
    // A killed process cleans nothing up: below the parent's folder.
    bench.folder = tempfile::TempDir::new_in(folder).unwrap();
    write_until_killed(&bench, std::path::Path::new(folder), round);
}

fn write_until_killed(bench: &Bench, folder: &std::path::Path, round: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let clock = std::sync::Arc::new(|| verdict_config::TimestampMs(super::support::START_MS));
    let (journal, _) = verdict_actors::journal::Journal::open(
        &folder.join("journal"),
        bench.options.clone(),
        7,
        clock,
    )
    .unwrap();
    let mut out = std::io::stdout();
    for number in 0u64.. {
        let key = format!("card-{}", number % 5);
        let open = format!("{round}.{number}");
        let given = Given {
            key: &key,
            unit: Some(&key),
            open: open.as_bytes(),
            sensitive: Some(b"secret"),
            ..Given::default()
        };
        let (id, appended) = bench.append(&journal, given);
        if number % 7 == 0 {
            runtime.block_on(journal.synced(appended)).unwrap();
        }
        writeln!(out, "record {id} {key} {open}").unwrap();
        if number % 3 == 0 {
            let name = format!("o-{round}-{number}");
            let body = name.clone().into_bytes();
            let outcome = NewOutcome { id: name.clone(), decision: Some(id), unit: None, body };
            runtime.block_on(journal.record_outcomes(vec![outcome])).unwrap();
            writeln!(out, "outcome {id} {name}").unwrap();
        }
    }
}

#[derive(Default)]
struct Acknowledged {
    records: BTreeMap<String, (String, String)>,
    outcomes: Vec<(String, String)>,
}

impl Acknowledged {
    fn take(&mut self, line: &str) -> bool {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["record", id, key, open] => {
                self.records.insert(id.into(), (key.into(), open.into()));
                true
            }
            ["outcome", id, name] => {
                self.outcomes.push((id.into(), name.into()));
                true
            }
            _ => false,
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    let parent = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    let mut seed = 0x5eed_u64;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["journal::kill::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, format!("{}|{round}", parent.path().display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wanted = 1 + (seed >> 33) % 400;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut taken = 0;
        while taken < wanted {
            let line = lines.next().expect("the child goes on").unwrap();
            taken += u64::from(acknowledged.take(&line));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it told before it died was acknowledged as well; a last line may be cut.
        for line in lines.map_while(Result::ok) {
            if line.starts_with("outcome") || line.matches('.').count() == 1 {
                acknowledged.take(&line);
            }
        }
        check(&parent, &acknowledged, round);
    }
    assert!(acknowledged.records.len() > 1_000);
}

fn check(parent: &tempfile::TempDir, acknowledged: &Acknowledged, round: u64) {
    let bench = bench();
    let clock = std::sync::Arc::new(|| verdict_config::TimestampMs(super::support::START_MS));
    let (journal, report) = verdict_actors::journal::Journal::open(
        &parent.path().join("journal"),
        bench.options.clone(),
        7,
        clock,
    )
    .unwrap();
    assert_eq!(report.damage, [], "round {round}");
    for (id, (_, open)) in &acknowledged.records {
        let record = journal.get(id.parse().unwrap()).unwrap().expect("an acknowledged record");
        // The last line of a child may have been cut within its last word.
        assert!(String::from_utf8(record.open).unwrap().starts_with(open.as_str()));
    }
    for (id, name) in &acknowledged.outcomes {
        let id: DecisionId = id.parse().unwrap();
        let found = journal.outcomes_of(OutcomeTarget::Decision(id)).unwrap();
        assert!(found.iter().any(|outcome| outcome.id.starts_with(name.as_str())), "{name}");
    }
    // Every record that is there counts in its window once, whether or not it was acknowledged.
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for hit in all(&journal, &SearchQuery { limit: 1_000, ..SearchQuery::default() }) {
        let open = String::from_utf8(journal.get(hit.id).unwrap().unwrap().open).unwrap();
        let number: u64 = open.split_once('.').unwrap().1.parse().unwrap();
        *expected.entry(format!("card-{}", number % 5)).or_default() += 1;
    }
    assert!(expected.values().sum::<i64>() >= acknowledged.records.len() as i64);
    for (key, count) in expected {
        assert_eq!(counted(&journal, &key, bench.at()), count, "round {round}, {key}");
    }
}
