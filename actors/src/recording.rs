//! Between decisions and the journal: what a record is made of, and what comes back.

use std::sync::Arc;

use verdict_config::Value;
use verdict_config::definition::RecordMode;
use verdict_decisions::{Decided, DecisionRecord, OpenRecord, Session, WindowEvent, WindowQuery};
use verdict_rules::WindowRead;

use crate::decide::Answer;
use crate::error::RuntimeError;
use crate::journal::{
    DecisionId, Journal, JournalError, NewRecord, NewWindowEvent, RequestGuard, Reservation,
    Sensitive, SeriesId, StoredRecord,
};

/// The journal as the decision path sees it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Recording {
    pub journal: Journal,
}

/// The series that a request read, each with its window.
pub(crate) type ReadSeries = Vec<(Arc<WindowRead>, SeriesId)>;

/// What a node adds to a decision before it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealing {
    /// Microseconds since the request came in.
    pub took_us: u64,
    /// Whether the node may have missed newer changes.
    pub stale: bool,
    /// How durable the record is before the answer.
    pub mode: RecordMode,
}

/// Where a record comes from.
#[derive(Default)]
pub(crate) struct Origin {
    /// The request's id, if it has one.
    pub request: Option<RequestGuard>,
    /// The windows that were read for it.
    pub series: ReadSeries,
}

/// Whether a request id is this request's to decide.
pub(crate) enum Turn {
    /// It is: the guard goes with the record.
    Mine(RequestGuard),
    /// It was decided before.
    Known(Box<Answer>),
}

impl Recording {
    /// Waits for the request id's turn: of concurrent requests with one id, one decides.
    pub(crate) async fn turn(
        &self,
        flow: &str,
        request_id: &str,
        body_sha256: &[u8; 32],
    ) -> Result<Turn, RuntimeError> {
        loop {
            match self.journal.reserve(flow, request_id, body_sha256)? {
                Reservation::New(guard) => return Ok(Turn::Mine(guard)),
                Reservation::Known { same_body: false, .. }
                | Reservation::InFlight { same_body: false, .. } => {
                    return Err(RuntimeError::RequestIdConflict(request_id.to_owned()));
                }
                Reservation::Known { id, same_body: true } => {
                    // The first request may be waiting for the disk still: a retry tells no more
                    // than it does.
                    self.journal.settled().await?;
                    return self.first_answer(id).map(|answer| Turn::Known(Box::new(answer)));
                }
                Reservation::InFlight { same_body: true, mut ended } => {
                    // An error says that the other request has ended, as a change does.
                    drop(ended.changed().await);
                }
            }
        }
    }

    fn first_answer(&self, id: DecisionId) -> Result<Answer, RuntimeError> {
        let missing = || RuntimeError::DecisionNotFound(id.to_string());
        let stored = self.journal.get(id)?.ok_or_else(missing)?;
        let open = OpenRecord::decode(&stored.open).map_err(record_error)?;
        Ok(Answer {
            decision_id: open.decision_id,
            revision: open.revision,
            outcome: open.outcome,
            json: open.answer,
            repeated: true,
        })
    }

    /// The values of a session's windows, in the order of its queries, and which series gave them.
    pub(crate) fn windows(&self, session: &Session) -> (Vec<Option<Value>>, ReadSeries) {
        let (flow, as_of) = (session.flow().name(), session.as_of());
        let read = |query: &WindowQuery| {
            let series = self.journal.series(flow, &query.read, &query.key);
            let reading = self.journal.read_series(series, &query.read, as_of);
            let value = reading.and_then(|reading| reading.value.ok());
            (value, (Arc::clone(&query.read), series))
        };
        session.window_queries().iter().map(read).unzip()
    }

    /// The series that an event belongs to: most were read for the same request.
    fn series_of(&self, flow: &str, event: &WindowEvent, read: &ReadSeries) -> SeriesId {
        let known = read.iter().find(|(read, _)| Arc::ptr_eq(read, &event.read));
        match known {
            Some((_, series)) => *series,
            None => self.journal.series(flow, &event.read, &event.key),
        }
    }

    /// Writes a decision's record and counts its window events, once. Returns when the record is as
    /// durable as the flow wants it before the answer.
    pub(crate) async fn append(
        &self,
        id: DecisionId,
        mut decided: Decided,
        origin: Origin,
        Sealing { took_us, stale, mode }: Sealing,
    ) -> Result<Answer, RuntimeError> {
        let Origin { request, series } = origin;
        let unit = decided.unit.take();
        let window_events = std::mem::take(&mut decided.window_events);
        let sealed = decided.seal(took_us, stale).map_err(record_error)?;
        let open = sealed.record.encode_open().map_err(record_error)?;
        let sensitive = sealed.record.encode_sensitive().map_err(record_error)?;
        let flow = &sealed.record.open.flow;
        let events: Vec<NewWindowEvent<'_>> = window_events
            .iter()
            .map(|event| NewWindowEvent {
                read: &event.read,
                series: self.series_of(flow, event, &series),
                value: event.value.as_ref(),
                at: event.at,
            })
            .collect();
        let record = &sealed.record.open;
        let appended = self.journal.append(NewRecord {
            id,
            at: record.received_at,
            flow: &record.flow,
            outcome: record.outcome,
            reasons: &record.reasons,
            test: record.test,
            request,
            unit: unit.as_deref(),
            open: &open,
            sensitive: sensitive.as_deref(),
            window_events: &events,
        })?;
        if mode == RecordMode::Durable {
            self.journal.synced(appended).await?;
        }
        Ok(Answer {
            decision_id: Arc::clone(&record.decision_id),
            revision: record.revision,
            outcome: record.outcome,
            json: sealed.answer,
            repeated: false,
        })
    }

    /// A record by its id. Blocking.
    pub(crate) fn read(&self, text: &str) -> Result<(StoredRecord, DecisionRecord), RuntimeError> {
        let missing = || RuntimeError::DecisionNotFound(text.chars().take(64).collect());
        let id: DecisionId = text.parse().map_err(|_| missing())?;
        let stored = self.journal.get(id)?.ok_or_else(missing)?;
        let sensitive = match &stored.sensitive {
            Sensitive::Plain(bytes) => Some(bytes.as_slice()),
            Sensitive::None | Sensitive::Erased => None,
        };
        let record = DecisionRecord::decode(&stored.open, sensitive).map_err(record_error)?;
        Ok((stored, record))
    }
}

fn record_error(error: verdict_decisions::RecordError) -> RuntimeError {
    RuntimeError::Journal {
        code: error.code(),
        detail: error.to_string(),
        retryable: error.is_retryable(),
    }
}

impl From<JournalError> for RuntimeError {
    fn from(error: JournalError) -> Self {
        let (code, retryable) = (error.code(), error.is_retryable());
        match error {
            JournalError::Overloaded => Self::Overloaded("the journal's disk"),
            JournalError::Closed => Self::Draining,
            _ => Self::Journal { code, detail: error.to_string(), retryable },
        }
    }
}
