//! Real connections on loopback: who is let in, who is not, and what a bad peer costs the others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use verdict_config::TimestampMs;

use super::*;
use crate::raft::{NodeAttributes, Peer, PeerChannel, PeerError, PeerTransport};

const CLUSTER: &str = "01hzy3test";
const WAIT: Duration = Duration::from_secs(20);

/// Longer than a connection of these tests may be silent.
const SLOW: Duration = Duration::from_millis(2_500);

#[allow(clippy::disallowed_methods, reason = "of a test")]
fn now() -> TimestampMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    TimestampMs(i64::try_from(since.as_millis()).unwrap())
}

fn authority() -> Authority {
    Authority::generate(CLUSTER, now()).unwrap()
}

fn identity(authority: &Authority, node_id: u64) -> PeerIdentity {
    trusting(authority, node_id, &[authority])
}

/// A node with a certificate of one authority that trusts several.
fn trusting(authority: &Authority, node_id: u64, trusted: &[&Authority]) -> PeerIdentity {
    let key = NodeKey::generate().unwrap();
    let certificate = authority.issue(node_id, &key.public(), now()).unwrap();
    let trusted: Vec<_> = trusted.iter().map(|other| other.certificate().to_vec()).collect();
    PeerIdentity::new(CLUSTER, node_id, &[certificate], &key.pkcs8(), &trusted).unwrap()
}

/// Says who asked, and gives the request back.
struct Echo;

impl PeerService for Echo {
    fn answer(&self, from: u64, channel: PeerChannel, request: Vec<u8>) -> ServiceFuture<'_> {
        Box::pin(async move {
            if request == b"never" {
                std::future::pending::<()>().await;
            }
            if request == b"slow" {
                tokio::time::sleep(SLOW).await;
            }
            let mut answer = format!("{from} {channel:?} ").into_bytes();
            answer.extend_from_slice(&request);
            answer
        })
    }

    fn join(&self, certificate: Option<Vec<u8>>, request: Vec<u8>) -> ServiceFuture<'_> {
        Box::pin(async move {
            let shown = certificate.and_then(|der| node_of_certificate(&der, CLUSTER));
            let shown = shown.map(|node_id| format!("as {node_id} ")).unwrap_or_default();
            [b"join ".as_slice(), shown.as_bytes(), &request].concat()
        })
    }
}

struct Host {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Host {
    async fn start(identity: impl Into<SharedPeerIdentity>, options: PeerServerOptions) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), identity, options).await
    }

    async fn start_at(
        address: SocketAddr,
        identity: impl Into<SharedPeerIdentity>,
        options: PeerServerOptions,
    ) -> Self {
        let listener = PeerListener::bind(address, identity, options).await.unwrap();
        let address = listener.address().unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(listener.serve(Arc::new(Echo), stop.clone()));
        Self { address, stop, tasks }
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn peer(&self, node_id: u64) -> Peer {
        let attributes =
            NodeAttributes { peer_address: self.address.to_string(), ..NodeAttributes::default() };
        Peer { node_id, attributes: Arc::new(attributes) }
    }
}

fn clients(identity: impl Into<SharedPeerIdentity>) -> PeerClients {
    let options = PeerClientsOptions {
        connect_timeout: Duration::from_secs(10),
        pause_min: Duration::from_millis(1),
        pause_max: Duration::from_millis(2),
        ..PeerClientsOptions::default()
    };
    PeerClients::new(identity, options)
}

async fn call(
    clients: &PeerClients,
    peer: &Peer,
    channel: PeerChannel,
    request: &[u8],
) -> Result<Vec<u8>, PeerError> {
    clients.call(peer.clone(), channel, request.to_vec(), WAIT).await
}

#[tokio::test]
async fn peers_know_each_other_and_answers_find_their_requests() {
    let authority = authority();
    let host = Host::start(identity(&authority, 1), PeerServerOptions::default()).await;
    let clients = Arc::new(clients(identity(&authority, 2)));
    let peer = host.peer(1);
    let answer = call(&clients, &peer, PeerChannel::Raft, b"hello").await.unwrap();
    assert_eq!(answer, b"2 Raft hello");
    // Many at once, on two channels, long and short ones mixed.
    let asked = (0..60usize).map(|number| {
        let (clients, peer) = (Arc::clone(&clients), peer.clone());
        async move {
            let channel =
                if number % 2 == 0 { PeerChannel::Forward } else { PeerChannel::Snapshot };
            let request = vec![b'a' + (number % 26) as u8; 1 + (number % 7) * 100_000];
            let answer = call(&clients, &peer, channel, &request).await.unwrap();
            assert_eq!(answer, [format!("2 {channel:?} ").as_bytes(), &request].concat());
        }
    });
    futures::future::join_all(asked).await;
    assert_eq!(clients.counts().opened.load(std::sync::atomic::Ordering::Relaxed), 3);
    host.end().await;
}

