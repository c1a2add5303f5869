//! Backtests: recorded decisions made again by another version of their flow.
//!
//! The new version gets the input, flags and `as_of` of then, the window values of the windows that
//! both versions read, and the recorded scores of the models that both ask. What it asks beyond that is
//! unknown, or absent, and is counted, because such decisions say little about the new version.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use verdict_config::definition::Outcome;
use verdict_rules::Scratch;

use crate::flow::CompiledFlow;
use crate::record::DecisionRecord;
use crate::replay::{ReplayError, bring};
use crate::session::{Given, Session, Windows};

/// The most ids that a change of outcome is shown with.
pub const EXAMPLES_MAX: usize = 20;

/// What a new version would have changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct BacktestReport {
    /// Records that were compared.
    pub compared: u64,
    /// Those whose outcome is the same.
    pub unchanged: u64,
    /// Changes of outcome, by what it was and what it would be.
    pub changes: Vec<OutcomeChange>,
    /// Records that the new version would refuse as input.
    pub refused: u64,
    /// Records whose unit was erased.
    pub erased: u64,
    /// Records that cannot be read.
    pub damaged: u64,
    /// Compared records for which the new version reads a window that was not recorded.
    pub windows_unknown: u64,
    /// Compared records for which the new version asks a model whose answer was not recorded.
    pub models_unknown: u64,
}

/// A change of outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeChange {
    /// What it was.
    pub from: Outcome,
    /// What it would be.
    pub to: Outcome,
    /// How often.
    pub count: u64,
    /// Ids of some of them, the first ones.
    pub examples: Vec<Arc<str>>,
}

/// Compares what was decided with what a new version of the flow would decide. `old` is the version
/// that the records were made by: records of other versions are counted as damaged.
pub fn compare<'r>(
    records: impl IntoIterator<Item = &'r DecisionRecord>,
    old: &CompiledFlow,
    new: &Arc<CompiledFlow>,
    scratch: &mut Scratch,
) -> BacktestReport {
    let mut report = BacktestReport::default();
    let mut changes: BTreeMap<(Outcome, Outcome), OutcomeChange> = BTreeMap::new();
    for record in records {
        let from = record.open.outcome;
        let Some(to) = decide(record, old, new, &mut report, scratch) else { continue };
        report.compared += 1;
        if from == to {
            report.unchanged += 1;
            continue;
        }
        let change = changes.entry((from, to)).or_insert_with(|| OutcomeChange {
            from,
            to,
            count: 0,
            examples: Vec::new(),
        });
        change.count += 1;
        if change.examples.len() < EXAMPLES_MAX {
            change.examples.push(Arc::clone(&record.open.decision_id));
        }
    }
    report.changes = changes.into_values().collect();
    report
}

fn decide(
    record: &DecisionRecord,
    old: &CompiledFlow,
    new: &Arc<CompiledFlow>,
    report: &mut BacktestReport,
    scratch: &mut Scratch,
) -> Option<Outcome> {
    if record.open.flow_hash != *old.content_hash() {
        report.damaged += 1;
        return None;
    }
    let given = match Given::of_record_on(record, new) {
        Ok(given) => given,
        Err(error) => {
            match error {
                ReplayError::UnitErased => report.erased += 1,
                ReplayError::Input(_) => report.refused += 1,
                ReplayError::Damaged(_) | ReplayError::WrongFlow => report.damaged += 1,
            }
            return None;
        }
    };
    let mut session = Session::new(given);
    let (windows, unknown) = windows(record, old, &session);
    session.windows = Arc::new(windows);
    report.windows_unknown += u64::from(unknown);
    let known = |call: &crate::session::ModelCall, _: usize| {
        record.open.calls.iter().find(|stored| stored.content_hash == call.content_hash)
    };
    let calls = bring(&mut session, record, scratch, known);
    report.models_unknown += u64::from(calls.iter().any(|call| known(call, 0).is_none()));
    Some(session.decide(scratch).outcome)
}

/// The recorded values of the windows that both versions read, and whether the new one reads others.
fn windows(record: &DecisionRecord, old: &CompiledFlow, session: &Session) -> (Windows, bool) {
    let mut recorded: BTreeMap<&str, verdict_config::Value> = BTreeMap::new();
    for (read, value) in old.windows.iter().zip(&record.open.windows) {
        if let Some(value) = value {
            recorded.insert(&read.text, value.into());
        }
    }
    for (position, value) in record.sensitive.iter().flat_map(|part| &part.windows) {
        if let Some(read) = old.windows.get(*position as usize) {
            recorded.insert(&read.text, value.into());
        }
    }
    let reads = &session.given.flow.windows;
    let values = reads.iter().map(|read| recorded.get(read.text.as_str()).cloned()).collect();
    let known = |text: &str| old.windows.iter().any(|read| read.text == text);
    let unknown = session.queries.iter().any(|query| !known(&query.read.text));
    let open = &record.open;
    let (lag_ms, read, partial) = (open.window_lag_ms, open.windows_read, open.windows_partial);
    (Windows { values, lag_ms, read, partial }, unknown)
}
