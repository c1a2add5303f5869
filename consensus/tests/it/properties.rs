//! Properties of the state machine.

use proptest::prelude::*;
use verdict_config::ObjectKind;
use verdict_consensus::{
    Catalogue, Change, ChangeSet, Command, DefinitionValidator, HistoryQuery, apply,
};

use super::support::{command, setting};

/// Change sets over few names, so that they meet.
fn change_sets() -> impl Strategy<Value = Vec<ChangeSet>> {
    let change = (0u8..6, 0i64..4, any::<bool>(), prop::option::of(0u64..8)).prop_map(
        |(name, value, delete, expected)| {
            let name = format!("s{name}");
            let change = if delete {
                Change::delete(ObjectKind::Setting, name)
            } else {
                setting(&name, value)
            };
            Change { expected_revision: expected, ..change }
        },
    );
    let changes = prop::collection::btree_map(0u8..6, change, 1..4).prop_map(|changes| {
        let mut changes: Vec<Change> = changes.into_values().collect();
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        changes.dedup_by(|a, b| a.name == b.name);
        changes
    });
    prop::collection::vec(changes, 1..20).prop_map(|sets| {
        let set = |(number, changes)| ChangeSet::new(format!("r{number}"), "w", changes);
        sets.into_iter().enumerate().map(set).collect()
    })
}

fn run(commands: impl IntoIterator<Item = Command>) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for (index, command) in (1u64..).zip(commands) {
        if let Ok(transition) = apply(&catalogue, &command, index, &DefinitionValidator) {
            catalogue = transition.catalogue;
        }
    }
    catalogue
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever repeats what was accepted, however often and however late, changes nothing.
    #[test]
    fn retries_change_nothing(sets in change_sets(), retries in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let mut catalogue = Catalogue::default();
        let mut accepted: Vec<Command> = Vec::new();
        let mut retries = retries.into_iter();
        for (number, set) in sets.iter().enumerate() {
            let command = command(set.clone(), 1_000 + number as i64);
            if let Ok(transition) = apply(&catalogue, &command, 1, &DefinitionValidator) {
                catalogue = transition.catalogue;
                accepted.push(command);
            }
            for index in retries.by_ref().take(3) {
                if accepted.is_empty() {
                    continue;
                }
                let again = apply(&catalogue, index.get(&accepted), 1, &DefinitionValidator);
                let again = again.expect("a retry is answered");
                prop_assert!(again.applied.repeated);
                prop_assert_eq!(&again.catalogue, &catalogue);
            }
        }
        let without = run(accepted);
        prop_assert_eq!(without.state_hash(), catalogue.state_hash());
        prop_assert_eq!(without.len(), catalogue.len());
    }

    /// A refused change set leaves no trace; an accepted one does all it says.
    #[test]
    fn whole_or_not_at_all(sets in change_sets()) {
        let mut catalogue = Catalogue::default();
        for set in sets {
            let before = catalogue.state_hash();
            match apply(&catalogue, &command(set.clone(), 1_000), 1, &DefinitionValidator) {
                Err(_) => prop_assert_eq!(catalogue.state_hash(), before),
                Ok(transition) => {
                    catalogue = transition.catalogue;
                    for change in &set.changes {
                        let object = catalogue.get(&change.object().unwrap());
                        let body = object.map(|object| object.body.to_vec());
                        prop_assert_eq!(&body, &change.body);
                    }
                }
            }
        }
        // Every revision that history reaches back to is the one that was there.
        for revision in 0..=catalogue.revision() {
            let older = catalogue.at_revision(revision).unwrap();
            prop_assert!(older.objects().all(|object| object.revision <= revision));
        }
        let entries = catalogue.history(&HistoryQuery { limit: 1_000, ..Default::default() }).unwrap().entries;
        prop_assert!(entries.is_sorted_by(|a, b| a.head.revision >= b.head.revision));
    }

    /// The order in which objects come into the maps leaves no mark on the state hash.
    #[test]
    fn the_hash_knows_no_order(names in prop::collection::btree_set("[a-z]{1,8}", 1..60), seed in any::<u64>()) {
        let names: Vec<String> = names.into_iter().collect();
        let mut shuffled = names.clone();
        let mut state = seed | 1;
        for at in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(at, (state >> 33) as usize % (at + 1));
        }
        let of = |names: &[String]| {
            let changes = names.iter().map(|name| setting(name, 1)).collect();
            run([command(ChangeSet::new("r", "w", changes), 1)])
        };
        let (one, other) = (of(&names), of(&shuffled));
        let objects = |catalogue: &Catalogue| {
            catalogue.objects().map(|object| (object.id.clone(), object.hash)).collect::<Vec<_>>()
        };
        prop_assert_eq!(objects(&one), objects(&other));
        // The digest of a change set is over its changes in order; without request ids, the hashes
        // of the states are equal.
        let bare = |catalogue: &Catalogue| catalogue.at_revision(1).unwrap().state_hash();
        prop_assert_eq!(bare(&one), bare(&other));
    }

    /// Bytes from anywhere never panic, and what is decoded encodes to the same bytes.
    #[test]
    fn decoding_is_total(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let framed = [b"VDCM\x01\x00".as_slice(), &bytes].concat();
        for bytes in [&bytes, &framed] {
            if let Ok(command) = Command::decode(bytes) {
                let again = Command::decode(&command.encode().unwrap()).unwrap();
                prop_assert_eq!(again, command);
            }
        }
    }
}

/// The hash of a known state, for ever: no platform, restart or version may change it.
#[test]
fn the_hash_of_a_known_state() {
    let sets = [
        ChangeSet::new("r1", "w", vec![setting("a", 1), setting("b", 2)]),
        ChangeSet::new("r2", "w", vec![setting("a", 3), Change::delete(ObjectKind::Setting, "b")]),
    ];
    let catalogue = run(sets.map(|set| command(set, 1_000)));
    assert_eq!(catalogue.revision(), 2);
    assert_eq!(
        catalogue.state_hash().to_hex(),
        "2da86fae4b97be478276839643710e0417253dfe12d2f8c3e063a7451282e41f"
    );
}