#[tokio::test]
async fn a_route_leads_to_a_node_and_who_it_is_is_checked_all_the_same() {
    let authority = authority();
    let host = Host::start(identity(&authority, 1), PeerServerOptions::default()).await;
    let route = host.address.to_string();
    let options = PeerClientsOptions {
        routes: [(1, route.clone()), (3, route)].into(),
        ..PeerClientsOptions::default()
    };
    let clients = PeerClients::new(identity(&authority, 2), options);
    // It advertises an address that leads nowhere from here.
    let attributes = Arc::new(NodeAttributes {
        peer_address: "127.0.0.1:1".to_owned(),
        ..NodeAttributes::default()
    });
    let peer = |node_id| Peer { node_id, attributes: Arc::clone(&attributes) };
    let answer = call(&clients, &peer(1), PeerChannel::Raft, b"hello").await.unwrap();
    assert_eq!(answer, b"2 Raft hello");
    let wrong = call(&clients, &peer(3), PeerChannel::Raft, b"hello").await;
    assert!(matches!(wrong, Err(PeerError::Unreachable(_))), "{wrong:?}");
    host.end().await;
}

#[tokio::test]
async fn whoever_is_not_who_they_say_is_refused() {
    let (ours, theirs) = (authority(), authority());
    let host = Host::start(identity(&ours, 1), PeerServerOptions::default()).await;
    let unreachable = |result: Result<Vec<u8>, PeerError>| match result {
        Err(PeerError::Unreachable(why)) => why,
        other => panic!("{other:?}"),
    };
    // An authority of another cluster with the same name.
    let foreign = clients(identity(&theirs, 2));
    let refused = call(&foreign, &host.peer(1), PeerChannel::Raft, b"x").await;
    assert!(matches!(refused, Err(PeerError::Distrusted(1))), "{refused:?}");
    // A peer at whose address another node lives now.
    let honest = clients(identity(&ours, 2));
    unreachable(call(&honest, &host.peer(3), PeerChannel::Raft, b"x").await);
    // A certificate of node 2 in the hands of one who says to be node 5.
    let mut liar = identity(&ours, 2);
    liar.node_id = 5;
    let why = unreachable(call(&clients(liar), &host.peer(1), PeerChannel::Raft, b"x").await);
    assert!(why.contains("certificate"), "{why}");
    // The right keys, and another cluster's name.
    let mut other = identity(&ours, 2);
    other.cluster_id = "another".into();
    unreachable(call(&clients(other), &host.peer(1), PeerChannel::Raft, b"x").await);
    host.end().await;
}

#[tokio::test]
async fn without_a_certificate_one_may_ask_to_join_and_nothing_else() {
    let authority = authority();
    let host = Host::start(identity(&authority, 1), PeerServerOptions::default()).await;
    let address = host.address.to_string();
    let ask = async |tls: &JoiningTls| {
        PeerClients::ask_to_join(&address, (CLUSTER, 1), tls, b"me".to_vec(), WAIT).await
    };
    let joining = JoiningTls::trusting(&[authority.certificate().to_vec()]).unwrap();
    assert_eq!(ask(&joining).await.unwrap(), b"join me");
    // One that was given a certificate shows it.
    let shown = identity(&authority, 9).joining();
    assert_eq!(ask(&shown).await.unwrap(), b"join as 9 me");
    // Trusting another authority than the host's.
    let other = Authority::generate(CLUSTER, now()).unwrap();
    let strange = JoiningTls::trusting(&[other.certificate().to_vec()]).unwrap();
    let answer = ask(&strange).await;
    assert!(matches!(answer, Err(PeerError::Unreachable(_))), "{answer:?}");
    // A hello for a channel of members.
    let JoiningTls(connector) = joining;
    let stream = TcpStream::connect(host.address).await.unwrap();
    let name = tls::server_name(CLUSTER, 1).unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let hello = handshake::Hello {
        purpose: handshake::Purpose::Channel(PeerChannel::Raft),
        from: 1,
        to: 1,
        cluster_id: CLUSTER.to_owned(),
    };
    let refused = handshake::greet(&mut stream, &hello).await.unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
    host.end().await;
}

