//! A gateway over a real runtime, without sockets.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use verdict_actors::Handle;
use verdict_actors::catalogue::LastCompiled;
use verdict_config::settings::{Role, Settings};
use verdict_consensus::{Limits, LocalLog, LocalLogOptions, Log};
use verdict_node::folder_sync::{FolderSync, Synced};
use verdict_node::http::keys::{KeyEntry, KeyRing, digest};
use verdict_node::http::{Gateway, GatewayOptions};
use verdict_node::{metrics, process};

const FLOW: &str = "flow: payment
unit: card
fields:
  card: { type: symbol, need: required, max_chars: 64 }
  amount: { type: decimal, need: required, min: 0, max: 1000000 }
rules: [payment]
score: { base: 100, levels: { medium: 300, high: 600, critical: 850 } }
";

const RULES: &str = "rule_set: payment
flow: payment
rules:
  - id: large
    category: fraud
    severity: medium
    when: amount > 5000
    then: { points: 250, reason: LARGE }
    tests:
      - given: { amount: 5000.01 }
        expect: { hit: true, points: 250 }
";

const FLAGS: &str = r#"{ "flags": {
  "limit": { "state": "ENABLED", "variants": { "low": 10.0 }, "defaultVariant": "low" },
  "off": { "state": "DISABLED", "variants": { "on": true }, "defaultVariant": "on" }
} }"#;

/// A gateway and the node behind it, in a folder that goes away.
pub struct World {
    pub gateway: Gateway,
    pub handle: Handle,
    pub folder: tempfile::TempDir,
}

pub fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

impl World {
    pub async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_limits(Limits::default(), change).await
    }

    /// A node whose catalogue keeps no more history than that.
    pub async fn with_limits(limits: Limits, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = folder.path().join("catalogue");
        write(&catalogue, "flows/payment.yaml", FLOW);
        write(&catalogue, "rules/payment.yaml", RULES);
        write(&catalogue, "flags/all.flagd.json", FLAGS);
        let mut settings = Settings::default();
        settings.node.data_dir = folder.path().join("data").display().to_string();
        change(&mut settings);
        let parts = process::RuntimeParts {
            log: local_log(&settings, limits),
            blobs: process::open_blobs(&settings).unwrap(),
            peers: None,
            compiled: LastCompiled::default(),
        };
        let handle = process::start_runtime(&settings, parts, 1).await.unwrap();
        let mut sync =
            FolderSync::new(catalogue, folder.path().join("memory.json"), handle.clone());
        let synced = sync.settle().await.unwrap();
        assert!(matches!(synced, Synced::Applied { .. }), "{synced:?}");
        let revision = handle.log().catalogue().revision();
        handle.wait_for_revision(revision, std::time::Duration::from_secs(20)).await.unwrap();
        let key = |name: &str, role| KeyEntry { name: name.into(), role, digest: digest(name) };
        let gateway = Gateway::new(GatewayOptions {
            refusals: Arc::default(),
            stop: tokio_util::sync::CancellationToken::new(),
            tasks: tokio_util::task::TaskTracker::new(),
            runtime: handle.clone(),
            http: settings.http.clone(),
            flags_strict: true,
            keys: KeyRing::new(vec![
                key("decider", Role::Decider),
                key("viewer", Role::Viewer),
                key("editor", Role::Editor),
                key("releaser", Role::Releaser),
                key("operator", Role::Operator),
            ]),
            prometheus: metrics::install().unwrap(),
            cluster: None,
            data_dir: settings.node.data_dir.clone().into(),
            activation_wait: std::time::Duration::from_secs(5),
        });
        gateway.set_ready();
        Self { gateway, handle, folder }
    }

    pub async fn send(&self, key: &str, method: &str, path: &str, body: &[u8]) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-api-key", key)
            .header("content-type", "application/json")
            .body(Body::from(body.to_vec()))
            .unwrap();
        self.send_request(request).await
    }

    pub async fn post(&self, path: &str, body: Json) -> Reply {
        self.send("operator", "POST", path, body.to_string().as_bytes()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("operator", "GET", path, b"").await
    }

    pub async fn send_request(&self, request: Request<Body>) -> Reply {
        Reply::read(self.gateway.handle(request).await).await
    }
}

/// An answer, read.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub text: String,
}

impl Reply {
    async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Self { status: parts.status, headers: parts.headers, text }
    }

    pub fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub fn payment(amount: f64) -> Json {
    json!({ "input": { "card": "c1", "amount": amount } })
}

/// The log of a node without a cluster, in the state folder.
fn local_log(settings: &Settings, limits: Limits) -> Arc<dyn Log> {
    let folder = std::path::Path::new(&settings.node.data_dir).join("log");
    std::fs::create_dir_all(&folder).unwrap();
    let options = LocalLogOptions { limits, ..LocalLogOptions::new(now) };
    let (log, _) = LocalLog::open(&folder, options).unwrap();
    Arc::new(log)
}

#[allow(clippy::disallowed_methods, reason = "of a test")]
fn now() -> verdict_config::TimestampMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    verdict_config::TimestampMs(i64::try_from(since.as_millis()).unwrap())
}
