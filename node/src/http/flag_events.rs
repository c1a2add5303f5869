//! `/ofrep/v1/events`: tells clients of OFREP when to ask for all flags again.
//!
//! A bulk answer names the stream's address (`eventStreams`). The stream says that flags changed,
//! never how: what they are depends on the client's context.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, Uri, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::ToSchema;
use verdict_actors::serving::ServingState;
use verdict_config::Code;
use verdict_config::flags::ofrep;
use verdict_config::settings::Role;

use super::keys::Caller;
use super::problem::{Answer, Problem};
use super::query::Query;
use super::{FLAG_STREAMS_MAX, Services, Shared, caller_of, now};

/// The path of the stream.
const PATH: &str = "/ofrep/v1/events";
const TOKEN: &str = "token";
/// Seconds after which a client that nobody looks at may leave.
const INACTIVITY_S: u32 = 120;
/// A client may have asked for the flags this long before it opens the stream.
const RECENT_MS: i64 = 60_000;
/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A stream that tells when flags changed.
#[derive(Serialize, ToSchema)]
pub(super) struct EventStream {
    /// `sse`.
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: String,
    /// Where it is.
    endpoint: EventStreamEndpoint,
    /// Seconds after which a client that nobody looks at may leave.
    #[serde(rename = "inactivityDelaySec")]
    #[schema(rename = "inactivityDelaySec")]
    inactivity_delay_sec: u32,
}

/// An address on the origin that the client asks already.
#[derive(Serialize, ToSchema)]
pub(super) struct EventStreamEndpoint {
    /// Path and query. The query lets in, and is not to be kept.
    #[serde(rename = "requestUri")]
    #[schema(rename = "requestUri")]
    request_uri: String,
}

/// The streams of a caller, as bulk answers name them.
pub(super) fn streams(caller: &Caller) -> serde_json::Value {
    let request_uri = match caller.stream_token(now()) {
        Some(token) => format!("{PATH}?{TOKEN}={token}"),
        None => PATH.to_owned(),
    };
    let stream = EventStream {
        kind: "sse".to_owned(),
        endpoint: EventStreamEndpoint { request_uri },
        inactivity_delay_sec: INACTIVITY_S,
    };
    json!([stream])
}

/// The token in an address. It is plain hexadecimal, so that nothing needs decoding.
pub(super) fn token_of(uri: &Uri) -> Option<&str> {
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == TOKEN).map(|(_, token)| token)
}

/// Tells when flags changed: `event: message`, `data: {"type":"refetchEvaluation",...}`.
#[utoipa::path(
    get, path = "/ofrep/v1/events", tag = "Flags", operation_id = "flag_events",
    params(
        ("token" = Option<String>, Query,
         description = "Lets in without a header; as an answer's `eventStreams` has it."),
        ("Last-Event-ID" = Option<String>, Header,
         description = "The event that was seen last; what changed since is told at once."),
    ),
    responses(
        (status = 200, description = "A stream of events that does not end.",
         content_type = "text/event-stream", body = String),
    )
)]
pub(super) async fn get(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Decider)?;
    let query = Query::read(request.uri(), &[TOKEN]);
    query.finish()?;
    let slot = Arc::clone(&services.flag_streams).try_acquire_owned().map_err(|_| {
        let detail = format!("{FLAG_STREAMS_MAX} streams of flag events are open.");
        Problem::new(Code::Overloaded, detail)
    })?;
    let revisions = services.runtime.watch_revision();
    let tag = config_tag(&services, &caller);
    // Who comes back names what it saw last. Who is new asked for the flags a moment ago: if they
    // may have changed since, it is told at once, and asks once too often at worst.
    let seen = request.headers().get("last-event-id");
    let seen = seen.map(|id| String::from_utf8_lossy(id.as_bytes()));
    let is_recent = now().0.saturating_sub(services.runtime.serving().at.0) < RECENT_MS;
    let told = match seen {
        Some(seen) => seen.into_owned(),
        None if is_recent => String::new(),
        None => tag,
    };
    let listener = Listener { services, caller, told, revisions, _slot: slot };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let mut response = Sse::new(events(listener)).keep_alive(keep_alive).into_response();
    // The address lets in: nobody on the way may keep it or what it gave.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn config_tag(services: &Services, caller: &Caller) -> String {
    let state = services.runtime.serving();
    ofrep::config_tag(&state.flags, &scope(services, &state, caller))
}

/// What flags are evaluated under beside the context: who asks, and where the node is.
pub(super) fn scope(services: &Services, state: &ServingState, caller: &Caller) -> String {
    format!("{}@{}", caller.role.as_str(), services.runtime.region_in(state).unwrap_or_default())
}

/// One client: what it was told last.
struct Listener {
    services: Arc<Services>,
    caller: Caller,
    /// Entity tag of the flags that the client knows of.
    told: String,
    revisions: watch::Receiver<u64>,
    _slot: OwnedSemaphorePermit,
}

impl Listener {
    /// The next state of the flags, as entity tag and time; `None` ends the stream: the node
    /// drains, or the key is no longer accepted.
    async fn next(&mut self) -> Option<(String, i64)> {
        loop {
            self.revisions.borrow_and_update();
            if !self.services.keys.still_accepts(&self.caller) {
                return None;
            }
            let tag = config_tag(&self.services, &self.caller);
            if tag != self.told {
                self.told.clone_from(&tag);
                return Some((tag, self.services.runtime.serving().at.0.div_euclid(1_000)));
            }
            tokio::select! {
                () = self.services.draining.cancelled() => return None,
                changed = self.revisions.changed() => changed.ok()?,
            }
        }
    }
}

fn events(listener: Listener) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(listener, |mut listener| async move {
        let (tag, last_modified) = listener.next().await?;
        let data =
            json!({ "type": "refetchEvaluation", "etag": tag, "lastModified": last_modified });
        let event = Event::default().id(tag).event("message").data(data.to_string());
        Some((Ok(event), listener))
    })
}
