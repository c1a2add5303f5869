//! What waits for nodes that are away is there again after a restart, in order, once, within bounds.

use std::path::Path;

use proptest::prelude::*;
use verdict_actors::NewOutcomeInput;
use verdict_actors::outbox::{Kept, Outbox, OutboxError, OutboxLimits};
use verdict_config::TimestampMs;

fn open(folder: &Path) -> (Outbox, u64) {
    Outbox::open(folder, OutboxLimits::default()).unwrap()
}

fn outcome(number: usize) -> Kept {
    Kept::Outcome(NewOutcomeInput {
        id: format!("o-{number}"),
        decision_id: Some("01M868EQR2000JDGBH9X8CQN5F".to_owned()),
        unit: None,
        metric: "label".to_owned(),
        value: serde_json::json!(number),
        at: None,
    })
}

fn erasure(unit: &str) -> Kept {
    Kept::Erasure(unit.to_owned())
}

fn kept(outbox: &Outbox, node_id: u64) -> Vec<Kept> {
    let next = outbox.next(node_id, usize::MAX, u64::MAX).unwrap();
    assert!(next.windows(2).all(|pair| pair[0].0 < pair[1].0), "numbers rise");
    next.into_iter().map(|(_, kept)| kept).collect()
}

#[test]
fn what_was_put_in_is_there_after_a_restart_until_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    outbox.put(2, &[outcome(1), erasure("acc-1"), outcome(2)], TimestampMs(5)).unwrap();
    outbox.put(3, &[erasure("acc-1")], TimestampMs(4)).unwrap();
    // What waits already is not put in twice.
    outbox.put(2, &[outcome(1), outcome(3)], TimestampMs(6)).unwrap();
    drop(outbox);

    let (outbox, damaged) = open(folder.path());
    assert_eq!(damaged, 0);
    assert_eq!(kept(&outbox, 2), [outcome(1), erasure("acc-1"), outcome(2), outcome(3)]);
    let status = outbox.status();
    assert_eq!((status.entries, status.nodes, status.oldest), (5, 2, Some(TimestampMs(4))));
    let units = outbox.erasures(2, 0, 10).unwrap();
    assert_eq!(units.iter().map(|(_, kept)| kept.clone()).collect::<Vec<_>>(), [erasure("acc-1")]);
    assert!(outbox.erasures(2, units[0].0, 10).unwrap().is_empty());
    outbox.done(2, units[0].0).unwrap();
    drop(outbox);

    let (outbox, _) = open(folder.path());
    assert_eq!(kept(&outbox, 2), [outcome(2), outcome(3)]);
    assert_eq!(kept(&outbox, 3), [erasure("acc-1")]);
    let last = |node_id| outbox.next(node_id, 9, 1 << 20).unwrap().last().unwrap().0;
    outbox.done(2, last(2)).unwrap();
    outbox.done(3, last(3)).unwrap();
    assert_eq!(outbox.status(), verdict_actors::outbox::OutboxStatus::default());
    // Nothing of a unit is left in the file once it is erased everywhere.
    let bytes = std::fs::read(folder.path().join("outbox")).unwrap();
    assert!(!bytes.windows(5).any(|window| window == b"acc-1"));
    // The same again is new again.
    outbox.put(2, &[outcome(1)], TimestampMs(7)).unwrap();
    assert_eq!(kept(&outbox, 2), [outcome(1)]);
}

