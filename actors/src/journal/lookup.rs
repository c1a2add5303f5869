//! Reads: by id, by request, by search, outcomes.

use std::sync::Arc;

use verdict_config::TimestampMs;

use super::columns::Columns;
use super::core::Core;
use super::frame::{KIND_OUTCOME, KIND_RECORD};
use super::head::{OutcomeHead, RecordHead, read_head, split_part};
use super::keys::Found;
use super::query::{Page, SearchQuery};
use super::requests::RequestGuard;
use super::segment::{Body, Segment};
use super::{
    DecisionId, JournalError, Reservation, Sensitive, StoredOutcome, StoredRecord, content_hash,
};

const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1_000;
/// Outcomes of one target that are read.
const OUTCOMES_MAX: usize = 1_000;
/// Segments whose columns stay in memory for the next search.
const COLUMNS_KEPT: usize = 4;
const HOUR_MS: i64 = 3_600_000;

impl Core {
    /// A record by its id.
    pub fn get(&self, id: DecisionId) -> Result<Option<StoredRecord>, JournalError> {
        for segment in self.newest_first() {
            if let Some(row) = segment.find_id(id)? {
                let payload = segment.payload(row.offset, KIND_RECORD)?;
                return self.stored(&segment, id, u64::from(row.offset), &payload).map(Some);
            }
        }
        Ok(None)
    }

    fn stored(
        &self,
        segment: &Segment,
        id: DecisionId,
        offset: u64,
        payload: &[u8],
    ) -> Result<StoredRecord, JournalError> {
        let damaged = |detail: &str| JournalError::damaged(&segment.path, offset, detail);
        let (head, rest) = read_head::<RecordHead>(payload).map_err(|detail| damaged(&detail))?;
        if head.id != id.0 {
            return Err(damaged("another record stands there"));
        }
        let (open, sealed) = split_part(rest).ok_or_else(|| damaged("the open part is cut off"))?;
        let sensitive = match &head.key {
            None => Sensitive::None,
            Some(reference) => match self.keys.find(reference)? {
                Found::Erased => Sensitive::Erased,
                Found::Damaged => return Err(damaged("the key of its unit cannot be read")),
                Found::Key(key) => key
                    .open(sealed, &id.0.to_le_bytes())
                    .map(Sensitive::Plain)
                    .ok_or_else(|| damaged("the sensitive part does not open with its key"))?,
            },
        };
        Ok(StoredRecord {
            id,
            at: TimestampMs(head.at_ms),
            flow: head.flow,
            outcome: head.outcome,
            test: head.test,
            open: open.to_vec(),
            sensitive,
        })
    }

