//! What the process says about itself to Prometheus.
//!
//! Every metric is described here or in the crate that counts it, with its unit in its name. Labels
//! take their values from closed sets: routes, methods and status classes of this table, so that no
//! request can make a new series.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Bounds of request durations in seconds.
const DURATION_BUCKETS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
    10.0,
];

/// Installs the process's recorder, once; later calls answer the same handle.
///
/// # Errors
/// The recorder's own message, when another library installed one first.
pub fn install() -> Result<PrometheusHandle, String> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    HANDLE.get_or_init(build).clone()
}

fn build() -> Result<PrometheusHandle, String> {
    let builder = PrometheusBuilder::new()
        .set_buckets(&DURATION_BUCKETS)
        .map_err(|error| error.to_string())?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
    describe();
    Ok(handle)
}

/// How often samples are folded into their buckets.
pub const UPKEEP: Duration = Duration::from_secs(5);

fn describe() {
    verdict_actors::describe_metrics();
    crate::cluster::metrics::describe();
    metrics::describe_counter!(
        "verdict_http_requests_total",
        Unit::Count,
        "Requests answered, by route and class of status."
    );
    metrics::describe_histogram!(
        "verdict_http_request_duration_seconds",
        Unit::Seconds,
        "Time from a request's head to its answer's head."
    );
    metrics::describe_counter!(
        "verdict_http_requests_shed_total",
        Unit::Count,
        "Requests that were told 429 because every permit was taken."
    );
    metrics::describe_counter!(
        "verdict_http_handler_panics_total",
        Unit::Count,
        "Panics in handlers; each cost one request a 500."
    );
    metrics::describe_gauge!(
        "verdict_http_requests_in_flight",
        Unit::Count,
        "Requests that hold a permit."
    );
    metrics::describe_gauge!(
        "verdict_catalogue_revision",
        Unit::Count,
        "Revision of the catalogue that is served."
    );
    metrics::describe_gauge!(
        "verdict_build_info",
        Unit::Count,
        "Always 1; the label tells the program's version."
    );
    gauge!("verdict_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

macro_rules! routes {
    ($($variant:ident = $name:literal, $path:literal;)*) => {
        /// Routes as metrics and logs name them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Route { $(#[doc = $path] $variant,)* }

        impl Route {
            const ALL: &'static [Route] = &[$(Route::$variant,)*];

            /// The value of the label `route`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Route::$variant => $name,)* }
            }
        }
    };
}

routes! {
    Decisions = "/v1/decisions", "/v1/decisions";
    Decision = "/v1/decisions/{key}", "/v1/decisions/{key}";
    Outcomes = "/v1/outcomes", "/v1/outcomes";
    Units = "/v1/units/{key}", "/v1/units/{key}";
    Changes = "/v1/changes", "/v1/changes";
    Rollback = "/v1/rollback", "/v1/rollback";
    History = "/v1/history", "/v1/history";
    Objects = "/v1/objects", "/v1/objects/{kind} and what is below";
    Models = "/v1/models", "/v1/models";
    Watch = "/v1/watch", "/v1/watch";
    Status = "/v1/status", "/v1/status";
    Admin = "/v1/admin", "/v1/admin and what is below";
    OfrepFlag = "/ofrep/v1/evaluate/flags/{key}", "one flag";
    OfrepFlags = "/ofrep/v1/evaluate/flags", "every flag";
    FlagEvents = "/ofrep/v1/events", "changes of flags";
    Health = "/healthz", "/healthz and /readyz";
    Metrics = "/metrics", "/metrics";
    OpenApi = "/openapi.json", "/openapi.json";
    Other = "other", "anything else";
}

impl Route {
    /// The route of a path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        if let Some(rest) = path.strip_prefix("/v1/") {
            let (head, tail) = rest.split_once('/').unwrap_or((rest, ""));
            return match (head, tail.is_empty()) {
                ("decisions", true) => Self::Decisions,
                ("decisions", false) => Self::Decision,
                ("outcomes", true) => Self::Outcomes,
                ("units", false) => Self::Units,
                ("changes", true) => Self::Changes,
                ("rollback", true) => Self::Rollback,
                ("history", true) => Self::History,
                ("objects", false) => Self::Objects,
                ("models", _) => Self::Models,
                ("watch", true) => Self::Watch,
                ("status", true) => Self::Status,
                ("admin", false) => Self::Admin,
                _ => Self::Other,
            };
        }
        if let Some(rest) = path.strip_prefix("/ofrep/v1/evaluate/flags") {
            return if rest.len() > 1 { Self::OfrepFlag } else { Self::OfrepFlags };
        }
        match path {
            "/ofrep/v1/events" => Self::FlagEvents,
            "/healthz" | "/readyz" => Self::Health,
            "/metrics" => Self::Metrics,
            "/openapi.json" => Self::OpenApi,
            _ => Self::Other,
        }
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

struct RouteMetrics {
    by_class: [Counter; 5],
    duration: Histogram,
}

/// Handles of every series, looked up once: counting a request allocates nothing.
pub struct HttpMetrics {
    routes: Vec<RouteMetrics>,
    /// Requests told 429.
    pub shed: Counter,
    /// Panics in handlers.
    pub panics: Counter,
    /// Requests that hold a permit.
    pub in_flight: Gauge,
    /// Revision that is served.
    pub revision: Gauge,
}

impl HttpMetrics {
    /// Registers every series with the process's recorder.
    #[must_use]
    pub fn register() -> Self {
        let routes = Route::ALL
            .iter()
            .map(|route| RouteMetrics {
                by_class: CLASSES.map(|class| {
                    counter!("verdict_http_requests_total", "route" => route.as_str(), "status" => class)
                }),
                duration: histogram!("verdict_http_request_duration_seconds", "route" => route.as_str()),
            })
            .collect();
        Self {
            routes,
            shed: counter!("verdict_http_requests_shed_total"),
            panics: counter!("verdict_http_handler_panics_total"),
            in_flight: gauge!("verdict_http_requests_in_flight"),
            revision: gauge!("verdict_catalogue_revision"),
        }
    }

    /// Counts one answer.
    pub fn count(&self, route: Route, status: u16, took: Duration) {
        let Some(metrics) = self.routes.get(route as usize) else { return };
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        metrics.by_class[class].increment(1);
        metrics.duration.record(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_bounded_route() {
        for (path, expected) in [
            ("/v1/decisions", Route::Decisions),
            ("/v1/decisions/payment:batch", Route::Decision),
            ("/v1/objects/flag/x", Route::Objects),
            ("/v1/nothing", Route::Other),
            ("/ofrep/v1/evaluate/flags", Route::OfrepFlags),
            ("/ofrep/v1/evaluate/flags/", Route::OfrepFlags),
            ("/ofrep/v1/evaluate/flags/a", Route::OfrepFlag),
            ("/readyz", Route::Health),
            ("/", Route::Other),
        ] {
            assert_eq!(Route::of(path), expected, "{path}");
        }
        for (position, route) in Route::ALL.iter().enumerate() {
            assert_eq!(*route as usize, position);
        }
    }
}