#[tokio::test]
async fn silent_and_wild_connections_hold_nobody_up() {
    let authority = authority();
    let options =
        PeerServerOptions { handshake_timeout: Duration::from_millis(300), ..Default::default() };
    let host = Host::start(identity(&authority, 1), options).await;
    let mut silent = Vec::new();
    for number in 0..100u8 {
        let mut stream = TcpStream::connect(host.address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(&[number; 64]).await.unwrap();
        }
        silent.push(stream);
    }
    let clients = clients(identity(&authority, 2));
    let answer = call(&clients, &host.peer(1), PeerChannel::Raft, b"hello").await.unwrap();
    assert_eq!(answer, b"2 Raft hello");
    // Every one of them is sent away.
    for mut stream in silent {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(WAIT, stream.read_to_end(&mut rest)).await;
        ended.expect("the connection is closed").ok();
    }
    host.end().await;
}

#[tokio::test]
async fn an_authority_gives_way_to_another_and_no_request_fails() {
    let (old, new) = (authority(), authority());
    let both = [&old, &new];
    let (ours, theirs): (SharedPeerIdentity, SharedPeerIdentity) =
        (identity(&old, 1).into(), identity(&old, 2).into());
    let host = Host::start(ours.clone(), PeerServerOptions::default()).await;
    let peer = host.peer(1);
    let calling = clients(theirs.clone());
    let late = clients(trusting(&old, 3, &both));
    let check = async || {
        for channel in [PeerChannel::Raft, PeerChannel::Forward] {
            let answer = call(&calling, &peer, channel, b"hello").await.unwrap();
            assert_eq!(answer, format!("2 {channel:?} hello").into_bytes());
        }
    };
    check().await;
    // Installed at both ends, then used at one after the other.
    ours.replace(trusting(&old, 1, &both));
    check().await;
    theirs.replace(trusting(&old, 2, &both));
    check().await;
    ours.replace(trusting(&new, 1, &both));
    check().await;
    theirs.replace(trusting(&new, 2, &both));
    check().await;
    call(&late, &peer, PeerChannel::Raft, b"hello").await.unwrap();
    let slow = late.call(peer.clone(), PeerChannel::Forward, b"never".to_vec(), WAIT);
    // Removed: whoever comes by the old one is let out, at once, and not in again.
    let removing = async {
        while late.counts().opened.load(std::sync::atomic::Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        ours.replace(identity(&new, 1));
    };
    let (ended, ()) = tokio::join!(slow, removing);
    assert!(matches!(ended, Err(PeerError::NoAnswer(_) | PeerError::Unreachable(_))), "{ended:?}");
    let refused = call(&late, &peer, PeerChannel::Raft, b"hello").await;
    assert!(refused.is_err(), "{refused:?}");
    check().await;
    theirs.replace(identity(&new, 2));
    check().await;
    host.end().await;
}

#[tokio::test]
async fn a_frame_that_is_too_long_ends_its_connection_only() {
    let authority = authority();
    let host = Host::start(identity(&authority, 1), PeerServerOptions::default()).await;
    let clients = clients(identity(&authority, 2));
    let peer = host.peer(1);
    let too_long = vec![0; PEER_FRAME_BYTES_MAX + 1];
    let refused = call(&clients, &peer, PeerChannel::Forward, &too_long).await;
    assert!(refused.is_err(), "{refused:?}");
    let answer = call(&clients, &peer, PeerChannel::Raft, b"hello").await.unwrap();
    assert_eq!(answer, b"2 Raft hello");
    let again = call(&clients, &peer, PeerChannel::Forward, b"short").await.unwrap();
    assert_eq!(again, b"2 Forward short");
    host.end().await;
}

#[tokio::test]
async fn no_answer_in_time_is_told_and_the_next_request_takes_another_connection() {
    let authority = authority();
    let host = Host::start(identity(&authority, 1), PeerServerOptions::default()).await;
    let clients = clients(identity(&authority, 2));
    let peer = host.peer(1);
    let short = Duration::from_millis(200);
    let late = clients.call(peer.clone(), PeerChannel::Raft, b"never".to_vec(), short).await;
    assert!(matches!(late, Err(PeerError::NoAnswer(_))), "{late:?}");
    let answer = call(&clients, &peer, PeerChannel::Raft, b"hello").await.unwrap();
    assert_eq!(answer, b"2 Raft hello");
    assert_eq!(clients.counts().opened.load(std::sync::atomic::Ordering::Relaxed), 2);
    host.end().await;
}

#[tokio::test]
async fn a_peer_that_restarts_is_found_again() {
    let authority = authority();
    let host = Host::start(identity(&authority, 1), PeerServerOptions::default()).await;
    let (address, peer) = (host.address, host.peer(1));
    let clients = clients(identity(&authority, 2));
    call(&clients, &peer, PeerChannel::Raft, b"hello").await.unwrap();
    host.end().await;
    let gone = call(&clients, &peer, PeerChannel::Raft, b"hello").await;
    assert!(gone.is_err(), "{gone:?}");
    let host = Host::start_at(address, identity(&authority, 1), PeerServerOptions::default()).await;
    let found = async {
        while call(&clients, &peer, PeerChannel::Raft, b"hello").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, found).await.expect("the peer is found");
    host.end().await;
}

#[test]
fn an_authority_is_the_same_after_it_was_kept() {
    let first = authority();
    let kept = Authority::from_parts(CLUSTER, first.certificate().to_vec(), &first.key_pem());
    let key = NodeKey::from_pem(&NodeKey::generate().unwrap().to_pem()).unwrap();
    let certificate = kept.unwrap().issue(7, &key.public(), now()).unwrap();
    let trusted = [first.certificate().to_vec()];
    let identity =
        PeerIdentity::new(CLUSTER, 7, std::slice::from_ref(&certificate), &key.pkcs8(), &trusted);
    assert_eq!(identity.unwrap().node_id, 7);
    let wrong = PeerIdentity::new(CLUSTER, 8, &[certificate], &key.pkcs8(), &trusted);
    assert!(wrong.unwrap_err().to_string().contains("node-8"));
    assert!(first.issue(7, b"no key", now()).is_err());
}

/// A way to a host whose open connections swallow bytes once that is asked for, from the caller or to it.
struct Swallowing {
    address: SocketAddr,
    swallow: tokio::sync::watch::Sender<(u64, bool)>,
    _task: tokio::task::JoinHandle<()>,
}

impl Swallowing {
    #[allow(clippy::disallowed_methods, reason = "of a test")]
    async fn start(target: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (swallow, asked) = tokio::sync::watch::channel((0, false));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(target).await.unwrap();
                let (client_read, client_write) = client.into_split();
                let (server_read, server_write) = server.into_split();
                let opened = asked.borrow().0;
                tokio::spawn(carry(asked.clone(), (opened, false), client_read, server_write));
                tokio::spawn(carry(asked.clone(), (opened, true), server_read, client_write));
            }
        });
        Self { address, swallow, _task: task }
    }

    /// Lets the connections of now swallow what goes to the host, or what comes from it.
    fn swallow(&self, from_host: bool) {
        self.swallow.send_modify(|(count, way)| (*count, *way) = (*count + 1, from_host));
    }
}

