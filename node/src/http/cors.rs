//! Cross-origin requests: browsers evaluate flags and read decisions from other origins.
//!
//! Keys travel in headers and never in cookies. `*` opens the routes of OFREP alone, whose clients run in
//! browsers; every other route takes only origins that the settings name.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// Headers that scripts may read.
const EXPOSED: &str = "ETag, X-Verdict-Revision, X-Verdict-Stale, X-Request-Id, Retry-After";
const METHODS: &str = "GET, POST, DELETE";

/// The origins that may call.
#[derive(Debug, Clone)]
pub struct Cors {
    any: bool,
    origins: Vec<HeaderValue>,
}

impl Cors {
    /// Origins as the settings name them; `*` is any.
    #[must_use]
    pub fn new(origins: &[String]) -> Self {
        Self {
            any: origins.iter().any(|origin| origin == "*"),
            origins: origins.iter().filter_map(|origin| origin.parse().ok()).collect(),
        }
    }

    /// Whether the settings name an origin.
    pub(super) fn names(&self, origin: &HeaderValue) -> bool {
        self.origins.contains(origin) && origin.as_bytes() != b"*"
    }

    fn allowed(&self, origin: &HeaderValue, public: bool) -> Option<HeaderValue> {
        if self.any && public {
            return Some(HeaderValue::from_static("*"));
        }
        self.names(origin).then(|| origin.clone())
    }

    /// Whether an `OPTIONS` request is a browser's question.
    #[must_use]
    pub fn is_preflight(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to a browser's question. The origin's own header is added by [`Self::decorate`].
    #[must_use]
    pub fn preflight(&self, headers: &HeaderMap, public: bool) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let allowed = headers.get(header::ORIGIN).and_then(|origin| self.allowed(origin, public));
        if allowed.is_some() {
            let answer = response.headers_mut();
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
            // Client libraries add headers of their own: whichever they ask for are harmless here.
            if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
            }
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
        }
        response
    }

    /// Adds what a browser needs to hand an answer to the script. `public`: of a route of OFREP.
    pub fn decorate(&self, headers: &mut HeaderMap, origin: &HeaderValue, public: bool) {
        let Some(allowed) = self.allowed(origin, public) else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        if !(self.any && public) {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origins: &[&str], (origin, public): (&str, bool), expected: Option<&str>) {
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let mut headers = HeaderMap::new();
        Cors::new(&origins).decorate(&mut headers, &HeaderValue::from_str(origin).unwrap(), public);
        let allowed =
            headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!(allowed, expected);
        assert_eq!(headers.contains_key("access-control-expose-headers"), expected.is_some());
    }

    #[test]
    fn origins_are_allowed_by_name_or_all() {
        let shop = "https://shop.example";
        for public in [false, true] {
            check(&[shop], (shop, public), Some(shop));
            check(&[shop], ("https://other.example", public), None);
            check(&[], (shop, public), None);
            check(&["*"], ("*", public), public.then_some("*"));
        }
        check(&["*"], (shop, true), Some("*"));
        check(&["*"], (shop, false), None);
        check(&["*", shop], (shop, false), Some(shop));
    }
}
