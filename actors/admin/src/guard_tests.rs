//! What passes a guard, and what ends the connection.

use super::mirror::{Call, Control, Network, Node, Reply};
use super::*;

fn call(tag: u64, timeout_ms: Option<u64>) -> Network {
    let call = Call {
        to: 7,
        what: b"sealed".to_vec(),
        tag,
        timeout_ms,
        variant: "request".to_owned(),
        metadata: None,
    };
    let node = Node { cast: None, call: Some(call), reply: None };
    Network { auth: None, node: Some(node), control: None }
}

fn control(control: Control) -> Network {
    Network { auth: None, node: None, control: Some(control) }
}

fn ready() -> Network {
    control(Control { ping: None, pong: None, ready: Some(Vec::new()) })
}

fn pong() -> Network {
    control(Control { ping: None, pong: Some(Vec::new()), ready: None })
}

fn watch() -> Watch {
    Watch::new(GuardLimits::default(), Instant::now())
}

/// Whether a frame passes, after those before it did.
fn check(before: &[Network], frame: &Network, passes: bool) {
    let mut watch = watch();
    let now = Instant::now();
    for frame in before {
        watch.inbound(&frame.encode_to_vec(), now).unwrap();
    }
    let passed = watch.inbound(&frame.encode_to_vec(), now);
    assert_eq!(passed.is_ok(), passes, "{frame:?}: {passed:?}");
    if let Ok(passed) = passed {
        assert_eq!(passed, frame.encode_to_vec());
    }
}

#[test]
fn a_call_says_where_its_peer_is_whatever_the_peer_says() {
    let from: IpAddr = "192.0.2.7".parse().unwrap();
    let mut watch = Watch { from: Some(from), ..watch() };
    let now = Instant::now();
    watch.inbound(&ready().encode_to_vec(), now).unwrap();
    let mut claimed = call(1, Some(1_000));
    claimed.node.as_mut().unwrap().call.as_mut().unwrap().metadata = Some(b"10.0.0.1".to_vec());
    let passed = watch.inbound(&claimed.encode_to_vec(), now).unwrap();
    let passed = Network::decode(&passed[..]).unwrap().node.unwrap().call.unwrap();
    assert_eq!(passed.metadata.as_deref(), Some(&b"192.0.2.7"[..]));
}

#[test]
fn a_greeting_calls_and_pongs_pass() {
    let auth = Network { auth: Some(vec![1, 2]), node: None, control: None };
    check(&[], &auth, true);
    check(std::slice::from_ref(&auth), &ready(), true);
    check(&[ready()], &call(1, Some(1_000)), true);
    check(&[ready()], &pong(), true);
}

#[test]
fn what_a_client_has_no_business_with_is_refused() {
    // A call before the greeting, and a greeting after it.
    check(&[], &call(1, Some(1_000)), false);
    let auth = Network { auth: Some(Vec::new()), node: None, control: None };
    check(&[ready()], &auth, false);
    // Without a time, or with one beyond the limit.
    check(&[ready()], &call(1, None), false);
    check(&[ready()], &call(1, Some(600_000)), false);
    // Two things in one frame.
    let both = Network { control: ready().control, ..call(1, Some(1_000)) };
    check(&[ready()], &both, false);
    // A cast and a reply.
    let cast = Node { cast: Some(vec![8, 7]), call: None, reply: None };
    check(&[ready()], &Network { auth: None, node: Some(cast), control: None }, false);
    let reply = Node { cast: None, call: None, reply: Some(Reply { to: 1, tag: 1, what: vec![] }) };
    check(&[ready()], &Network { auth: None, node: Some(reply), control: None }, false);
    // Nothing at all.
    check(&[ready()], &Network { auth: None, node: None, control: None }, false);
    check(&[ready()], &control(Control { ping: None, pong: None, ready: None }), false);
}

#[test]
fn the_librarys_other_control_messages_are_refused() {
    // spawn 1, terminate 2, pg_join 5, pg_leave 6, enumerate 7, sessions 8: each an empty message.
    for field in [1u8, 2, 5, 6, 7, 8] {
        let bytes = [0x1a, 0x02, field << 3 | 2, 0x00];
        let refused = watch().inbound(&bytes, Instant::now());
        assert!(matches!(refused, Err(GuardEnd::Refused(_))), "{field}: {refused:?}");
        // Beside a pong the message may pass, because the library never sees it.
        let bytes = [0x1a, 0x04, field << 3 | 2, 0x00, 4 << 3 | 2, 0x00];
        let passed = watch().inbound(&bytes, Instant::now()).unwrap();
        assert_eq!(passed, pong().encode_to_vec(), "{field}");
    }
}

#[test]
fn calls_at_once_are_bounded_until_they_are_answered_or_late() {
    let mut watch = watch();
    let now = Instant::now();
    watch.inbound(&ready().encode_to_vec(), now).unwrap();
    for tag in 0..8 {
        watch.inbound(&call(tag, Some(1_000)).encode_to_vec(), now).unwrap();
    }
    let ninth = call(8, Some(1_000)).encode_to_vec();
    assert!(watch.inbound(&ninth, now).is_err());
    let reply = Node { cast: None, call: None, reply: Some(Reply { to: 7, tag: 3, what: vec![] }) };
    let reply = Network { auth: None, node: Some(reply), control: None };
    watch.outbound(&reply.encode_to_vec());
    watch.inbound(&ninth, now).unwrap();
    assert!(watch.inbound(&call(9, Some(1_000)).encode_to_vec(), now).is_err());
    watch.inbound(&call(9, Some(1_000)).encode_to_vec(), now + Duration::from_secs(2)).unwrap();
}

#[test]
fn frames_a_second_are_bounded() {
    let mut watch = watch();
    let now = Instant::now();
    watch.refilled = now;
    for _ in 0..100 {
        watch.inbound(&pong().encode_to_vec(), now).unwrap();
    }
    assert!(watch.inbound(&pong().encode_to_vec(), now).is_err());
    watch.inbound(&pong().encode_to_vec(), now + Duration::from_millis(50)).unwrap();
}

#[tokio::test]
async fn a_frame_that_is_too_long_ends_the_connection_before_it_is_read() {
    let (mut client, outside) = tokio::io::duplex(64);
    let (_session, inside) = tokio::io::duplex(64);
    let pumping = pump(outside, inside, None, GuardLimits::default());
    client.write_u64(5_000).await.unwrap();
    assert!(matches!(pumping.await, GuardEnd::Refused("a frame that is too long")));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_connection() {
    let (_client, outside) = tokio::io::duplex(64);
    let (_session, inside) = tokio::io::duplex(64);
    let end = pump(outside, inside, None, GuardLimits::default()).await;
    assert!(matches!(end, GuardEnd::Late("the greeting took too long")), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_trickles_ends_the_connection() {
    let (mut client, outside) = tokio::io::duplex(64);
    let (_session, inside) = tokio::io::duplex(64);
    client.write_u64(100).await.unwrap();
    let limits =
        GuardLimits { greeting_within: Duration::from_secs(1_000), ..GuardLimits::default() };
    let end = pump(outside, inside, None, limits).await;
    assert!(matches!(end, GuardEnd::Late("a frame took too long")), "{end:?}");
}
