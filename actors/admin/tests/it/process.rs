//! A node's admin server in a process of its own: ractor's registries are global to a process, so
//! that both ends in one would see each other's actors.
//!
//! The process is this test binary again, told to run [`serve_until_told`]. It takes one JSON line a
//! command and answers with one line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use verdict_admin::{
    ADMIN_GROUP, AdminActorOptions, AdminAddress, AdminIdentity, AdminServer, AdminServerOptions,
    AdminService, AnswerFuture, Answering, OperatorKey, Outcome, Refusal, Request, RequestOrigin,
};
use verdict_config::settings::Role;
use verdict_config::{Code, TimestampMs};
use verdict_consensus::peers::Authority;

use crate::fixture::{CLUSTER, NODE, World, real_now};

const AS_SERVER: &str = "ADMIN_TEST_AS_SERVER";
/// Begins the lines that are meant for the test.
const MARK: &str = "admin-test: ";

/// A key as a command carries it.
#[derive(Serialize, Deserialize)]
pub struct Enrolled {
    pub name: String,
    pub public_key: String,
    pub role: Role,
}

impl From<OperatorKey> for Enrolled {
    fn from(key: OperatorKey) -> Self {
        Self { name: key.name, public_key: hex::encode(key.public_key), role: key.role }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tell {
    Keys(Vec<Enrolled>),
    AheadMs(i64),
    First(Outcome),
    /// The actors end, and start again.
    Again,
    Report,
}

/// A node that answers with what it was asked.
#[derive(Default)]
struct Node {
    keys: Mutex<Vec<OperatorKey>>,
    asked: Mutex<Vec<Json>>,
    refusals: Mutex<Vec<Json>>,
    ahead_ms: AtomicI64,
    first: Mutex<Vec<Outcome>>,
}

impl AdminService for Node {
    fn operator(&self, name: &str) -> Option<OperatorKey> {
        self.keys.lock().iter().find(|key| key.name == name).cloned()
    }

    fn perform(
        &self,
        operator: OperatorKey,
        origin: RequestOrigin,
        request: Request,
    ) -> AnswerFuture<'_> {
        Box::pin(async move {
            if operator.role < request.needs() {
                let detail = format!("this needs the role {}", request.needs());
                return Outcome::Refused(Refusal::new(Code::Forbidden, detail));
            }
            let answer =
                json!({ "asked": request.name(), "by": operator.name, "from": origin.from });
            self.asked.lock().push(serde_json::to_value(&request).unwrap());
            let first = self.first.lock().pop();
            first.unwrap_or(Outcome::Done { revision: 17, answer, trust: String::new() })
        })
    }

    fn refused(&self, key: Option<&str>, code: Code, _: &str) {
        self.refusals.lock().push(json!([key, code.as_str()]));
    }

    fn now(&self) -> TimestampMs {
        TimestampMs(real_now().0 + self.ahead_ms.load(Ordering::Relaxed))
    }
}

/// The process. Does nothing where it was not started as one.
#[tokio::test(flavor = "multi_thread")]
async fn serve_until_told() {
    let Ok(options) = std::env::var(AS_SERVER) else { return };
    let handshakes_max = options.parse().unwrap();
    let world = World::new();
    let node = Arc::new(Node::default());
    let answering =
        Answering { cluster_id: CLUSTER.to_owned(), node_id: NODE, started_at: real_now() };
    let identity =
        AdminIdentity::new((&world.node_chain, &[]), &world.node_key.pkcs8(), &world.authorities());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let actor = AdminActorOptions {
        answering,
        identity: identity.unwrap().into(),
        service: Arc::clone(&node) as Arc<dyn AdminService>,
    };
    let options = AdminServerOptions { handshakes_max, ..AdminServerOptions::default() };
    let server = AdminServer::new(listener, actor, options).unwrap();
    server.start_alone().await.unwrap();
    let authority = hex::encode(world.authority.certificate());
    say(&json!({ "address": server.address.to_string(), "authority": authority,
        "key": world.authority.key_pem() }));
    tokio::task::spawn_blocking({
        let node = Arc::clone(&node);
        let counts = Arc::clone(&server.counts);
        let (server, runtime) = (server.clone(), tokio::runtime::Handle::current());
        move || {
            for line in std::io::stdin().lock().lines() {
                match serde_json::from_str(&line.unwrap()).unwrap() {
                    Tell::Keys(keys) => *node.keys.lock() = keys.into_iter().map(known).collect(),
                    Tell::AheadMs(ahead) => node.ahead_ms.store(ahead, Ordering::Relaxed),
                    Tell::First(outcome) => node.first.lock().push(outcome),
                    Tell::Again => runtime.block_on(again(&server)),
                    Tell::Report => {}
                }
                say(&json!({
                    "asked": *node.asked.lock(), "refusals": *node.refusals.lock(),
                    "accepted": counts.accepted.load(Ordering::Relaxed),
                    "guarded": counts.guarded.load(Ordering::Relaxed),
                }));
            }
        }
    })
    .await
    .unwrap();
    server.stop().await;
}

/// What a supervisor does when the actors have failed.
async fn again(server: &AdminServer) {
    for actor in ractor::pg::get_members(&ADMIN_GROUP.to_owned()) {
        actor.stop_and_wait(None, None).await.unwrap();
    }
    ractor::Actor::spawn(None, server.sessions(), ()).await.unwrap();
    ractor::Actor::spawn(None, server.actor(), ()).await.unwrap();
}

fn known(key: Enrolled) -> OperatorKey {
    OperatorKey {
        name: key.name,
        public_key: hex::decode(key.public_key).unwrap(),
        role: key.role,
        flows: None,
        regions: None,
        expires: None,
    }
}

fn say(line: &Json) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{MARK}{line}").unwrap();
    out.flush().unwrap();
}

/// A server process, as a test sees it.
pub struct ServerProcess {
    child: Child,
    tell: Option<ChildStdin>,
    told: BufReader<ChildStdout>,
    pub address: String,
    pub world: World,
}

impl ServerProcess {
    pub fn start() -> Self {
        Self::with_handshakes(256)
    }

    pub fn with_handshakes(handshakes_max: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["process::serve_until_told", "--exact", "--nocapture"])
            .env(AS_SERVER, handshakes_max.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, told) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let (address, world) = (String::new(), World::new());
        let mut process = Self { child, tell, told, address, world };
        let ready = process.next();
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        process.address = text("address");
        let certificate = hex::decode(text("authority")).unwrap();
        process.world.authority =
            Authority::from_parts(CLUSTER, certificate, &text("key")).unwrap();
        process
    }

    pub fn at(&self) -> Vec<AdminAddress> {
        vec![AdminAddress { node_id: NODE, address: self.address.clone() }]
    }

    pub fn tell(&mut self, tell: &Tell) -> Json {
        let line = serde_json::to_string(tell).unwrap();
        writeln!(self.tell.as_mut().unwrap(), "{line}").unwrap();
        self.next()
    }

    pub fn enrol(&mut self, keys: impl IntoIterator<Item = OperatorKey>) {
        self.tell(&Tell::Keys(keys.into_iter().map(Enrolled::from).collect()));
    }

    fn next(&mut self) -> Json {
        loop {
            let mut line = String::new();
            assert!(self.told.read_line(&mut line).unwrap() > 0, "the server process ended");
            if let Some(json) = line.strip_prefix(MARK) {
                return serde_json::from_str(json).unwrap();
            }
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.tell.take());
        drop(self.child.wait());
    }
}
