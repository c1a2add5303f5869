//! Invariant 11: equal revision, equal state, on every node and as the pure state machine makes it.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use verdict_config::definition::STANDING_PREFIX;

use super::Verdict;
use super::rebuild::Rebuilt;
use crate::chaos::history::{Call, Kind, Record};

pub fn check(calls: &[&Call], records: &[Record], rebuilt: &Rebuilt, verdict: &mut Verdict) {
    let mut told: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::new();
    let polled = calls.iter().filter(|call| call.kind == Kind::Status).filter_map(|call| {
        let state = &call.body()?["state"];
        Some((call.node, state["revision"].as_u64()?, state["hash"].as_str()?.to_owned()))
    });
    let last = records.iter().filter_map(|record| match record {
        Record::State { node, revision, hash } => Some((*node, *revision, hash.clone())),
        _ => None,
    });
    for (node, revision, hash) in polled.chain(last) {
        verdict.count("state hashes", 1);
        told.entry(revision).or_default().insert(hash, node);
    }
    for (revision, hashes) in &told {
        if hashes.len() > 1 {
            verdict.add(11, format!("revision {revision} has more than one state: {hashes:?}"));
        }
        let Some(catalogue) = rebuilt.catalogues.get(revision) else { continue };
        let made = catalogue.state_hash().to_hex();
        if let Some((hash, node)) = hashes.iter().find(|(hash, _)| **hash != made) {
            let what = format!(
                "revision {revision} of node {node} has the hash {hash}, and was to have {made}"
            );
            verdict.add(11, what);
        }
    }
    histories(records, verdict);
    restored(records, verdict);
}

/// Every node tells the same history.
fn histories(records: &[Record], verdict: &mut Verdict) {
    let mut first: Option<(u64, &[Json])> = None;
    for record in records {
        let Record::Catalogue { node, entries } = record else { continue };
        match first {
            None => first = Some((*node, entries)),
            Some((other, expected)) if expected != entries.as_slice() => {
                let differs = expected.iter().zip(entries).find(|(one, two)| one != two);
                let what = match differs {
                    Some((one, two)) => {
                        format!("nodes {other} and {node} tell {one} and {two}")
                    }
                    None => format!("nodes {other} and {node} tell histories of two lengths"),
                };
                verdict.add(11, what);
            }
            Some(_) => {}
        }
    }
}

/// A cluster of a backup has the history of the one that it was made of.
fn restored(records: &[Record], verdict: &mut Verdict) {
    let whole = records.iter().find_map(|record| match record {
        Record::Catalogue { entries, .. } => Some(entries),
        _ => None,
    });
    for record in records {
        let Record::Restored { least, entries, failure: None } = record else { continue };
        let given = without_farewells(entries).last();
        let newest = given.and_then(|entry| entry["revision"].as_u64()).unwrap_or(0);
        if newest < *least {
            let what = format!("the backup has revision {newest}, and {least} was acknowledged");
            verdict.add(1, what);
        }
        let entries = without_farewells(entries);
        if whole.is_some_and(|whole| !whole.starts_with(entries) && whole != entries) {
            verdict.add(11, "the restored history is another one".to_owned());
        }
    }
}

/// What a restored cluster was given. By itself it says that the members of the one before are not its
/// own.
fn without_farewells(entries: &[Json]) -> &[Json] {
    let is_farewell = |entry: &Json| {
        let name = entry["name"].as_str().unwrap_or_default();
        entry["op"] == "delete" && name.starts_with(STANDING_PREFIX)
    };
    let given = entries.iter().rposition(|entry| !is_farewell(entry));
    &entries[..given.map_or(0, |last| last + 1)]
}
