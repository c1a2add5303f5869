//! Outcomes of decisions and of units, and the erasure of units.

use serde::{Deserialize, Serialize};
use verdict_config::{Code, Fault, Faults, TimestampMs};

use super::Handle;
use crate::error::RuntimeError;
use crate::journal::{DecisionId, NewOutcome, OutcomeState};

/// The most outcomes of one request.
pub const OUTCOMES_MAX: usize = 10_000;
const ID_CHARS_MAX: usize = 128;
const UNIT_CHARS_MAX: usize = 256;
const TEXT_CHARS_MAX: usize = 256;

/// An outcome as a client sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOutcomeInput {
    /// The client's id, 1 to 128 characters: one id counts once.
    pub id: String,
    /// The decision that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
    /// The unit that it is of, where no decision is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What was observed: `label`, `chargeback`, `loss`.
    pub metric: String,
    /// The observation: a number, a truth value or a short text.
    pub value: serde_json::Value,
    /// When it was observed; when it is received if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<TimestampMs>,
}

impl Handle {
    /// Checks the form of outcomes, without recording any.
    ///
    /// # Errors
    /// `OutcomeInvalid` with every fault.
    pub fn check_outcomes(&self, outcomes: &[NewOutcomeInput]) -> Result<(), RuntimeError> {
        if outcomes.len() > OUTCOMES_MAX {
            return Err(too_many());
        }
        let mut faults = Faults::new();
        for (position, outcome) in outcomes.iter().enumerate() {
            if let Err(found) = check(outcome.clone()) {
                let place = format!("outcomes[{position}]");
                faults.extend(found.into_iter().map(|fault| fault.under(&place)));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(RuntimeError::OutcomeInvalid(faults)) }
    }

    /// Records outcomes. Returns when they are durable: what is acknowledged survives a loss of power.
    ///
    /// # Errors
    /// `OutcomeInvalid` with every fault (then none is recorded), or the journal's.
    pub async fn record_outcomes(
        &self,
        outcomes: Vec<NewOutcomeInput>,
    ) -> Result<Vec<OutcomeState>, RuntimeError> {
        let _inside = self.enter()?;
        let journal = self.core.recording.journal.clone();
        let checked = self
            .blocking("outcomes", move |core| {
                let mut faults = Faults::new();
                if outcomes.len() > OUTCOMES_MAX {
                    return Err(too_many());
                }
                let mut new = Vec::with_capacity(outcomes.len());
                for (position, outcome) in outcomes.into_iter().enumerate() {
                    let place = format!("outcomes[{position}]");
                    match check(outcome) {
                        Ok(outcome) => {
                            if let Some(fault) = unknown_decision(core, &outcome)? {
                                faults.push(fault.under(&place));
                            }
                            new.push(outcome);
                        }
                        Err(found) => {
                            faults.extend(found.into_iter().map(|fault| fault.under(&place)));
                        }
                    }
                }
                if faults.is_empty() { Ok(new) } else { Err(RuntimeError::OutcomeInvalid(faults)) }
            })
            .await?;
        Ok(journal.record_outcomes(checked).await?)
    }

    /// Destroys the key of a unit: its sensitive fields can be read by nobody afterwards. Returns
    /// whether there was one, when it is gone from the disk.
    ///
    /// # Errors
    /// The journal's.
    pub async fn erase_unit(&self, unit: &str) -> Result<bool, RuntimeError> {
        let _inside = self.enter()?;
        if unit.is_empty() || unit.chars().count() > UNIT_CHARS_MAX {
            let text = format!("a unit has 1 to {UNIT_CHARS_MAX} characters");
            return Err(RuntimeError::Invalid(text));
        }
        Ok(self.core.recording.journal.erase_unit(unit).await?)
    }
}

fn too_many() -> RuntimeError {
    let message = format!("at most {OUTCOMES_MAX} outcomes a request");
    RuntimeError::OutcomeInvalid(vec![Fault::new(Code::LimitExceeded, "outcomes", message)])
}

fn check(outcome: NewOutcomeInput) -> Result<NewOutcome, Faults> {
    let mut faults = Faults::new();
    let mut text = |path: &str, text: &str, most: usize| {
        let chars = text.chars().count();
        if chars == 0 || chars > most {
            let message = format!("{path} has 1 to {most} characters, got {chars}");
            faults.push(Fault::new(Code::OutcomeInvalid, path, message));
        }
    };
    text("id", &outcome.id, ID_CHARS_MAX);
    text("metric", &outcome.metric, 64);
    if let Some(unit) = &outcome.unit {
        text("unit", unit, UNIT_CHARS_MAX);
    }
    let mut fault = |path: &str, message: &str| {
        faults.push(Fault::new(Code::OutcomeInvalid, path, message));
    };
    match &outcome.value {
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => {}
        serde_json::Value::String(text) if text.chars().count() <= TEXT_CHARS_MAX => {}
        _ => {
            fault("value", "a value is a number, a truth value or a text of at most 256 characters")
        }
    }
    let decision = match (&outcome.decision_id, &outcome.unit) {
        (Some(text), None) => match text.parse::<DecisionId>() {
            Ok(id) => Some(id),
            Err(_) => {
                fault("decision_id", "that is no decision id");
                None
            }
        },
        (None, Some(_)) => None,
        (Some(_), Some(_)) | (None, None) => {
            fault("decision_id", "name a decision_id or a unit, one of the two");
            None
        }
    };
    // Without the time of receipt, which the journal keeps beside it: a retry must be the same bytes.
    let body = serde_json::to_vec(&outcome).unwrap_or_default();
    if body.is_empty() {
        fault("", "the outcome cannot be written as JSON");
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(NewOutcome { id: outcome.id, decision, unit: outcome.unit, body })
}

/// Another node's decisions are not known here; of its own a node knows all that it keeps.
fn unknown_decision(
    core: &crate::core::Core,
    outcome: &NewOutcome,
) -> Result<Option<Fault>, RuntimeError> {
    let Some(id) = outcome.decision else { return Ok(None) };
    let journal = &core.recording.journal;
    if id.node() != core.options.node_id || journal.contains(id)? {
        return Ok(None);
    }
    let message = format!("there is no decision {id}");
    Ok(Some(Fault::new(Code::DecisionNotFound, "decision_id", message)))
}
