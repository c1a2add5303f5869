//! The matrix of roles, scopes and routes: who may use what.
//!
//! The table is written by hand. A route or an admin command that it lacks fails a test, and every
//! combination of a role and a scope is sent through the gateway.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use verdict_admin::every_request;
use verdict_config::settings::Role;
use verdict_node::http::ROUTES;
use verdict_node::http::keys::digest;

use crate::gateway::World;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// No key.
    Nothing,
    /// A role; a key that is limited to flows or regions is enough, within its limits.
    Role(Role),
    /// A role without limits: the route concerns the whole cluster, or units of any flow.
    Whole(Role),
}

use Needs::{Nothing, Whole};
use Role::{Decider, Editor, Operator, Releaser, Viewer};

const fn role(role: Role) -> Needs {
    Needs::Role(role)
}

const MATRIX: &[(&str, &str, Needs)] = &[
    ("get", "/v1/decisions", role(Viewer)),
    ("get", "/v1/decisions/{key}", role(Viewer)),
    ("post", "/v1/decisions/{key}", role(Decider)),
    ("post", "/v1/outcomes", role(Decider)),
    ("delete", "/v1/units/{key}", Whole(Operator)),
    ("post", "/v1/changes", role(Editor)),
    ("post", "/v1/rollback", role(Releaser)),
    ("get", "/v1/history", role(Viewer)),
    ("get", "/v1/objects/{kind}", role(Viewer)),
    ("get", "/v1/objects/{kind}/{name}", role(Viewer)),
    ("post", "/v1/models", role(Editor)),
    ("get", "/v1/models/{name}", role(Viewer)),
    ("get", "/v1/watch", role(Viewer)),
    ("get", "/v1/status", role(Viewer)),
    ("get", "/v1/admin/members", role(Viewer)),
    ("post", "/v1/admin/members/{key}", Whole(Operator)),
    ("get", "/v1/admin/backup", Whole(Operator)),
    ("post", "/v1/admin/tokens", Whole(Operator)),
    ("get", "/v1/admin/diff", role(Viewer)),
    ("get", "/v1/admin/actors", role(Viewer)),
    ("get", "/v1/admin/blobs", role(Viewer)),
    ("get", "/v1/admin/refusals", Whole(Operator)),
    ("post", "/v1/admin/loglevel", Whole(Operator)),
    ("post", "/v1/admin/clock", Whole(Operator)),
    ("post", "/v1/admin/drain", Whole(Operator)),
    ("post", "/v1/admin/certificates", Whole(Operator)),
    ("post", "/v1/admin/certificates/own", role(Decider)),
    ("get", "/v1/admin/authority", role(Viewer)),
    ("post", "/v1/admin/authority/{step}", Whole(Operator)),
    ("post", "/v1/admin/transfers", role(Editor)),
    ("get", "/v1/admin/transfers/{id}", role(Editor)),
    ("post", "/v1/admin/transfers/{id}", role(Editor)),
    ("delete", "/v1/admin/transfers/{id}", role(Editor)),
    ("post", "/ofrep/v1/evaluate/flags", role(Decider)),
    ("post", "/ofrep/v1/evaluate/flags/", role(Decider)),
    ("post", "/ofrep/v1/evaluate/flags/{key}", role(Decider)),
    ("get", "/ofrep/v1/events", role(Decider)),
    ("get", "/healthz", Nothing),
    ("get", "/readyz", Nothing),
    ("get", "/metrics", Nothing),
    ("get", "/openapi.json", Nothing),
];

impl Needs {
    /// Whether a key may use the route; none: the request has no key.
    fn admits(self, key: Option<(Role, bool)>) -> bool {
        match (self, key) {
            (Nothing, _) => true,
            (_, None) => false,
            (Self::Role(needs), Some((role, _))) => role >= needs,
            (Whole(needs), Some((role, limited))) => role >= needs && !limited,
        }
    }
}

