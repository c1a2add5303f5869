//! The index of the segment that is written: in memory, built record by record.

use std::collections::HashMap;

use super::columns::{Columns, Numbers};
use super::frame::{KIND_OUTCOME, KIND_RECORD};
use super::head::{OutcomeHead, RecordHead, read_head};

/// One outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeRow {
    /// Hash of the client's id.
    pub id: u128,
    /// Hash of the body.
    pub body: u128,
    /// The decision's id or the unit's hash.
    pub target: u128,
    pub offset: u32,
}

/// Times that a segment's records span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When requests came in.
    pub at_min: i64,
    pub at_max: i64,
    /// What ids say.
    pub id_min: i64,
    pub id_max: i64,
}

impl Default for Span {
    fn default() -> Self {
        Self { at_min: i64::MAX, at_max: i64::MIN, id_min: i64::MAX, id_max: i64::MIN }
    }
}

impl Span {
    fn widen(&mut self, at: i64, id: Option<i64>) {
        self.at_min = self.at_min.min(at);
        self.at_max = self.at_max.max(at);
        if let Some(id) = id {
            self.id_min = self.id_min.min(id);
            self.id_max = self.id_max.max(id);
        }
    }
}

/// An index in memory.
#[derive(Debug, Default)]
pub struct Index {
    pub columns: Columns,
    pub outcomes: Vec<OutcomeRow>,
    pub span: Span,
    numbers: Numbers,
    ids: HashMap<u128, u32>,
    requests: HashMap<u128, u32>,
    outcome_ids: HashMap<u128, u32>,
    targets: HashMap<u128, Vec<u32>>,
}

fn place(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Index {
    /// Adds a record.
    pub fn push_record(&mut self, head: &RecordHead, offset: u32) {
        let row = place(self.columns.rows.len());
        self.ids.insert(head.id, row);
        if let Some((request, _)) = head.request {
            self.requests.insert(request, row);
        }
        self.span.widen(head.at_ms, Some(super::DecisionId(head.id).at().0));
        self.columns.push(&mut self.numbers, head, offset);
    }

    /// Adds an outcome.
    pub fn push_outcome(&mut self, row: OutcomeRow, at_ms: i64) {
        let number = place(self.outcomes.len());
        self.outcome_ids.entry(row.id).or_insert(number);
        self.targets.entry(row.target).or_default().push(number);
        self.span.widen(at_ms, None);
        self.outcomes.push(row);
    }

    /// Adds a frame that was read; what it held, or why it is unreadable.
    pub fn push_frame(
        &mut self,
        kind: u8,
        payload: &[u8],
        offset: u32,
    ) -> Result<Option<RecordHead>, String> {
        match kind {
            KIND_RECORD => {
                let (head, _) = read_head::<RecordHead>(payload)?;
                self.push_record(&head, offset);
                Ok(Some(head))
            }
            KIND_OUTCOME => {
                let (head, body) = read_head::<OutcomeHead>(payload)?;
                let (id, body) =
                    (super::content_hash(head.id.as_bytes()), super::content_hash(body));
                let row = OutcomeRow { id, body, target: head.target, offset };
                self.push_outcome(row, head.received_ms);
                Ok(None)
            }
            // Kinds of newer programs are passed over.
            _ => Ok(None),
        }
    }

    /// The row of an id.
    pub fn find_id(&self, id: u128) -> Option<usize> {
        self.ids.get(&id).map(|row| *row as usize)
    }

    /// The newest row of a request.
    pub fn find_request(&self, request: u128) -> Option<usize> {
        self.requests.get(&request).map(|row| *row as usize)
    }

    /// An outcome by the hash of its id.
    pub fn find_outcome(&self, id: u128) -> Option<OutcomeRow> {
        self.outcomes.get(*self.outcome_ids.get(&id)? as usize).copied()
    }

    /// Offsets of the outcomes of a target.
    pub fn outcomes_of(&self, target: u128) -> Vec<u32> {
        let rows = self.targets.get(&target).map(Vec::as_slice).unwrap_or_default();
        rows.iter().filter_map(|row| self.outcomes.get(*row as usize)).map(|o| o.offset).collect()
    }
}
