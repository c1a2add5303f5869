//! Does what operators ask for.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request as HttpRequest, header};
use serde_json::Value as Json;
use verdict_admin::{
    AdminService, AnswerFuture, OperatorKey, Outcome, Refusal, Request, RequestOrigin,
};
use verdict_config::{Code, TimestampMs};

use super::{Refusals, operator_key};
use crate::cluster::Cluster;
use crate::http::Gateway;
use crate::http::keys::Caller;

/// The longest answer.
const ANSWER_BYTES_MAX: usize = 7 << 20;

/// The node, as the admin actor sees it.
pub(super) struct NodeAdmin {
    gateway: Arc<Gateway>,
    refusals: Arc<Refusals>,
    cluster: Cluster,
}

impl NodeAdmin {
    pub(super) const fn new(
        gateway: Arc<Gateway>,
        refusals: Arc<Refusals>,
        cluster: Cluster,
    ) -> Self {
        Self { gateway, refusals, cluster }
    }

    async fn answer(
        &self,
        operator: OperatorKey,
        origin: RequestOrigin,
        request: &Request,
    ) -> Outcome {
        let needs = request.needs();
        if operator.role < needs {
            let detail = format!(
                "{} needs the role {needs}; the key {} has the role {}",
                request.name(),
                operator.name,
                operator.role
            );
            self.refusals.add(self.now(), Some(&operator.name), Code::Forbidden, &detail);
            return Outcome::Refused(Refusal::new(Code::Forbidden, detail));
        }
        let name = operator.name.clone();
        tracing::debug!(by = name, command = request.name(), "an admin request");
        let route = request.route();
        let call = HttpRequest::builder()
            .method(route.method)
            .uri(&route.path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(route.body.map_or_else(Body::empty, Body::from));
        let Ok(call) = call else {
            let refusal = Refusal::new(Code::RequestInvalid, "a name that is no part of a path");
            return Outcome::Refused(refusal);
        };
        let caller = Caller::operator(operator, Some(origin.sealed)).at(origin.from);
        let response = self.gateway.perform(caller, call).await;
        let (parts, body) = response.into_parts();
        let Ok(bytes) = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await else {
            let detail = "the answer is longer than an admin answer may be; ask for less";
            return Outcome::Refused(Refusal::new(Code::BodyTooLarge, detail));
        };
        let answer: Json = serde_json::from_slice(&bytes).unwrap_or_default();
        if parts.status.is_success() {
            let own = parts.headers.get("x-verdict-revision");
            let own = own.and_then(|value| value.to_str().ok()?.parse().ok());
            let revision = own.unwrap_or_else(|| self.gateway.revision());
            return Outcome::Done { revision, answer, trust: self.cluster.trust_digest() };
        }
        let refusal = refusal_of(&answer);
        let code = Code::from_text(&refusal.code);
        if let Some(code @ (Code::Forbidden | Code::OutOfScope)) = code {
            self.refusals.add(self.now(), Some(&name), code, &refusal.detail);
        }
        Outcome::Refused(refusal)
    }
}

/// A problem of the HTTP interface as a refusal.
fn refusal_of(problem: &Json) -> Refusal {
    let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
    Refusal {
        code: text("code"),
        detail: text("detail"),
        faults: problem["faults"].as_array().cloned().unwrap_or_default(),
    }
}

impl AdminService for NodeAdmin {
    fn operator(&self, name: &str) -> Option<OperatorKey> {
        operator_key(&self.gateway.catalogue(), name)
    }

    fn perform(
        &self,
        operator: OperatorKey,
        origin: RequestOrigin,
        request: Request,
    ) -> AnswerFuture<'_> {
        Box::pin(async move { self.answer(operator, origin, &request).await })
    }

    fn refused(&self, key: Option<&str>, code: Code, detail: &str) {
        self.refusals.add(self.now(), key, code, detail);
    }

    fn now(&self) -> TimestampMs {
        crate::http::now()
    }
}
