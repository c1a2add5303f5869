//! What a search reads of a segment: one row a record, flows and reasons by number.

use std::collections::HashMap;

use verdict_config::TimestampMs;
use verdict_config::definition::Outcome;

use super::query::{Hit, SearchQuery};
use super::{DecisionId, head::RecordHead};

/// Stands for a name when a segment has more of them than numbers.
const UNLISTED: u16 = u16::MAX;
/// Reasons of one record that are searchable.
const REASONS_MAX: usize = 256;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub id: u128,
    pub at_ms: i64,
    /// Hash of flow and request id; 0 if it had none.
    pub request: u128,
    /// Hash of the request's body.
    pub body: u128,
    pub offset: u32,
    pub reasons_start: u32,
    pub flow: u16,
    pub reasons: u16,
    pub outcome: u8,
    pub test: bool,
}

/// Rows in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    pub rows: Vec<Row>,
    /// Numbers of reasons, one run a row.
    pub reasons: Vec<u16>,
    /// Flows and reasons by number.
    pub names: Vec<String>,
}

/// Numbers of names while a segment is written.
#[derive(Debug, Default)]
pub struct Numbers(HashMap<String, u16>);

impl Columns {
    /// Adds a record's row.
    pub fn push(&mut self, numbers: &mut Numbers, head: &RecordHead, offset: u32) {
        let reasons_start = u32::try_from(self.reasons.len()).unwrap_or(u32::MAX);
        let flow = self.number(numbers, &head.flow);
        for reason in head.reasons.iter().take(REASONS_MAX) {
            let number = self.number(numbers, reason);
            self.reasons.push(number);
        }
        let (request, body) = head.request.unwrap_or_default();
        self.rows.push(Row {
            id: head.id,
            at_ms: head.at_ms,
            request,
            body,
            offset,
            reasons_start,
            flow,
            reasons: u16::try_from(head.reasons.len().min(REASONS_MAX)).unwrap_or(0),
            outcome: outcome_number(head.outcome),
            test: head.test,
        });
    }

    fn number(&mut self, numbers: &mut Numbers, name: &str) -> u16 {
        if let Some(number) = numbers.0.get(name) {
            return *number;
        }
        let number = u16::try_from(self.names.len()).unwrap_or(UNLISTED);
        if number < UNLISTED {
            self.names.push(name.to_owned());
            numbers.0.insert(name.to_owned(), number);
        }
        number
    }

    fn number_of(&self, name: &str) -> Option<u16> {
        let place = self.names.iter().position(|known| known == name)?;
        u16::try_from(place).ok()
    }

    fn name(&self, number: u16) -> String {
        self.names.get(usize::from(number)).cloned().unwrap_or_default()
    }

    fn reasons_of(&self, row: &Row) -> &[u16] {
        let start = row.reasons_start as usize;
        self.reasons.get(start..start + usize::from(row.reasons)).unwrap_or_default()
    }

    /// Looks at rows from `before` downwards, as long as `budget` lasts and hits are wanted; gives
    /// the row it ended before.
    pub fn search(
        &self,
        query: &SearchQuery,
        before: usize,
        wanted: usize,
        budget: &mut usize,
        hits: &mut Vec<Hit>,
    ) -> usize {
        let flow = query.flow.as_deref().map(|flow| self.number_of(flow));
        let reason = query.reason.as_deref().map(|reason| self.number_of(reason));
        if flow == Some(None) || reason == Some(None) {
            return 0;
        }
        let (flow, reason) = (flow.flatten(), reason.flatten());
        let mut at = before.min(self.rows.len());
        while at > 0 && *budget > 0 && hits.len() < wanted {
            at -= 1;
            *budget -= 1;
            let row = &self.rows[at];
            let fits = flow.is_none_or(|flow| row.flow == flow)
                && query.outcome.is_none_or(|outcome| row.outcome == outcome_number(outcome))
                && query.since.is_none_or(|since| row.at_ms >= since.0)
                && query.until.is_none_or(|until| row.at_ms < until.0)
                && (query.include_test || !row.test)
                && reason.is_none_or(|reason| self.reasons_of(row).contains(&reason));
            if fits {
                hits.push(self.hit(row));
            }
        }
        at
    }

    fn hit(&self, row: &Row) -> Hit {
        Hit {
            id: DecisionId(row.id),
            at: TimestampMs(row.at_ms),
            flow: self.name(row.flow),
            outcome: outcome_of(row.outcome),
            reasons: self.reasons_of(row).iter().map(|number| self.name(*number)).collect(),
            test: row.test,
        }
    }
}

fn outcome_number(outcome: Outcome) -> u8 {
    let place = Outcome::ALL.iter().position(|known| *known == outcome);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

fn outcome_of(number: u8) -> Outcome {
    Outcome::ALL.get(usize::from(number)).copied().unwrap_or(Outcome::Review)
}
