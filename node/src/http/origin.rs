//! Protection against web pages that a browser on this machine, or near it, has open.
//!
//! A page can make its browser send requests to a node on loopback. It reads no response and has no key,
//! but a name that a stranger points at 127.0.0.1 (DNS rebinding) makes the node its own origin. So a node
//! on loopback takes only Host names of its own, and no node takes a change that a page of another origin
//! sends, unless the settings name that origin.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, header};
use verdict_config::Code;
use verdict_config::settings::HttpSettings;

use super::cors::Cors;
use super::problem::{Answer, Problem};
use crate::metrics::Route;

/// The Host names and origins that a node takes.
#[derive(Debug, Clone)]
pub(super) struct Origins {
    /// Whether only Host names of this node are taken.
    loopback: bool,
    hosts: Vec<String>,
    cors: Cors,
}

/// The host of `host:port`, without brackets, in lower case.
fn host_of(authority: &str) -> String {
    let without_port = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    without_port.trim_matches(['[', ']']).to_ascii_lowercase()
}

impl Origins {
    pub(super) fn new(http: &HttpSettings) -> Self {
        Self {
            loopback: http.address.ip().is_loopback(),
            hosts: http.hosts.iter().map(|host| host_of(host)).collect(),
            cors: Cors::new(&http.cors_origins),
        }
    }

    pub(super) const fn cors(&self) -> &Cors {
        &self.cors
    }

    /// Refuses a request that names another host, and a change by a page of another origin.
    ///
    /// # Errors
    /// [`Code::HostRefused`], [`Code::OriginRefused`].
    pub(super) fn check(&self, route: Route, request: &Request<Body>) -> Answer<()> {
        let headers = request.headers();
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
        let authority = authority.or_else(|| headers.get(header::HOST).map(text));
        if let Some(authority) = &authority
            && self.loopback
            && !self.is_own(&host_of(authority))
        {
            let shown: String = authority.chars().take(128).collect();
            let detail =
                format!("{shown:?} is no name of this node. {}", Code::HostRefused.advice());
            return Err(Problem::new(Code::HostRefused, detail));
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        if !changes(request.method(), route) || self.cors.names(origin) {
            return Ok(());
        }
        // A page of the node itself: the same scheme is not asked for, a proxy may end TLS.
        let of_node = text(origin).split_once("://").map(|(_, rest)| rest.to_ascii_lowercase());
        if of_node.is_some() && of_node == authority.map(|authority| authority.to_ascii_lowercase())
        {
            return Ok(());
        }
        Err(Problem::new(Code::OriginRefused, Code::OriginRefused.advice()))
    }

    fn is_own(&self, host: &str) -> bool {
        let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        is_loopback || host == "localhost" || self.hosts.iter().any(|own| own == host)
    }
}

/// Whether a request may change something. Evaluating flags changes nothing.
fn changes(method: &Method, route: Route) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    !reads && !is_public(route)
}

/// The routes that any page may use, with a key: OFREP clients run in browsers.
pub(super) const fn is_public(route: Route) -> bool {
    matches!(route, Route::OfrepFlag | Route::OfrepFlags | Route::FlagEvents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(http: &HttpSettings, method: &str, headers: &[(&str, &str)], expected: Option<Code>) {
        let mut request = Request::builder().method(method).uri("/v1/changes");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let found = Origins::new(http).check(Route::Changes, &request);
        assert_eq!(found.err().map(|problem| problem.code()), expected, "{method} {headers:?}");
    }

    #[test]
    fn a_node_on_loopback_takes_its_own_names() {
        let http =
            HttpSettings { hosts: vec!["dev.example".to_owned()], ..HttpSettings::default() };
        for own in ["localhost:7700", "LOCALHOST", "127.0.0.1:7700", "[::1]:7700", "dev.example:1"]
        {
            check(&http, "GET", &[("host", own)], None);
        }
        for other in ["evil.example:7700", "evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""]
        {
            check(&http, "GET", &[("host", other)], Some(Code::HostRefused));
        }
        check(&http, "GET", &[], None);
        let address = "0.0.0.0:7700".parse().unwrap();
        let anywhere = HttpSettings { address, ..HttpSettings::default() };
        check(&anywhere, "GET", &[("host", "verdict.example")], None);
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let named = vec!["*".to_owned(), "https://console.example".to_owned()];
        let http = HttpSettings { cors_origins: named, ..HttpSettings::default() };
        let own = ("host", "127.0.0.1:7700");
        check(&http, "POST", &[own, ("origin", "http://127.0.0.1:7700")], None);
        check(&http, "POST", &[own, ("origin", "https://console.example")], None);
        check(&http, "POST", &[own], None);
        for other in
            ["https://evil.example", "null", "http://127.0.0.1:8080", "http://localhost:7700"]
        {
            check(&http, "POST", &[own, ("origin", other)], Some(Code::OriginRefused));
            check(&http, "DELETE", &[own, ("origin", other)], Some(Code::OriginRefused));
            check(&http, "GET", &[own, ("origin", other)], None);
        }
    }
}