/// A path of a route, with something in its places.
fn path_of(route: &str) -> String {
    let names =
        [("{kind}", "list"), ("{name}", "n"), ("{step}", "use"), ("{id}", "0"), ("{key}", "3")];
    let in_place = match route {
        "/v1/admin/members/{key}" => "/v1/admin/members/3:promote".to_owned(),
        "/v1/decisions/{key}" => "/v1/decisions/payment".to_owned(),
        _ => route.to_owned(),
    };
    names.iter().fold(in_place, |path, (name, value)| path.replace(name, value))
}

#[test]
fn every_route_stands_in_the_matrix() {
    let mut routes: Vec<(&str, &str)> = ROUTES.to_vec();
    let mut known: Vec<(&str, &str)> =
        MATRIX.iter().map(|(method, path, _)| (*method, *path)).collect();
    routes.sort_unstable();
    known.sort_unstable();
    assert_eq!(routes, known);
}

#[test]
fn every_admin_command_needs_the_role_of_its_route() {
    for request in every_request() {
        let call = request.route();
        let path = call.path.split('?').next().unwrap_or_default();
        let matches = |route: &str| {
            let parts = (route.split('/'), path.split('/'));
            route.split('/').count() == path.split('/').count()
                && parts.0.zip(parts.1).all(|(known, part)| known.starts_with('{') || known == part)
        };
        let method = call.method.to_lowercase();
        let mut rows = MATRIX.iter().filter(|(known, route, _)| *known == method && matches(route));
        // A path without a variable part comes before one with it.
        let row = rows.clone().find(|(_, route, _)| !route.contains('{')).or_else(|| rows.next());
        let (_, route, needs) = row.unwrap_or_else(|| panic!("{} {path}", request.name()));
        let at_least = match needs {
            Needs::Role(role) | Whole(role) => *role,
            Nothing => Decider,
        };
        // A command may need more than the least that its route takes, never less.
        assert!(request.needs() >= at_least, "{} by {route}", request.name());
    }
}

async fn status(world: &World, key: Option<&str>, method: &str, path: &str) -> (u16, String) {
    let mut request = Request::builder()
        .method(method.to_uppercase().parse::<Method>().unwrap())
        .uri(path)
        .header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    // No shape that any route takes: what is let in does nothing.
    let body = if method == "get" { Body::empty() } else { Body::from("[1]") };
    let answer = world.gateway.handle(request.body(body).unwrap()).await;
    let status = answer.status().as_u16();
    if status != 403 {
        return (status, String::new());
    }
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_and_scope_at_every_route() {
    let world = World::start(|_| {}).await;
    let limits = [("flows", "payment"), ("regions", "eu")];
    let mut keys = vec![(None, None)];
    for role in Role::ALL {
        keys.push((Some(role.to_string()), Some((role, false))));
        for (limit, value) in limits {
            let (name, secret) = (format!("{role}-{limit}"), format!("vk_{role}_{limit}"));
            let body =
                json!({ "role": role, "hash": hex::encode(digest(&secret)), limit: [value] });
            let change = json!({ "kind": "key", "name": name, "op": "put", "body": body });
            let set =
                json!({ "request_id": name, "why": "a key of each role", "changes": [change] });
            let reply = world.post("/v1/changes", set).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            keys.push((Some(secret), Some((role, true))));
        }
    }
    for (method, route, needs) in MATRIX {
        for (secret, key) in &keys {
            let (status, told) = status(&world, secret.as_deref(), method, &path_of(route)).await;
            let refused = matches!(status, 401 | 403);
            assert_eq!(
                !refused,
                needs.admits(*key),
                "{method} {route} by {key:?}: {status} {told}"
            );
            if secret.is_none() && *needs != Nothing {
                assert_eq!(status, 401, "{method} {route}");
            } else if refused {
                let code = if needs.admits(key.map(|(role, _)| (role, false))) {
                    "VD0818"
                } else {
                    "VD0802"
                };
                assert!(told.contains(code), "{method} {route} by {key:?}: {told}");
            }
        }
    }
}
