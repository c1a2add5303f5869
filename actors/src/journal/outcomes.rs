//! Outcomes on their way into the journal.

use std::sync::atomic::Ordering;

use super::core::Core;
use super::frame::KIND_OUTCOME;
use super::head::OutcomeHead;
use super::index::OutcomeRow;
use super::{JournalError, NewOutcome, OutcomeState, content_hash};

/// The longest body of an outcome.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The longest id of an outcome.
const ID_BYTES_MAX: usize = 256;
/// Most outcomes of one call.
const BATCH_MAX: usize = 10_000;

impl Core {
    /// Writes those outcomes that are new. They are durable once everything written is synced.
    pub fn append_outcomes(
        &self,
        outcomes: &[NewOutcome],
    ) -> Result<Vec<OutcomeState>, JournalError> {
        let too_large = |what, bytes, limit| Err(JournalError::TooLarge { what, bytes, limit });
        if outcomes.len() > BATCH_MAX {
            return too_large("a batch of outcomes", outcomes.len(), BATCH_MAX);
        }
        for outcome in outcomes {
            if outcome.body.len() > BODY_BYTES_MAX {
                return too_large("an outcome", outcome.body.len(), BODY_BYTES_MAX);
            }
            if outcome.id.len() > ID_BYTES_MAX {
                return too_large("the id of an outcome", outcome.id.len(), ID_BYTES_MAX);
            }
        }
        let _turn = self.outcome_turn.lock();
        outcomes.iter().map(|outcome| self.append_outcome(outcome)).collect()
    }

    fn append_outcome(&self, outcome: &NewOutcome) -> Result<OutcomeState, JournalError> {
        let body = content_hash(&outcome.body);
        match self.find_outcome(&outcome.id)? {
            Some(known) if known == body => return Ok(OutcomeState::Repeated),
            Some(_) => return Ok(OutcomeState::Conflict),
            None => {}
        }
        let target = match (outcome.decision, &outcome.unit) {
            (Some(decision), _) => decision.0,
            (None, Some(unit)) => self.keys.unit_hash(unit),
            (None, None) => 0,
        };
        let received_ms = self.now().0;
        let head = OutcomeHead { id: outcome.id.clone(), target, received_ms };
        let id = content_hash(outcome.id.as_bytes());
        self.write(
            KIND_OUTCOME,
            &head,
            |buffer| buffer.extend_from_slice(&outcome.body),
            |index, offset| {
                index.push_outcome(OutcomeRow { id, body, target, offset }, received_ms);
            },
        )?;
        self.counts.outcomes.fetch_add(1, Ordering::Relaxed);
        Ok(OutcomeState::Recorded)
    }
}
