//! Replay: a recorded decision computed again, and compared with what was sent.
//!
//! The logic is replayed bit for bit with the recorded scores, windows and flags, so that it has
//! nothing to differ by but a fault or a damaged record. Scores are another matter: computed again
//! they are equal bit for bit on the same kernel, and within a tolerance on another. So they are
//! compared on their own, and never disturb the comparison of the logic.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;
use verdict_config::model::ModelOutput;
use verdict_config::{Code, Faults};
use verdict_rules::Scratch;

use crate::decision::Decision;
use crate::flow::CompiledFlow;
use crate::record::{DecisionRecord, StoredCall};
use crate::session::{Given, ModelCall, ModelFailure, Session, Windows};

/// How far scores of another kernel may be off.
pub const SCORE_TOLERANCE: f64 = 1e-4;
/// The most differences that a replay lists.
pub const DIFFERENCES_MAX: usize = 100;
/// Members of an answer that a node sets, and a replay cannot know.
const NOT_COMPARED: [&str; 2] = ["took_us", "stale"];

/// Why a decision cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The flow is not the one that decided, byte for byte.
    #[error("the flow is not the one that decided")]
    WrongFlow,
    /// The sensitive part was destroyed.
    #[error("the unit was erased: the sensitive fields of this decision are gone")]
    UnitErased,
    /// The input does not fit the flow.
    #[error("the recorded input does not fit the flow: {}", .0.first().map_or("", |fault| fault.message.as_str()))]
    Input(Faults),
    /// The record contradicts itself.
    #[error("the record is damaged: {0}")]
    Damaged(String),
}

impl ReplayError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::WrongFlow | Self::Input(_) => Code::ReplayUnavailable,
            Self::UnitErased => Code::UnitErased,
            Self::Damaged(_) => Code::StateDamaged,
        }
    }

    /// Whether trying again could help: never.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

/// A decision computed again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// What came out.
    pub decision: Decision,
    /// Whether the logic came out the same, and the scores within the tolerance where they were
    /// computed again.
    pub equal: bool,
    /// Where the answers differ, at most [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
    /// `recorded` or `recomputed`: where the scores of the comparison come from.
    pub score_mode: ScoreMode,
    /// How far scores may be off.
    pub tolerance: f64,
    /// Scores that were computed again, by call.
    pub scores: Vec<ScoreComparison>,
    /// Whether rules evaluated by another version than that of the record, which this program does not
    /// know: differences may come of that.
    pub evaluation_changed: bool,
    /// The versions of evaluation.
    pub evaluation: ReplayEvaluation,
}

/// The versions by which rules evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReplayEvaluation {
    /// The number in the record.
    pub recorded: u16,
    /// The number that the replay went by.
    pub replayed: u16,
}

/// Where a replay's scores come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreMode {
    /// From the record.
    Recorded,
    /// From the record, and compared with scores that were computed again.
    Recomputed,
}

/// One place where two answers differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Where: keys joined by dots, positions in brackets.
    pub path: String,
    /// What was sent; `null` where nothing was.
    pub recorded: Json,
    /// What came out now.
    pub replayed: Json,
}

/// A model's answer, computed again.
#[derive(Debug, Clone, PartialEq)]
pub struct RecomputedOutput {
    /// The call's number.
    pub call: u32,
    /// What the model answered now.
    pub output: Result<ModelOutput, ModelFailure>,
}

/// Recorded and recomputed scores of one call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreComparison {
    /// The call's number.
    pub call: u32,
    /// `NAME@VERSION`.
    pub model: Arc<str>,
    /// What computed it then.
    pub kernel_recorded: Option<Arc<str>>,
    /// What computed it now.
    pub kernel_recomputed: Option<String>,
    /// How they compare.
    pub status: ScoreStatus,
    /// The largest difference of a score; `null` where they cannot be compared.
    pub difference_max: Option<f64>,
}