    /// Whether a record is there.
    pub fn contains(&self, id: DecisionId) -> Result<bool, JournalError> {
        for segment in self.newest_first() {
            if segment.find_id(id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a request, or says who has it. Bodies are told apart by a hash under a key of the
    /// node; records of older programs have a plain one, and answer their retries as well.
    pub fn reserve(
        &self,
        request: u128,
        body_sha256: &[u8; 32],
    ) -> Result<Reservation, JournalError> {
        let body = self.keys.hash(b"request body", &[body_sha256]);
        // The shard stays locked over the lookup: whoever ends a request has entered it in an index
        // before.
        let mut shard = self.in_flight.shard(request);
        if let Some(pending) = shard.get(&request) {
            let same_body = pending.body == body;
            return Ok(Reservation::InFlight { same_body, ended: pending.ended() });
        }
        if let Some((id, known)) = self.find_request(request)? {
            let same_body = known == body || known == content_hash(body_sha256);
            return Ok(Reservation::Known { id, same_body });
        }
        Ok(Reservation::New(RequestGuard::take(&self.in_flight, &mut shard, request, body)))
    }

    fn find_request(&self, request: u128) -> Result<Option<(DecisionId, u128)>, JournalError> {
        let hours = i64::from(self.options.request_hours);
        let since = self.now().0.saturating_sub(hours.saturating_mul(HOUR_MS));
        for segment in self.segments.read().iter().rev() {
            if segment.span().at_max < since {
                continue;
            }
            if let Some(row) = segment.find_request(request)?.filter(|row| row.at_ms >= since) {
                return Ok(Some((DecisionId(row.id), row.body)));
            }
        }
        Ok(None)
    }

    /// A page of a search.
    pub fn search(&self, query: &SearchQuery) -> Result<Page, JournalError> {
        let wanted = if query.limit == 0 { PAGE_DEFAULT } else { query.limit.min(PAGE_MAX) };
        let (from, mut before) = match query.cursor.as_deref() {
            None => (u64::MAX, usize::MAX),
            Some(cursor) => read_cursor(cursor).ok_or(JournalError::Cursor)?,
        };
        let mut page = Page::default();
        let mut budget = self.options.search_rows_max;
        let segments = self.newest_first();
        for segment in segments.iter().filter(|segment| segment.number <= from) {
            if segment.number != from {
                before = usize::MAX;
            }
            let span = segment.span();
            let outside = query.since.is_some_and(|since| span.at_max < since.0)
                || query.until.is_some_and(|until| span.at_min >= until.0);
            if outside {
                continue;
            }
            let ended = match self.columns_of(segment)? {
                Some(columns) => columns.search(query, before, wanted, &mut budget, &mut page.hits),
                None => match &*segment.body.read() {
                    Body::Live(index) => {
                        index.columns.search(query, before, wanted, &mut budget, &mut page.hits)
                    }
                    Body::Sealed(_) => 0,
                },
            };
            if page.hits.len() == wanted || budget == 0 {
                let is_last =
                    ended == 0 && segments.last().is_some_and(|s| s.number == segment.number);
                page.next = (!is_last).then(|| format!("{}.{ended}", segment.number));
                break;
            }
        }
        Ok(page)
    }

    /// The columns of a sealed segment; `None` for one in memory.
    fn columns_of(&self, segment: &Segment) -> Result<Option<Arc<Columns>>, JournalError> {
        let body = segment.body.read();
        let Body::Sealed(sidecar) = &*body else { return Ok(None) };
        let mut kept = self.columns.lock();
        if let Some(at) = kept.iter().position(|(number, _)| *number == segment.number) {
            let found = kept.remove(at);
            let columns = Arc::clone(&found.1);
            kept.push(found);
            return Ok(Some(columns));
        }
        drop(kept);
        let columns = Arc::new(sidecar.columns()?);
        let mut kept = self.columns.lock();
        if kept.len() >= COLUMNS_KEPT {
            kept.remove(0);
        }
        kept.push((segment.number, Arc::clone(&columns)));
        Ok(Some(columns))
    }

    /// The outcomes of a target, oldest first.
    pub fn outcomes_of(&self, target: u128) -> Result<Vec<StoredOutcome>, JournalError> {
        let mut outcomes = Vec::new();
        for segment in self.newest_first().into_iter().rev() {
            let left = OUTCOMES_MAX.saturating_sub(outcomes.len());
            for offset in segment.outcomes_of(target, left)?.into_iter().take(left) {
                let payload = segment.payload(offset, KIND_OUTCOME)?;
                let (head, body) = read_head::<OutcomeHead>(&payload).map_err(|detail| {
                    JournalError::damaged(&segment.path, offset.into(), detail)
                })?;
                outcomes.push(StoredOutcome {
                    id: head.id,
                    body: body.to_vec(),
                    received_at: TimestampMs(head.received_ms),
                });
            }
        }
        Ok(outcomes)
    }

    /// An outcome by its client's id: the hash of its body.
    pub fn find_outcome(&self, id: &str) -> Result<Option<u128>, JournalError> {
        let id = content_hash(id.as_bytes());
        for segment in self.newest_first() {
            if let Some(row) = segment.find_outcome(id)? {
                return Ok(Some(row.body));
            }
        }
        Ok(None)
    }
}

fn read_cursor(text: &str) -> Option<(u64, usize)> {
    let (segment, row) = text.split_once('.')?;
    let place: (u64, usize) = (segment.parse().ok()?, row.parse().ok()?);
    // Only what a page gave: no sign, no zeros before a number.
    (format!("{}.{}", place.0, place.1) == text).then_some(place)
}
