//! The gateway: everything that happens to a request before and after its handler.
//!
//! ```text
//! request -> request id -> small body -> preflight? -> key -> revision floor -> permit -> deadline
//!         -> handler
//! answer  <- count <- CORS <- X-Verdict-Revision <- X-Request-Id <- problem or body
//! ```
//!
//! One function and not a stack of middleware: each step is a few instructions on a path that has to
//! answer in microseconds, and the order is visible at one glance.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use axum::response::IntoResponse;
use futures::FutureExt;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::Instrument;
use verdict_actors::Handle;
use verdict_config::settings::{HttpSettings, Role};
use verdict_config::{Code, TimestampMs};
use verdict_consensus::Catalogue;

use crate::admin::Refusals;
use crate::cluster::Cluster;
use crate::metrics::{HttpMetrics, Route};
use crate::transfers::Transfers;

pub mod body;
pub mod cors;
pub mod keys;
pub mod problem;
pub mod query;
pub mod status;

mod admin;
mod changes;
mod decisions;
mod flag_events;
mod models;
mod objects;
mod ofrep;
pub mod openapi;
mod operations;
mod origin;
mod outcomes;
mod records;
mod router;
pub(crate) mod streams;
mod watch;

pub(crate) use decisions::problem_of;
pub(crate) use models::pack_folder;
pub(crate) use outcomes::record_for_peer;
pub(crate) use problem::starting;
pub(crate) use records::read_for_peer;
pub use router::ROUTES;

use keys::{Caller, CatalogueKeys, KeyRing};
use origin::Origins;
use problem::{Answer, Problem};

/// How long a request waits for the revision that it asks for.
const REVISION_WAIT: Duration = Duration::from_millis(1_000);
/// How long a model folder may take to come in.
const MODEL_DEADLINE: Duration = Duration::from_secs(600);
/// Watchers of changes at once.
const WATCHERS_MAX: usize = 256;
/// Streams of flag events at once: half of the connections that a node has by default.
const FLAG_STREAMS_MAX: usize = 1_024;
const REVISION_HEADER: &str = "x-verdict-revision";
const MIN_REVISION_HEADER: &str = "x-verdict-min-revision";
/// On every answer of a node that is out of touch with its cluster.
const STALE_HEADER: &str = "x-verdict-stale";
const REQUEST_ID_HEADER: &str = "x-request-id";

/// What a gateway is made of.
pub struct GatewayOptions {
    /// The node.
    pub runtime: Handle,
    /// Limits and origins.
    pub http: HttpSettings,
    /// The setting `flags.strict`.
    pub flags_strict: bool,
    /// Keys that are accepted.
    pub keys: KeyRing,
    /// Renders `/metrics`.
    pub prometheus: PrometheusHandle,
    /// The cluster that the node is a member of.
    pub cluster: Option<Cluster>,
    /// The state folder.
    pub data_dir: std::path::PathBuf,
    /// Admin requests that were refused.
    pub refusals: Arc<Refusals>,
    /// Ends the process, after a drain.
    pub stop: CancellationToken,
    /// Work that goes on where whoever asked for it hangs up.
    pub tasks: TaskTracker,
    /// How long a change may wait until other nodes are ready for it.
    pub activation_wait: Duration,
}

/// What handlers work with.
pub(crate) struct Services {
    pub(crate) runtime: Handle,
    pub(crate) http: HttpSettings,
    /// The setting `flags.strict`.
    pub(crate) flags_strict: bool,
    pub(crate) prometheus: PrometheusHandle,
    pub(crate) metrics: HttpMetrics,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) data_dir: std::path::PathBuf,
    pub(crate) activation_wait: Duration,
    pub(crate) backups: Arc<Semaphore>,
    /// Files that operators send and fetch in pieces.
    pub(crate) transfers: Arc<Transfers>,
    pub(crate) keys: KeyRing,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) flag_streams: Arc<Semaphore>,
    pub(crate) staging: Semaphore,
    pub(crate) draining: CancellationToken,
    pub(crate) ready: AtomicBool,
    /// Admin requests that were refused.
    pub(crate) refusals: Arc<Refusals>,
    /// Ends the process, after a drain.
    pub(crate) stop: CancellationToken,
    /// Work that goes on where whoever asked for it hangs up.
    pub(crate) tasks: TaskTracker,
}