/// How scores compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreStatus {
    /// Every bit is equal.
    BitEqual,
    /// They differ by at most the tolerance.
    WithinTolerance,
    /// They differ by more.
    Different,
    /// The model failed then, or does now.
    Unavailable,
}

/// Scores to compare a replay with.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplayOptions<'a> {
    /// Scores computed again for the calls of [`replay_calls`]; none replays the logic only.
    pub recomputed: Option<&'a [RecomputedOutput]>,
    /// How far they may be off; [`SCORE_TOLERANCE`] if absent.
    pub tolerance: Option<f64>,
}

/// The model calls of a recorded decision with their rows, to compute their scores again.
///
/// # Errors
/// [`ReplayError`].
pub fn replay_calls(
    record: &DecisionRecord,
    flow: &Arc<CompiledFlow>,
    scratch: &mut Scratch,
) -> Result<Vec<ModelCall>, ReplayError> {
    let (_, calls) = restore(record, Given::of_record(record, flow)?, scratch)?;
    Ok(calls)
}

/// Computes a recorded decision again and compares it with the answer that was sent. `flow` is the
/// flow of the record's revision.
///
/// # Errors
/// [`ReplayError`].
pub fn replay(
    record: &DecisionRecord,
    flow: &Arc<CompiledFlow>,
    options: ReplayOptions<'_>,
    scratch: &mut Scratch,
) -> Result<Replayed, ReplayError> {
    let (session, _) = restore(record, Given::of_record(record, flow)?, scratch)?;
    let mut decision = session.decide(scratch);
    let recorded: Json = serde_json::from_slice(&record.open.answer)
        .map_err(|error| ReplayError::Damaged(error.to_string()))?;
    decision.took_us = recorded["took_us"].as_u64().unwrap_or(0);
    decision.stale = recorded["stale"].as_bool().unwrap_or(false);
    let text =
        serde_json::to_vec(&decision).map_err(|error| ReplayError::Damaged(error.to_string()))?;
    // Through text, so that both sides went the same way.
    let replayed: Json =
        serde_json::from_slice(&text).map_err(|error| ReplayError::Damaged(error.to_string()))?;
    let mut differences = Vec::new();
    compare("", &recorded, &replayed, &mut differences);
    let tolerance = options.tolerance.unwrap_or(SCORE_TOLERANCE);
    let scores: Vec<ScoreComparison> = options
        .recomputed
        .unwrap_or_default()
        .iter()
        .filter_map(|output| {
            let stored = record.open.calls.get(output.call as usize)?;
            Some(compare_scores(stored, output, tolerance))
        })
        .collect();
    let evaluation =
        ReplayEvaluation { recorded: record.open.evaluation, replayed: flow.evaluation().number() };
    let same = |status| matches!(status, ScoreStatus::BitEqual | ScoreStatus::WithinTolerance);
    Ok(Replayed {
        equal: differences.is_empty() && scores.iter().all(|score| same(score.status)),
        decision,
        differences,
        score_mode: match options.recomputed {
            None => ScoreMode::Recorded,
            Some(_) => ScoreMode::Recomputed,
        },
        tolerance,
        scores,
        evaluation_changed: evaluation.recorded != evaluation.replayed,
        evaluation,
    })
}

/// A session with everything that the record knows, ready to be concluded, and its calls.
pub(crate) fn restore(
    record: &DecisionRecord,
    given: Given,
    scratch: &mut Scratch,
) -> Result<(Session, Vec<ModelCall>), ReplayError> {
    let open = &record.open;
    let mut session = Session::new(given);
    if open.windows.len() != session.given.flow.windows.len() {
        return Err(ReplayError::Damaged("the windows are not the flow's".to_owned()));
    }
    let mut windows = Windows {
        values: open.windows.iter().map(|value| value.as_ref().map(Into::into)).collect(),
        lag_ms: open.window_lag_ms,
        read: open.windows_read,
        partial: open.windows_partial,
    };
    for (position, value) in record.sensitive.iter().flat_map(|part| &part.windows) {
        match windows.values.get_mut(*position as usize) {
            Some(slot) => *slot = Some(value.into()),
            None => return Err(ReplayError::Damaged("an unknown window was read".to_owned())),
        }
    }
    session.windows = Arc::new(windows);
    let calls = bring(&mut session, record, scratch, |call, position| {
        let stored = open.calls.get(position)?;
        (stored.content_hash == call.content_hash).then_some(stored)
    });
    Ok((session, calls))
}

