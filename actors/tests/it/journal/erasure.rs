//! Erasing a unit destroys its key, and nothing else.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use verdict_actors::journal::{Journal, Sensitive};
use verdict_config::Code;

use super::support::{Bench, Given, counted};

fn every_file(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            every_file(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test]
async fn the_key_is_gone_from_the_disk_and_other_units_stay() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    let given = |unit| Given {
        unit: Some(unit),
        sensitive: Some(b"secret"),
        key: "card",
        ..Given::default()
    };
    let (erased, _) = bench.append(&journal, given("ann"));
    let (second, _) = bench.append(&journal, given("ann"));
    let (kept, _) = bench.append(&journal, given("bob"));
    let (of_node, _) =
        bench.append(&journal, Given { sensitive: Some(b"secret"), ..Given::default() });
    let units = bench.path().join("keys/units");
    let before = std::fs::read(&units).unwrap();
    assert_eq!(before.len(), 256, "one key a unit");
    let sealed_key = before[32..32 + 72].to_vec();

    assert!(journal.erase_unit("ann").await.unwrap());
    assert!(!journal.erase_unit("ann").await.unwrap(), "there is no key any more");
    assert!(!journal.erase_unit("nobody").await.unwrap());

    let mut files = Vec::new();
    every_file(bench.path(), &mut files);
    for (name, bytes) in &files {
        for part in sealed_key.chunks_exact(16) {
            assert!(!bytes.windows(16).any(|window| window == part), "{name} holds the key");
        }
    }
    // Later decisions of the unit have a new key, and do not bring the old ones back.
    let (later, _) = bench.append(&journal, given("ann"));
    let check = |journal: &Journal| {
        let sensitive = |id| journal.get(id).unwrap().unwrap().sensitive;
        assert_eq!(sensitive(erased), Sensitive::Erased);
        assert_eq!(sensitive(second), Sensitive::Erased);
        for id in [kept, of_node, later] {
            assert_eq!(sensitive(id), Sensitive::Plain(b"secret".to_vec()));
        }
        assert_eq!(journal.get(erased).unwrap().unwrap().open, b"open");
        assert_eq!(counted(journal, "card", bench.at()), 4);
    };
    check(&journal);
    journal.drain().await;
    check(&bench.open().0);
}

#[test]
fn keys_are_private_and_a_damaged_master_key_refuses_the_start() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    bench.append(&journal, Given { unit: Some("u"), sensitive: Some(b"s"), ..Given::default() });
    drop(journal);
    for name in ["keys/master", "keys/units"] {
        let mode = std::fs::metadata(bench.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let master = bench.path().join("keys/master");
    let mut bytes = std::fs::read(&master).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&master, bytes).unwrap();
    assert_eq!(bench.try_open().err().map(|error| error.code()), Some(Code::StateDamaged));
    std::fs::remove_file(&master).unwrap();
    assert_eq!(bench.try_open().err().map(|error| error.code()), Some(Code::StateDamaged));
}

#[test]
fn a_damaged_key_is_told_from_an_erased_one() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    let given = Given { unit: Some("u"), sensitive: Some(b"s"), ..Given::default() };
    let (id, _) = bench.append(&journal, given);
    drop(journal);
    let units = bench.path().join("keys/units");
    let mut bytes = std::fs::read(&units).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&units, bytes).unwrap();
    let (journal, report) = bench.open();
    assert_eq!(report.damage.len(), 1);
    assert_eq!(journal.get(id).unwrap_err().code(), Code::StateDamaged);
}