#[test]
fn a_full_outbox_takes_nothing_more_until_something_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let limits = OutboxLimits { entries_max: 3, bytes_max: 1 << 20 };
    let (outbox, _) = Outbox::open(folder.path(), limits).unwrap();
    outbox.put(2, &[outcome(1), outcome(2)], TimestampMs(1)).unwrap();
    let refused = outbox.put(3, &[outcome(3), outcome(4)], TimestampMs(1));
    assert!(matches!(refused, Err(OutboxError::Full { entries: 2, .. })), "{refused:?}");
    assert_eq!(kept(&outbox, 3), []);
    // A retry of what waits is no more than what waits.
    outbox.put(2, &[outcome(1), outcome(2)], TimestampMs(1)).unwrap();
    outbox.done(2, outbox.next(2, 1, 1).unwrap()[0].0).unwrap();
    outbox.put(3, &[outcome(3), outcome(4)], TimestampMs(1)).unwrap();
    drop(outbox);
    let limits = OutboxLimits { entries_max: 100, bytes_max: 400 };
    let (outbox, _) = Outbox::open(folder.path(), limits).unwrap();
    assert!(matches!(outbox.put(2, &[outcome(9)], TimestampMs(1)), Err(OutboxError::Full { .. })));
}

#[test]
fn a_file_that_was_cut_or_damaged_gives_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    let all: Vec<Kept> = (0..5).map(outcome).collect();
    let mut ends = Vec::new();
    let path = folder.path().join("outbox");
    for entry in &all {
        outbox.put(2, std::slice::from_ref(entry), TimestampMs(1)).unwrap();
        ends.push(usize::try_from(path.metadata().unwrap().len()).unwrap());
    }
    drop(outbox);
    let whole = std::fs::read(&path).unwrap();
    for cut in [ends[4] - 1, ends[3] + 1, ends[3], ends[2] + 7] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (outbox, damaged) = open(folder.path());
        let left = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!((kept(&outbox, 2), damaged), (all[..left].to_vec(), 0), "cut at {cut}");
        // What is put in next stands behind what is whole, and is there again.
        outbox.put(2, &[erasure("next")], TimestampMs(2)).unwrap();
        drop(outbox);
        let (outbox, damaged) = open(folder.path());
        assert_eq!((kept(&outbox, 2).last(), damaged), (Some(&erasure("next")), 0));
    }
    let mut flipped = whole;
    flipped[ends[1] + 30] ^= 4;
    std::fs::write(&path, &flipped).unwrap();
    let (outbox, damaged) = open(folder.path());
    let left = [&all[..2], &all[3..]].concat();
    assert_eq!((kept(&outbox, 2), damaged), (left, 1));
}

#[test]
fn an_outbox_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("outbox"), b"VERDICTO\x09\0\0\0").unwrap();
    let refused = Outbox::open(folder.path(), OutboxLimits::default()).unwrap_err();
    assert_eq!(refused.code().as_str(), "VD0702");
    std::fs::write(folder.path().join("outbox"), b"something else").unwrap();
    assert!(Outbox::open(folder.path(), OutboxLimits::default()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is put in, done and reopened: what waits is what a plain queue a node would hold.
    #[test]
    fn it_is_a_queue_a_node(steps in prop::collection::vec((1_u64..4, 0_usize..30, 0_u8..4), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let (mut outbox, _) = open(folder.path());
        let mut model: std::collections::BTreeMap<u64, Vec<Kept>> = Default::default();
        for (node_id, number, what) in steps {
            match what {
                0 | 1 => {
                    let entry = if number % 3 == 0 { erasure(&format!("u{number}")) } else { outcome(number) };
                    outbox.put(node_id, std::slice::from_ref(&entry), TimestampMs(1)).unwrap();
                    let queue = model.entry(node_id).or_default();
                    if !queue.contains(&entry) {
                        queue.push(entry);
                    }
                }
                2 => {
                    let next = outbox.next(node_id, 1 + number % 3, u64::MAX).unwrap();
                    if let Some((last, _)) = next.last() {
                        outbox.done(node_id, *last).unwrap();
                        model.entry(node_id).or_default().drain(..next.len());
                    }
                }
                _ => {
                    drop(outbox);
                    let (again, damaged) = open(folder.path());
                    prop_assert_eq!(damaged, 0);
                    outbox = again;
                }
            }
            for node_id in 1..4 {
                prop_assert_eq!(&kept(&outbox, node_id), model.entry(node_id).or_default());
            }
        }
    }
}