async fn carry(
    asked: tokio::sync::watch::Receiver<(u64, bool)>,
    (opened, from_host): (u64, bool),
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let (asked, way) = *asked.borrow();
        if (asked == opened || way != from_host) && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_swallows_bytes_is_replaced_on_every_channel() {
    let authority = authority();
    let host = Host::start(identity(&authority, 1), PeerServerOptions::default()).await;
    let way = Swallowing::start(host.address).await;
    let options = PeerClientsOptions {
        silence_max: Duration::from_millis(600),
        routes: [(1, way.address.to_string())].into(),
        ..PeerClientsOptions::default()
    };
    let clients = PeerClients::new(identity(&authority, 2), options);
    let peer = host.peer(1);
    let channels =
        [PeerChannel::Raft, PeerChannel::Snapshot, PeerChannel::Forward, PeerChannel::Blob];
    for channel in channels {
        for from_host in [false, true] {
            call(&clients, &peer, channel, b"hello").await.unwrap();
            way.swallow(from_host);
            let lost = call(&clients, &peer, channel, b"hello").await;
            assert!(matches!(lost, Err(PeerError::NoAnswer(_))), "{channel:?}: {lost:?}");
            let again = call(&clients, &peer, channel, b"hello").await;
            assert!(again.is_ok(), "{channel:?}: {again:?}");
        }
        // A response that takes its time comes over a connection that is sound: it is not replaced.
        let opened = clients.counts().opened.load(std::sync::atomic::Ordering::Relaxed);
        let slow = call(&clients, &peer, channel, b"slow").await;
        assert_eq!(slow.unwrap(), format!("2 {channel:?} slow").into_bytes());
        assert_eq!(clients.counts().opened.load(std::sync::atomic::Ordering::Relaxed), opened);
    }
    host.end().await;
}
