//! Errors on `/v1`: RFC 9457 problem details with our codes.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use axum::response::IntoResponse;
use serde::Serialize;
use verdict_config::{Code, Fault, Faults};

use super::status::status;

/// An error on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: String,
    faults: Faults,
    retry_after_s: Option<u32>,
    allow: Option<HeaderValue>,
}

/// The result of a handler.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem with a code, and a sentence about this occurrence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after_s = match code {
            Code::Overloaded => Some(1),
            Code::DeadlineExceeded | Code::Draining | Code::StorageFailed | Code::OutboxFull => {
                Some(2)
            }
            _ => None,
        };
        let detail = crate::reasons::without_numbers(detail.into());
        Self { code, detail, faults: Vec::new(), retry_after_s, allow: None }
    }

    /// A problem that another node told.
    #[must_use]
    pub fn from_json(body: &[u8]) -> Self {
        let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let code = |json: &serde_json::Value| Code::from_text(json.as_str()?);
        let text = |json: &serde_json::Value| json.as_str().unwrap_or_default().to_owned();
        let fault = |json: &serde_json::Value| {
            Some(Fault::new(code(&json["code"])?, text(&json["path"]), text(&json["message"])))
        };
        let faults = json["faults"].as_array().into_iter().flatten().filter_map(fault).collect();
        Self::new(code(&json["code"]).unwrap_or(Code::PeerUnreachable), text(&json["detail"]))
            .with_faults(faults)
    }

    /// A problem whose detail is the code's own advice.
    #[must_use]
    pub fn of(code: Code) -> Self {
        Self::new(code, code.advice())
    }

    /// The same problem with every fault that was found.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The same problem with the methods that the route takes.
    #[must_use]
    pub fn with_allow(mut self, allow: Option<HeaderValue>) -> Self {
        self.allow = allow;
        self
    }

    /// The same problem under a code that says what the body is about.
    #[must_use]
    pub fn recoded(mut self, from: Code, to: Code) -> Self {
        if self.code == from {
            self.code = to;
            for fault in self.faults.iter_mut().filter(|fault| fault.code == from) {
                fault.code = to;
            }
        }
        self
    }

    /// A fault of one query parameter or path segment.
    #[must_use]
    pub fn parameter(name: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(Code::RequestInvalid, format!("{name}: {message}")).with_faults(vec![Fault::new(
            Code::RequestInvalid,
            name,
            message,
        )])
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What happened this time.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What a client may wait before it tries again, in seconds.
    #[must_use]
    pub const fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s
    }

    /// Every fault that was found.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Adds the headers that belong to it, whatever form its body takes.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthenticated {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"verdict\""),
            );
        }
        if let Some(allow) = &self.allow {
            headers.insert(header::ALLOW, allow.clone());
        }
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(&self) -> ProblemBody<'_> {
        ProblemBody {
            kind: format!("urn:verdict:error:{}", self.code),
            title: self.code.title(),
            status: status(self.code).as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            faults: &self.faults,
        }
    }
}

/// What a node answers another one that asks for its decisions before it knows what it is to erase.
pub(crate) fn starting() -> (u16, Vec<u8>) {
    let problem = Problem::new(Code::PeerUnreachable, "The node is starting. Try again.");
    let body = problem.body();
    (body.status, serde_json::to_vec(&body).unwrap_or_default())
}

/// The JSON of a problem.
#[derive(Debug, Serialize)]
pub struct ProblemBody<'problem> {
    /// A URN that ends with the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code's title.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// This occurrence, in a sentence.
    pub detail: &'problem str,
    /// The stable code.
    pub code: &'static str,
    /// Every fault found.
    pub faults: &'problem [Fault],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let code = self.code;
        // A problem holds only texts and numbers: it always serializes.
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status(code);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.add_headers(headers);
        response
    }
}