/// Answers requests; shared by every connection.
pub struct Gateway {
    services: Arc<Services>,
    permits: Semaphore,
    origins: Origins,
    router: Router,
}

/// Where a request's connection came from, as an extension of the request.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub IpAddr);

/// The state of handlers.
pub(crate) type Shared = axum::extract::State<Arc<Services>>;

impl Gateway {
    /// Builds the routes over a running node.
    #[must_use]
    pub fn new(options: GatewayOptions) -> Self {
        let GatewayOptions { runtime, http, flags_strict, keys, prometheus, .. } = options;
        let GatewayOptions { cluster, data_dir, activation_wait, refusals, stop, tasks, .. } =
            options;
        let permits = Semaphore::new(http.requests_max);
        let origins = Origins::new(&http);
        let keys = keys.with_catalogue(CatalogueKeys::new(runtime.log().watch()));
        let transfers = Arc::new(Transfers::new(data_dir.join("transfers")));
        let services = Arc::new(Services {
            runtime,
            http,
            flags_strict,
            prometheus,
            metrics: HttpMetrics::register(),
            cluster,
            data_dir,
            activation_wait,
            backups: Arc::new(Semaphore::new(1)),
            transfers,
            keys,
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            flag_streams: Arc::new(Semaphore::new(FLAG_STREAMS_MAX)),
            staging: Semaphore::new(1),
            draining: CancellationToken::new(),
            ready: AtomicBool::new(false),
            refusals,
            stop,
            tasks,
        });
        let router = router::routes(Arc::clone(&services));
        Self { services, permits, origins, router }
    }

