//! The thread that keeps house: seals full segments, writes checkpoints of windows, drops what is
//! too old or too much. Nothing waits for it, and what it fails to do it does at the next start.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::JournalError;
use super::core::{Core, DAY_MS};
use super::segment::{Body, Segment};
use super::sidecar::{self, Sidecar};

/// How often age is looked at when nothing else happens.
const ROUND: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Work {
    /// Full segments; as many as are written while one is sealed.
    full: VecDeque<Arc<Segment>>,
    closing: bool,
}

/// What the keeper has to do.
#[derive(Debug, Default)]
pub struct Keeper {
    work: Mutex<Work>,
    wake: Condvar,
}

impl Keeper {
    /// Hands over a full segment.
    pub fn seal(&self, segment: Arc<Segment>) {
        self.work.lock().full.push_back(segment);
        self.wake.notify_one();
    }

    /// Lets the thread end once its work is done.
    pub fn close(&self) {
        self.work.lock().closing = true;
        self.wake.notify_one();
    }

    /// The next full segment; `None` in it when only time has passed, `None` at the end.
    fn next(&self) -> Option<Option<Arc<Segment>>> {
        let mut work = self.work.lock();
        if let Some(segment) = work.full.pop_front() {
            return Some(Some(segment));
        }
        if work.closing {
            return None;
        }
        self.wake.wait_for(&mut work, ROUND);
        match work.full.pop_front() {
            Some(segment) => Some(Some(segment)),
            None if work.closing => None,
            None => Some(None),
        }
    }
}

impl Core {
    /// Hands over segments that the last process left unsealed.
    pub fn seal_left_over(&self) {
        let segments = self.segments.read();
        let Some((_, full)) = segments.split_last() else { return };
        for segment in full.iter().filter(|s| matches!(&*s.body.read(), Body::Live(_))) {
            self.keeper.seal(Arc::clone(segment));
        }
    }

    /// The keeper's thread.
    pub fn keep(&self) {
        while let Some(full) = self.keeper.next() {
            let kept =
                full.map_or(Ok(()), |segment| self.seal(&segment)).and_then(|()| self.retain());
            if let Err(error) = kept {
                tracing::warn!(code = %error.code(), %error, "housekeeping of the journal");
            }
        }
    }

    fn seal(&self, segment: &Segment) -> Result<(), JournalError> {
        // Retention may have been faster.
        if !self.segments.read().iter().any(|kept| kept.number == segment.number) {
            return Ok(());
        }
        let bytes = segment.length();
        if let Body::Live(index) = &*segment.body.read() {
            sidecar::write(&self.folder, segment.number, bytes, index)?;
        }
        if let Some(sidecar) = Sidecar::open(&self.folder, segment.number, bytes) {
            *segment.body.write() = Body::Sealed(sidecar);
        }
        self.windows.finish_checkpoint(&self.folder)
    }

    /// Drops the oldest segments while there are too many bytes, or all of their records are too
    /// old. The one that is written stays.
    pub fn retain(&self) -> Result<(), JournalError> {
        let may_expire = (self.may_expire)();
        let oldest_kept =
            self.now().0.saturating_sub(i64::from(self.options.days_max).saturating_mul(DAY_MS));
        let mut dropped = Vec::new();
        {
            let mut segments = self.segments.write();
            let mut bytes: u64 = segments.iter().map(|segment| segment.length()).sum();
            while segments.len() > 1 {
                let oldest = &segments[0];
                let span = oldest.span();
                let too_old = may_expire && span.at_max < oldest_kept;
                if bytes <= self.options.bytes_max && !too_old {
                    break;
                }
                bytes -= oldest.length();
                dropped.push(segments.remove(0));
            }
        }
        if dropped.is_empty() {
            return Ok(());
        }
        for segment in &dropped {
            let numbers = |(number, _): &(u64, _)| *number != segment.number;
            self.columns.lock().retain(numbers);
            std::fs::remove_file(&segment.path)
                .map_err(|error| JournalError::io(&segment.path, &error))?;
            let _ = std::fs::remove_file(self.folder.join(sidecar::name(segment.number)));
        }
        self.counts.segments_dropped.fetch_add(dropped.len() as u64, Ordering::Relaxed);
        let oldest = self.segments.read().first().map_or(0, |segment| segment.number);
        self.keys.collect(oldest)
    }
}
