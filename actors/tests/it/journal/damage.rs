//! Torn ends, flipped bits, lost files: what is whole is kept, what is not is named.

use std::fs;

use verdict_actors::journal::{DecisionId, Journal, SearchQuery};
use verdict_config::Code;

use super::support::{Bench, Given, all, counted, last_file};

fn filled(bench: &Bench, records: usize) -> Vec<DecisionId> {
    let (journal, _) = bench.open();
    let append = |number: usize| {
        let open = format!("record {number}");
        let given = Given { open: open.as_bytes(), key: "card", ..Given::default() };
        bench.append(&journal, given).0
    };
    (0..records).map(append).collect()
}

fn found(journal: &Journal) -> usize {
    all(journal, &SearchQuery::default()).len()
}

#[test]
fn a_torn_end_is_cut_and_writing_goes_on() {
    let bench = Bench::new();
    let ids = filled(&bench, 3);
    let segment = last_file(bench.path(), "segment", ".vj");
    let whole = fs::read(&segment).unwrap();
    let last = (whole.len() - 24) / 3;
    fs::remove_file(bench.path().join("windows.checkpoint")).unwrap();
    for cut in 1..last {
        // The mark says that the end was durable; here it is the write that is torn.
        let _ = fs::remove_file(bench.path().join("mark"));
        let _ = fs::remove_file(bench.path().join("windows.checkpoint"));
        fs::write(&segment, &whole[..whole.len() - cut]).unwrap();
        let (journal, report) = bench.open();
        assert_eq!(report.torn_bytes, (last - cut) as u64);
        assert_eq!((report.damage, report.records_read), (vec![], 2));
        assert_eq!(counted(&journal, "card", bench.at()), 2);
        let (id, _) = bench.append(&journal, Given::default());
        assert_eq!(found(&journal), 3);
        assert!(journal.contains(id).unwrap() && !journal.contains(ids[2]).unwrap());
    }
}

#[test]
fn a_durable_end_that_is_gone_is_told() {
    let bench = Bench::new();
    filled(&bench, 3);
    let segment = last_file(bench.path(), "segment", ".vj");
    let whole = fs::read(&segment).unwrap();
    // Cut between two records, where the file reads well.
    let one = (whole.len() - 24) / 3;
    fs::write(&segment, &whole[..whole.len() - one]).unwrap();
    let (journal, report) = bench.open();
    assert_eq!(report.damage.len(), 1);
    assert_eq!(report.damage[0].bytes, one as u64);
    assert_eq!(found(&journal), 2);
}

#[test]
fn flipped_bits_cost_one_record_each() {
    let bench = Bench::new();
    let ids = filled(&bench, 5);
    let segment = last_file(bench.path(), "segment", ".vj");
    let whole = fs::read(&segment).unwrap();
    let each = (whole.len() - 24) / 5;
    for at in (24 + 2 * each..24 + 3 * each).step_by(5) {
        for name in fs::read_dir(bench.path()).unwrap().map(|entry| entry.unwrap().path()) {
            let text = name.display().to_string();
            if ["segment-", "windows.", "/mark"].iter().any(|part| text.contains(part)) {
                fs::remove_file(name).unwrap();
            }
        }
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&segment, damaged).unwrap();
        let (journal, report) = bench.open();
        assert_eq!(report.damage.len(), 1, "byte {at}: {report:?}");
        let damage = &report.damage[0];
        assert_eq!((damage.offset, damage.bytes), (24 + 2 * each as u64, each as u64));
        assert_eq!(damage.records, Some(1));
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(journal.contains(*id).unwrap(), number != 2, "byte {at}");
        }
        assert_eq!(counted(&journal, "card", bench.at()), 4);
        // Writing goes on in a new segment, and the next start knows both.
        let (id, _) = bench.append(&journal, Given::default());
        drop(journal);
        let (journal, _) = bench.open();
        assert!(journal.contains(id).unwrap());
        assert_eq!(found(&journal), 5);
    }
}

#[test]
fn a_record_damaged_after_the_start_is_told_when_it_is_read() {
    let bench = Bench::new();
    let ids = filled(&bench, 2);
    let (journal, _) = bench.open();
    let segment = last_file(bench.path(), "segment", ".vj");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(8).position(|window| window == b"record 0").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert_eq!(journal.get(ids[0]).unwrap_err().code(), Code::StateDamaged);
    assert_eq!(journal.get(ids[1]).unwrap().unwrap().open, b"record 1");
}

#[test]
fn sidecars_are_built_again() {
    let bench = Bench::with(|options| options.segment_bytes = 4_096);
    let ids = filled(&bench, 100);
    let (journal, report) = bench.open();
    let sealed = report.segments - 1;
    assert_eq!((report.indexes_rebuilt, found(&journal)), (0, 100));
    drop(journal);
    let mut damaged = 0;
    for entry in fs::read_dir(bench.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "vx") {
            match damaged % 3 {
                0 => fs::remove_file(&path).unwrap(),
                1 => fs::write(&path, b"nonsense").unwrap(),
                _ => {
                    let mut bytes = fs::read(&path).unwrap();
                    bytes[30] ^= 1;
                    fs::write(&path, bytes).unwrap();
                }
            }
            damaged += 1;
        }
    }
    let (journal, report) = bench.open();
    assert_eq!((report.indexes_rebuilt, report.damage), (sealed, vec![]));
    assert_eq!(found(&journal), 100);
    for id in ids {
        assert!(journal.get(id).unwrap().is_some());
    }
}