    /// The revision that is served.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.services.runtime.serving().revision
    }

    /// The catalogue as it was agreed last, as this node knows.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.services.runtime.log().catalogue()
    }

    /// From here on the node is ready.
    pub fn set_ready(&self) {
        self.services.ready.store(true, Ordering::Release);
    }

    /// From here on the node is not ready, watchers are sent away, and answers close connections.
    pub fn start_draining(&self) {
        self.services.draining.cancel();
    }

    /// Does what somebody who has proved who they are asks for, as a request over HTTP would.
    pub async fn perform(&self, caller: Caller, mut request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let route = Route::of(request.uri().path());
        request.extensions_mut().insert(caller);
        let response = match self.run(request, self.deadline(route)).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        };
        self.services.metrics.count(route, response.status().as_u16(), started.elapsed());
        response
    }

    /// Answers one request. Never fails and never panics.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let route = Route::of(request.uri().path());
        let http2 = request.version() == Version::HTTP_2;
        let origin = request.headers().get(header::ORIGIN).cloned();
        let id = request_id(request.headers());
        let span = tracing::debug_span!("request", id = ?id, method = %request.method(), route = route.as_str());
        let ofrep = matches!(route, Route::OfrepFlag | Route::OfrepFlags);
        let key = (route == Route::OfrepFlag).then(|| ofrep::key_of(request.uri().path()));

        let answered = async {
            let wait = Duration::from_millis(self.services.http.request_timeout_ms);
            let request = body::small_first(request, wait).await?;
            self.admit(route, request).await
        };
        let mut response = match answered.instrument(span).await {
            Ok(response) => response,
            Err(problem) if ofrep => ofrep::failure(key.flatten().as_deref(), &problem),
            Err(problem) => problem.into_response(),
        };

        let headers = response.headers_mut();
        headers
            .entry(REVISION_HEADER)
            .or_insert_with(|| self.services.runtime.serving().revision.into());
        headers.insert(REQUEST_ID_HEADER, id);
        if self.services.runtime.is_stale() {
            headers.insert(STALE_HEADER, HeaderValue::from_static("true"));
        }
        if let Some(origin) = origin {
            self.origins.cors().decorate(headers, &origin, origin::is_public(route));
        }
        if self.services.draining.is_cancelled() && !http2 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.services.metrics.count(route, response.status().as_u16(), started.elapsed());
        response
    }

    async fn admit(&self, route: Route, mut request: Request<Body>) -> Answer<Response<Body>> {
        self.origins.check(route, &request)?;
        let cors = self.origins.cors();
        if request.method() == Method::OPTIONS && cors.is_preflight(request.headers()) {
            return Ok(cors.preflight(request.headers(), origin::is_public(route)));
        }
        let guarded = guarded(request.uri().path());
        if guarded {
            let from = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
            let caller = self.caller(route, &request)?.at(from);
            limit_to_flows(&caller, route, &request)?;
            request.extensions_mut().insert(caller);
        }
        self.reach_revision(request.headers()).await?;
        self.be_linearizable(&mut request).await?;
        // A stream outlives its request by hours and has bounds of its own.
        let exempt = !guarded || matches!(route, Route::Watch | Route::FlagEvents);
        let _permit = if exempt { None } else { Some(self.permit()?) };
        let _running = InFlight::enter(&self.services.metrics.in_flight);
        self.run(request, self.deadline(route)).await
    }

    /// How long the handler of a route may take.
    fn deadline(&self, route: Route) -> Duration {
        match route {
            Route::Models => MODEL_DEADLINE,
            // Every live node may have a model to load before the change is proposed.
            Route::Changes | Route::Rollback => {
                Duration::from_millis(self.services.http.request_timeout_ms)
                    + self.services.activation_wait
            }
            _ => Duration::from_millis(self.services.http.request_timeout_ms),
        }
    }

    fn permit(&self) -> Answer<SemaphorePermit<'_>> {
        self.permits.try_acquire().map_err(|_| {
            self.services.metrics.shed.increment(1);
            let most = self.services.http.requests_max;
            Problem::new(Code::Overloaded, format!("{most} requests are already running."))
        })
    }

    /// Runs the handler under the deadline; a panic in it costs this request a 500.
    async fn run(&self, request: Request<Body>, deadline: Duration) -> Answer<Response<Body>> {
        let handler = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        match tokio::time::timeout(deadline, handler).await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_)) => {
                self.services.metrics.panics.increment(1);
                tracing::error!("a handler panicked");
                Err(Problem::of(Code::Internal))
            }
            Err(_) => {
                let detail = format!("It took longer than {} ms.", deadline.as_millis());
                Err(Problem::new(Code::DeadlineExceeded, detail))
            }
        }
    }

    fn caller(&self, route: Route, request: &Request<Body>) -> Answer<Caller> {
        let keys = &self.services.keys;
        if route == Route::FlagEvents
            && let Some(token) = flag_events::token_of(request.uri())
        {
            return keys.by_stream_token(token, now());
        }
        keys.authenticate(request.headers())
    }

    /// With `?consistency=linearizable`: waits, for a bounded time, until the node serves every
    /// change that was answered anywhere before this request came. Handlers do not see it.
    async fn be_linearizable(&self, request: &mut Request<Body>) -> Answer<()> {
        let Some((value, rest)) = request.uri().query().and_then(consistency_of) else {
            return Ok(());
        };
        if value != "linearizable" {
            return Err(Problem::parameter("consistency", "expected linearizable"));
        }
        let runtime = &self.services.runtime;
        let catalogue = runtime.log().linearizable().await;
        let catalogue = catalogue.map_err(|error| Problem::new(error.code(), error.to_string()))?;
        let reached = runtime.wait_for_revision(catalogue.revision(), REVISION_WAIT).await;
        reached.map_err(|error| problem_of(&error))?;
        let path = request.uri().path();
        let query = if rest.is_empty() { String::new() } else { format!("?{rest}") };
        if let Ok(uri) = format!("{path}{query}").parse() {
            *request.uri_mut() = uri;
        }
        Ok(())
    }

    /// Waits, for a bounded time, until the node serves the revision that the client has seen.
    async fn reach_revision(&self, headers: &HeaderMap) -> Answer<()> {
        let Some(value) = headers.get(MIN_REVISION_HEADER) else { return Ok(()) };
        let wanted = revision_of("X-Verdict-Min-Revision", value)?;
        let reached = self.services.runtime.wait_for_revision(wanted, REVISION_WAIT).await;
        reached.map(|_| ()).map_err(|error| problem_of(&error))
    }
}

