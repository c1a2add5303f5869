//! Calls over real connections: who is answered, and what hostile ends can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use verdict_admin::{
    AdminAddress, CallError, ChangeRequest, Client, ClientOptions, OpenKey, Outcome, Refusal,
    Request, Transfer, connector,
};
use verdict_config::Code;
use verdict_config::settings::Role;

use crate::fixture::{CLUSTER, NODE, World, operator_key};
use crate::process::{ServerProcess, Tell};

async fn client(key: &OpenKey) -> Client {
    Client::new(key, Vec::new(), ClientOptions::default()).await.unwrap()
}

fn change() -> Request {
    Request::Change(ChangeRequest {
        request_id: "r".to_owned(),
        why: "w".to_owned(),
        dry_run: false,
        changes: Vec::new(),
    })
}

/// A server, and an operator whose key it knows.
fn served(role: Role) -> (ServerProcess, OpenKey) {
    let mut server = ServerProcess::start();
    let key = server.world.enrolled("alice", server.at());
    server.enrol([operator_key(&key, role)]);
    (server, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_answered_by_the_node_it_asked() {
    let (mut server, key) = served(Role::Operator);
    let mut client = client(&key).await;
    for _ in 0..3 {
        let answered = client.call(&Request::Status {}).await.unwrap();
        assert_eq!((answered.node_id, answered.revision), (NODE, 17));
        assert_eq!(answered.answer["by"], "alice");
        assert_eq!(answered.answer["from"], "127.0.0.1");
    }
    assert_eq!(server.tell(&Tell::Report)["accepted"], 1, "one connection is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_an_accepted_key_gets_a_coded_refusal() {
    let mut server = ServerProcess::start();
    let key = server.world.enrolled("alice", server.at());
    let code = |error: CallError| error.code();
    // Not enrolled in the catalogue.
    let mut client = client(&key).await;
    assert_eq!(code(client.call(&Request::Status {}).await.unwrap_err()), Code::OperatorUnknown);
    assert_eq!(server.tell(&Tell::Report)["refusals"], json!([[null, "VD0817"]]));
    // Enrolled, of too weak a role; then revoked, on a connection that is open.
    server.enrol([operator_key(&key, Role::Viewer)]);
    assert_eq!(code(client.call(&change()).await.unwrap_err()), Code::Forbidden);
    client.call(&Request::Status {}).await.unwrap();
    server.enrol([]);
    assert_eq!(code(client.call(&Request::Status {}).await.unwrap_err()), Code::OperatorUnknown);
    // Somebody else's key under a known name.
    let impostor = server.world.enrolled("alice", server.at());
    server.enrol([operator_key(&key, Role::Operator)]);
    let mut client = self::client(&impostor).await;
    assert_eq!(code(client.call(&Request::Status {}).await.unwrap_err()), Code::OperatorUnknown);
    let report = server.tell(&Tell::Report);
    assert_eq!(report["refusals"][2], json!(["alice", "VD0817"]));
    assert_eq!(report["asked"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_do_not_trust_each_other() {
    let server = ServerProcess::start();
    let stranger = World::new().enrolled("alice", server.at());
    let options = ClientOptions { rounds: 1, ..ClientOptions::default() };
    let mut client = Client::new(&stranger, Vec::new(), options).await.unwrap();
    let error = client.call(&Request::Status {}).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_address_is_tried_and_a_write_keeps_its_request_id() {
    let mut server = ServerProcess::start();
    // A port that nobody listens on.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut addresses = vec![AdminAddress { node_id: 9, address: gone.to_string() }];
    addresses.extend(server.at());
    let key = server.world.enrolled("alice", addresses);
    server.enrol([operator_key(&key, Role::Operator)]);
    server.tell(&Tell::First(Outcome::Refused(Refusal::new(Code::NoLeader, "elections"))));
    client(&key).await.call(&change()).await.unwrap();
    let asked = server.tell(&Tell::Report)["asked"].clone();
    assert_eq!(asked.as_array().unwrap().len(), 2, "refused for want of a leader, then done");
    assert_eq!(asked[0], asked[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_at_a_node_goes_on_there() {
    let mut server = ServerProcess::start();
    // It takes connections and gives them up: another node, which holds nothing.
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut addresses =
        vec![AdminAddress { node_id: 9, address: other.local_addr().unwrap().to_string() }];
    addresses.extend(server.at());
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        while other.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let key = server.world.enrolled("alice", addresses);
    server.enrol([operator_key(&key, Role::Operator)]);
    let mut client = client(&key).await;
    client.call(&Request::Status {}).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for _ in 0..2 {
        server.tell(&Tell::First(Outcome::Refused(Refusal::new(Code::Overloaded, "work"))));
    }
    let state = Request::Transfer(Transfer::State { id: "t".to_owned() });
    client.call(&state).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "nobody else can go on with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_by_much_are_told_so() {
    let (mut server, key) = served(Role::Operator);
    server.tell(&Tell::AheadMs(600_000));
    let error = client(&key).await.call(&Request::Status {}).await.unwrap_err();
    assert_eq!(error.code(), Code::EnvelopeExpired);
}

/// Hostile ends hold what they can get while an operator asks on.
#[tokio::test(flavor = "multi_thread")]
async fn actors_that_start_again_answer_and_take_nothing_that_was_signed_before() {
    let (mut server, key) = served(Role::Operator);
    let mut client = client(&key).await;
    client.call(&Request::Status {}).await.unwrap();
    server.tell(&Tell::Again);
    client.call(&Request::Status {}).await.unwrap();
    // They start twenty seconds from now: nonces of until then are forgotten.
    server.tell(&Tell::AheadMs(20_000));
    server.tell(&Tell::Again);
    server.tell(&Tell::AheadMs(0));
    let refused = client.call(&Request::Status {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::EnvelopeExpired, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_connections_keep_nobody_out() {
    let mut server = ServerProcess::with_handshakes(32);
    let key = server.world.enrolled("alice", server.at());
    server.enrol([operator_key(&key, Role::Operator)]);
    let mut held = Vec::new();
    for number in 0..100u32 {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(&[0x16, 3, 1, 0xff, 0xff]).await.unwrap();
        }
        held.push(stream);
        if number % 25 == 0 {
            client(&key).await.call(&Request::Status {}).await.unwrap();
        }
    }
    client(&key).await.call(&Request::Status {}).await.unwrap();
    let mut read = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(30), held[1].read_to_end(&mut read));
    drop(closed.await.expect("a silent connection is closed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_no_business_of_a_client_end_its_connection() {
    let (mut server, key) = served(Role::Operator);
    let tls = connector(CLUSTER, &key.chain(), key.pkcs8(), &key.authorities()).unwrap();
    // control { spawn { actors { pid: 1 } } }: the library would make an actor of it.
    let spawn = [0x1a, 0x06, 0x0a, 0x04, 0x0a, 0x02, 0x08, 0x01];
    let oversized = u64::MAX.to_be_bytes();
    for bytes in [[&8u64.to_be_bytes()[..], &spawn].concat(), oversized.to_vec()] {
        let stream = TcpStream::connect(&server.address).await.unwrap();
        let name = "node.verdict.internal".try_into().unwrap();
        let mut stream = tls.connect(name, stream).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut read = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut read));
        drop(closed.await.expect("the guard ends the connection"));
    }
    let until = Instant::now() + Duration::from_secs(30);
    while server.tell(&Tell::Report)["guarded"] != 2 {
        assert!(Instant::now() < until, "a guard counts what it ends");
        tokio::task::yield_now().await;
    }
}