/// Runs the rules and brings the recorded answers of models.
pub(crate) fn bring<'r>(
    session: &mut Session,
    record: &'r DecisionRecord,
    scratch: &mut Scratch,
    stored: impl Fn(&ModelCall, usize) -> Option<&'r StoredCall>,
) -> Vec<ModelCall> {
    if session.given.stages.flow {
        match record.open.rules_failure {
            Some(failure) => session.rules = Some(Err(failure)),
            None => session.run_rules(scratch),
        }
    }
    let mut made = Vec::new();
    // One round for what was selected, one for what stands in for it.
    for _ in 0..2 {
        let calls = session.model_calls();
        for call in &calls {
            let output = match stored(call, call.call as usize) {
                Some(stored) => stored.result.as_ref().map(Into::into).map_err(|failure| *failure),
                None => Err(ModelFailure::Absent),
            };
            session.set_output(call.call, output);
        }
        made.extend(calls);
    }
    made
}

fn compare_scores(
    stored: &StoredCall,
    output: &RecomputedOutput,
    tolerance: f64,
) -> ScoreComparison {
    let mut comparison = ScoreComparison {
        call: output.call,
        model: Arc::clone(&stored.model),
        kernel_recorded: stored.result.as_ref().ok().map(|scores| Arc::clone(&scores.kernel)),
        kernel_recomputed: output.output.as_ref().ok().map(|output| output.kernel.clone()),
        status: ScoreStatus::Unavailable,
        difference_max: None,
    };
    let (Ok(then), Ok(now)) = (&stored.result, &output.output) else { return comparison };
    if then.bits.len() != now.scores.len() {
        comparison.status = ScoreStatus::Different;
        return comparison;
    }
    let pairs = || then.bits.iter().zip(&now.scores);
    let difference = pairs()
        .map(|(bits, score)| (f64::from(f32::from_bits(*bits)) - f64::from(*score)).abs())
        .fold(0.0, f64::max);
    comparison.difference_max = Some(difference);
    comparison.status = if pairs().all(|(bits, score)| *bits == score.to_bits()) {
        ScoreStatus::BitEqual
    } else if difference <= tolerance {
        ScoreStatus::WithinTolerance
    } else {
        ScoreStatus::Different
    };
    comparison
}

/// Collects the places where two values differ. Depth is that of the answer, which is ours.
fn compare(path: &str, recorded: &Json, replayed: &Json, differences: &mut Vec<Difference>) {
    if recorded == replayed || differences.len() >= DIFFERENCES_MAX {
        return;
    }
    match (recorded, replayed) {
        (Json::Object(then), Json::Object(now)) => {
            for (key, value) in then {
                let path = joined(path, key);
                if !NOT_COMPARED.contains(&path.as_str()) {
                    compare(&path, value, now.get(key).unwrap_or(&Json::Null), differences);
                }
            }
            for (key, value) in now.iter().filter(|(key, _)| !then.contains_key(*key)) {
                compare(&joined(path, key), &Json::Null, value, differences);
            }
        }
        (Json::Array(then), Json::Array(now)) => {
            for position in 0..then.len().max(now.len()) {
                let side = |items: &[Json]| items.get(position).cloned().unwrap_or_default();
                compare(&format!("{path}[{position}]"), &side(then), &side(now), differences);
            }
        }
        _ => differences.push(Difference {
            path: path.to_owned(),
            recorded: recorded.clone(),
            replayed: replayed.clone(),
        }),
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
