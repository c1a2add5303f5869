//! Retention by bytes and by age, a segment at a time, oldest first.

use verdict_actors::journal::{SearchQuery, Sensitive};

use super::support::{Bench, DAY_MS, Given, all};

#[test]
fn bytes_are_bounded_and_keys_of_what_is_gone_go_too() {
    let bench = Bench::with(|options| {
        options.segment_bytes = 8_192;
        options.bytes_max = 40_960;
    });
    let (journal, _) = bench.open();
    let mut ids = Vec::new();
    for number in 0..400 {
        let unit = format!("u{number}");
        let given =
            Given { unit: Some(&unit), sensitive: Some(b"s"), open: &[7; 400], ..Given::default() };
        ids.push(bench.append(&journal, given).0);
    }
    drop(journal);
    let (journal, report) = bench.open();
    assert_eq!(report.damage, []);
    let status = journal.status();
    assert!(status.bytes <= 40_960, "{status:?}");
    let found = all(&journal, &SearchQuery::default());
    assert!((40..100).contains(&found.len()), "{}", found.len());
    // What is left are the newest, whole, with their keys.
    let newest: Vec<_> = ids.iter().rev().take(found.len()).copied().collect();
    assert_eq!(found.iter().map(|hit| hit.id).collect::<Vec<_>>(), newest);
    for id in newest {
        let record = journal.get(id).unwrap().unwrap();
        assert_eq!(record.sensitive, Sensitive::Plain(b"s".to_vec()));
    }
    assert_eq!(journal.get(ids[0]), Ok(None));
    assert!(status.units < 400, "{status:?}");
    let files = std::fs::read_dir(bench.path()).unwrap().count();
    assert!(files < 2 * 6 + 8, "{files} files");
}

#[test]
fn old_segments_go() {
    let bench = Bench::with(|options| {
        options.segment_bytes = 4_096;
        options.days_max = 30;
    });
    let (journal, _) = bench.open();
    for _ in 0..60 {
        bench.append(&journal, Given { open: &[7; 400], ..Given::default() });
    }
    bench.pass(31 * DAY_MS);
    let (young, _) = bench.append(&journal, Given::default());
    drop(journal);
    let (journal, _) = bench.open();
    let left = all(&journal, &SearchQuery::default());
    // The segment that holds a young record stays whole.
    assert!(left.len() < 12, "{}", left.len());
    assert_eq!(left[0].id, young);
}
