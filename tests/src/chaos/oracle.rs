//! What must hold over a history, checked by code that knows the history and the pure cores only.
//!
//! The numbers are those of the cluster's invariants: 1 no acknowledged write lost, none applied
//! twice; 2 revisions of a node never go back; 3 decisions are what a pure replay gives; 4 nothing
//! retired is served once a node told so; 5 no request mixes revisions; 6 what lies under a hash has
//! it; 7 stale marks without a majority; 8 watchers see every revision once, in order; 11 equal revision, equal state; 12
//! convergence after healing.

mod decisions;
mod observations;
mod rebuild;
mod states;
mod watches;
mod writes;

use std::collections::BTreeMap;

use serde::Serialize;

use super::history::{Call, Record};
use rebuild::Rebuilt;

/// The most violations of one invariant that are told.
const TOLD_MAX: usize = 20;

/// One thing that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The invariant's number.
    pub invariant: u8,
    /// What was seen.
    pub what: String,
}

/// What the oracle says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What must not be; empty if all holds.
    pub violations: Vec<Violation>,
    /// Violations by invariant, those that are not told included.
    pub counts: BTreeMap<u8, u64>,
    /// How much was checked, by what.
    pub checked: BTreeMap<String, u64>,
}

impl Verdict {
    /// Adds a violation.
    pub fn add(&mut self, invariant: u8, what: String) {
        let count = self.counts.entry(invariant).or_default();
        *count += 1;
        if *count <= TOLD_MAX as u64 {
            self.violations.push(Violation { invariant, what });
        }
    }

    /// Whether an invariant was violated.
    #[must_use]
    pub fn violates(&self, invariant: u8) -> bool {
        self.counts.contains_key(&invariant)
    }

    fn count(&mut self, what: &str, by: usize) {
        *self.checked.entry(what.to_owned()).or_default() += by as u64;
    }
}

/// The calls of a history, by when they were sent.
fn calls(records: &[Record]) -> Vec<&Call> {
    let calls = records.iter().filter_map(|record| match record {
        Record::Call(call) => Some(call),
        _ => None,
    });
    let mut calls: Vec<&Call> = calls.collect();
    calls.sort_by_key(|call| call.begin_us);
    calls
}

/// Checks a history.
#[must_use]
pub fn check(records: &[Record]) -> Verdict {
    let mut verdict = Verdict::default();
    let calls = calls(records);
    observations::check(&calls, records, &mut verdict);
    let entries = records.iter().find_map(|record| match record {
        Record::Catalogue { entries, .. } => Some(entries),
        _ => None,
    });
    // What was never read back cannot be compared; that it was not is told by invariant 12.
    let rebuilt = entries.map(|entries| rebuild::rebuild(entries, &calls, &mut verdict));
    let rebuilt = rebuilt.unwrap_or_else(Rebuilt::empty);
    if entries.is_some() {
        writes::check(&calls, &rebuilt, &mut verdict);
    }
    decisions::check(&calls, records, &rebuilt, &mut verdict);
    watches::check(records, &rebuilt, &mut verdict);
    states::check(&calls, records, &rebuilt, &mut verdict);
    verdict
}

#[cfg(test)]
mod tests;