/// A revision that a header names.
fn revision_of(header: &'static str, value: &HeaderValue) -> Answer<u64> {
    let text = String::from_utf8_lossy(value.as_bytes());
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        let message = format!("expected a revision, a number such as 42; got {text:?}");
        Problem::parameter(header, message)
    })
}

/// The parameter `consistency` of a query, and the query without it.
fn consistency_of(query: &str) -> Option<(String, String)> {
    let is = |pair: &&str| *pair == "consistency" || pair.starts_with("consistency=");
    let pair = query.split('&').find(is)?;
    let value = pair.split_once('=').map(|(_, value)| value).unwrap_or_default();
    let rest: Vec<&str> = query.split('&').filter(|other| !is(other)).collect();
    Some((value.to_owned(), rest.join("&")))
}

/// Counts a request for as long as it lives, also when its client goes away.
struct InFlight(metrics::Gauge);

impl InFlight {
    fn enter(gauge: &metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The client's own id where it is short and plain, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    if let Some(id) = headers.get(REQUEST_ID_HEADER) {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if (1..=64).contains(&id.len()) && id.as_bytes().iter().all(plain) {
            return id.clone();
        }
    }
    let mut text = [0u8; ulid::ULID_LEN];
    let text = ulid::Ulid::generate().array_to_str(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
}

/// Whether a path asks for a key: all but health, metrics and the API's description.
fn guarded(path: &str) -> bool {
    path.starts_with("/v1/") || path.starts_with("/ofrep/")
}

/// The caller of a request, with at least a role.
pub(crate) fn caller_of(request: &Request<Body>, role: Role) -> Answer<Caller> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| Problem::of(Code::Unauthenticated))?;
    caller.require(role)?;
    Ok(caller)
}

/// Refuses decisions of flows that the caller's key is not for.
fn limit_to_flows(caller: &Caller, route: Route, request: &Request<Body>) -> Answer<()> {
    if !caller.is_limited() || route != Route::Decision || request.method() != Method::POST {
        return Ok(());
    }
    let target = last_segment(request.uri())?;
    match target.split_once(':') {
        // A replay is of a decision that is there already, and asks for a role of its own.
        Some((_, "replay")) => Ok(()),
        Some((flow, _)) => caller.may_ask(flow),
        None => caller.may_ask(&target),
    }
}

/// The last segment of a path, decoded.
pub(crate) fn last_segment(uri: &axum::http::Uri) -> Answer<String> {
    let segment = uri.path().rsplit('/').next().unwrap_or_default();
    query::decode_segment(segment)
        .ok_or_else(|| Problem::parameter("path", "it is not percent-encoded UTF-8"))
}

/// JSON that belongs to a revision other than the one served when the answer leaves.
pub(crate) fn json_with_revision<T: serde::Serialize>(
    value: &T,
    revision: u64,
) -> Answer<Response<Body>> {
    let mut response = json(value)?;
    response.headers_mut().insert(REVISION_HEADER, revision.into());
    Ok(response)
}

/// The time by the node's clock.
pub(crate) fn now() -> TimestampMs {
    verdict_actors::clock::now()
}

/// A plain 200 with JSON.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Answer<Response<Body>> {
    json_with_status(StatusCode::OK, value)
}

/// JSON with another status.
pub(crate) fn json_with_status<T: serde::Serialize>(
    status: StatusCode,
    value: &T,
) -> Answer<Response<Body>> {
    let bytes = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer does not serialize");
        Problem::of(Code::Internal)
    })?;
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
