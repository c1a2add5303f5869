//! `/v1/watch`: every change set from a revision on, once and in order: as server-sent events that can
//! be resumed, or asked for again and again (long poll).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::ToSchema;
use verdict_config::Code;
use verdict_config::settings::Role;
use verdict_consensus::{Catalogue, ChangeSummary};

use super::changes::refusal;
use super::decisions::problem_of;
use super::keys::Caller;
use super::problem::{Answer, Problem};
use super::query::Query;
use super::{REVISION_WAIT, Services, Shared, WATCHERS_MAX, caller_of, json, revision_of};

/// Change sets read from the history at once.
const PAGE: usize = 64;
/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The longest time that a long poll waits for a change.
const POLL_MS_MAX: u64 = 60_000;

/// What changed, as a long poll tells it.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PolledChanges {
    /// The changes, oldest first; empty if none came in time.
    #[schema(value_type = Vec<Object>)]
    changes: Vec<ChangeSummary>,
    /// `from` of the next poll.
    next: u64,
}

/// Watches the catalogue: `id: N`, `event: change`, `data` as in the answer of `/v1/history`.
#[utoipa::path(
    get, path = "/v1/watch", tag = "Changing", operation_id = "watch",
    params(
        ("Last-Event-ID" = Option<u64>, Header,
         description = "The revision that was seen last, as a stream that continues sends it."),
        ("from" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991_u64,
         description = "Changes after this revision; `Last-Event-ID` goes before it. From now on, if absent."),
        ("poll_ms" = Option<u64>, Query, minimum = 0, maximum = 60000,
         description = "A long poll in place of a stream: what there is, or what comes within so long (half of the node's time for a request, at most)."),
    ),
    responses(
        (status = 200, description = "A stream of changes that does not end, or the changes of a poll.",
         content((String = "text/event-stream"), (PolledChanges = "application/json"))),
    )
)]
pub(super) async fn get(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Viewer)?;
    let mut query = Query::read(request.uri(), &["from", "poll_ms"]);
    let from = query.number("from", 0, u64::MAX >> 11);
    let poll_ms = query.number("poll_ms", 0, POLL_MS_MAX);
    query.finish()?;
    let resumed = request.headers().get("last-event-id");
    let resumed = resumed.map(|id| revision_of("Last-Event-ID", id)).transpose()?;
    let catalogues = services.runtime.log().watch();
    if let Some(seen) = resumed.or(from) {
        catch_up(&services, seen).await?;
    }
    let catalogue = Arc::clone(&catalogues.borrow());
    let from = resumed.or(from).unwrap_or(catalogue.revision());
    if let Err(oldest) = catalogue.changes_since(from, 1) {
        let detail =
            format!("The history reaches back to revision {oldest}; read anew from there.");
        return Err(Problem::new(Code::RevisionNotRetained, detail));
    }
    let slot = Arc::clone(&services.watchers).try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, format!("{WATCHERS_MAX} watchers are connected."))
    })?;
    let watcher =
        Watcher { seen: from, waiting: VecDeque::new(), catalogues, services, caller, _slot: slot };
    if let Some(poll_ms) = poll_ms {
        return poll(watcher, poll_ms).await;
    }
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events(watcher)).keep_alive(keep_alive).into_response())
}

/// Makes sure that a watcher misses nothing behind the revision that it has seen: another cluster may
/// have made that revision, and this node may be behind the one that the watcher saw it at.
async fn catch_up(services: &Services, seen: u64) -> Answer<()> {
    let catalogue = services.runtime.log().catalogue();
    catalogue.check_made(seen).map_err(|refused| refusal(&refused))?;
    if catalogue.revision() < seen {
        let reached = services.runtime.wait_for_revision(seen, REVISION_WAIT).await;
        reached.map_err(|error| problem_of(&error))?;
    }
    Ok(())
}

/// What there is for a watcher, or what comes within a time.
async fn poll(mut watcher: Watcher, poll_ms: u64) -> Answer<Response<Body>> {
    let wait_ms = poll_ms.min(watcher.services.http.request_timeout_ms / 2);
    let first = tokio::time::timeout(Duration::from_millis(wait_ms), watcher.next()).await;
    let mut changes: Vec<ChangeSummary> = first.ok().flatten().into_iter().collect();
    changes.extend(watcher.waiting.drain(..));
    let next = changes.last().map_or(watcher.seen, |change| change.revision);
    json(&PolledChanges { changes, next })
}

/// One watcher: what it has been told, and what comes next.
struct Watcher {
    seen: u64,
    waiting: VecDeque<ChangeSummary>,
    catalogues: watch::Receiver<Arc<Catalogue>>,
    services: Arc<Services>,
    caller: Caller,
    _slot: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next change set; `None` ends the stream: the node drains, the key is no longer accepted, or
    /// the watcher is so slow that the history no longer reaches back to it (it comes again and is
    /// told so).
    async fn next(&mut self) -> Option<ChangeSummary> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                self.seen = change.revision;
                return Some(change);
            }
            let catalogue = Arc::clone(&self.catalogues.borrow_and_update());
            if !self.services.keys.still_accepts(&self.caller) {
                return None;
            }
            if catalogue.revision() > self.seen {
                self.waiting = catalogue.changes_since(self.seen, PAGE).ok()?.into();
                if !self.waiting.is_empty() {
                    continue;
                }
            }
            tokio::select! {
                () = self.services.draining.cancelled() => return None,
                changed = self.catalogues.changed() => changed.ok()?,
            }
        }
    }
}

fn events(watcher: Watcher) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(watcher, |mut watcher| async move {
        let change = watcher.next().await?;
        let data = serde_json::to_string(&change).ok()?;
        let event = Event::default().id(change.revision.to_string()).event("change").data(data);
        Some((Ok(event), watcher))
    })
}
