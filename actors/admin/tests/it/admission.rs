//! Which requests are let in.

use verdict_admin::{Admission, Answering, OpenKey, OperatorKey, RequestEnvelope, VALID_MS_MAX};
use verdict_config::settings::Role;
use verdict_config::{Code, TimestampMs};

use crate::fixture::{CLUSTER, NODE, World, operator_key};

const START: i64 = 1_000_000;

fn admission() -> Admission {
    let started_at = TimestampMs(START);
    Admission::new(Answering { cluster_id: CLUSTER.to_owned(), node_id: NODE, started_at })
}

fn request(number: u8) -> RequestEnvelope {
    RequestEnvelope {
        cluster_id: CLUSTER.to_owned(),
        node_id: NODE,
        key: "alice".to_owned(),
        nonce: [number; 16],
        issued_at: TimestampMs(START + 10),
        expires_at: TimestampMs(START + 60_010),
        body: Vec::new(),
    }
}

struct Operators {
    alice: OpenKey,
    known: Vec<OperatorKey>,
}

fn operators() -> Operators {
    let alice = World::new().enrolled("alice", Vec::new());
    let known = vec![operator_key(&alice, Role::Operator)];
    Operators { alice, known }
}

impl Operators {
    fn admit(
        &self,
        admission: &mut Admission,
        request: &RequestEnvelope,
        now: i64,
    ) -> Result<String, Code> {
        let sealed = self.alice.signer().unwrap().seal(request).unwrap();
        let find = |name: &str| self.known.iter().find(|key| key.name == name).cloned();
        let admitted = admission.admit(&sealed, TimestampMs(now), find);
        admitted.map(|admitted| admitted.key.name).map_err(|refused| refused.fault.code)
    }
}

/// A request that is changed in one respect, and what becomes of it.
fn check(change: impl Fn(&mut RequestEnvelope), now: i64, expected: Result<&str, Code>) {
    let mut changed = request(1);
    change(&mut changed);
    let admitted = operators().admit(&mut admission(), &changed, now);
    assert_eq!(admitted.as_deref().map_err(|code| *code), expected, "{changed:?} at {now}");
}

#[test]
fn a_request_is_let_in_for_its_cluster_node_time_and_key() {
    check(|_| {}, START + 20, Ok("alice"));
    check(
        |request| "other".clone_into(&mut request.cluster_id),
        START + 20,
        Err(Code::EnvelopeForeign),
    );
    check(|request| request.node_id += 1, START + 20, Err(Code::EnvelopeForeign));
    check(|request| "bob".clone_into(&mut request.key), START + 20, Err(Code::OperatorUnknown));
}

#[test]
fn times_bound_a_request() {
    check(|_| {}, START + 60_009, Ok("alice"));
    check(|_| {}, START + 60_010, Err(Code::EnvelopeExpired));
    // The node's clock is behind the client's, by little and by much.
    check(|_| {}, START + 10 - 30_000, Ok("alice"));
    check(|_| {}, START + 9 - 30_000, Err(Code::EnvelopeExpired));
    // Signed before the node started, whose memory of nonces is gone.
    check(
        |request| request.issued_at = TimestampMs(START - 1),
        START + 20,
        Err(Code::EnvelopeExpired),
    );
    // Valid for too long, and for no time at all.
    let long = |request: &mut RequestEnvelope| {
        request.expires_at = TimestampMs(request.issued_at.0 + VALID_MS_MAX + 1);
    };
    check(long, START + 20, Err(Code::EnvelopeExpired));
    check(|request| request.expires_at = request.issued_at, START + 5, Err(Code::EnvelopeExpired));
    check(
        |request| request.expires_at = TimestampMs(i64::MAX),
        START + 20,
        Err(Code::EnvelopeExpired),
    );
    check(
        |request| request.issued_at = TimestampMs(i64::MIN),
        START + 20,
        Err(Code::EnvelopeExpired),
    );
}

#[test]
fn a_nonce_is_good_once_for_as_long_as_it_could_be_replayed() {
    let (operators, mut admission) = (operators(), admission());
    assert!(operators.admit(&mut admission, &request(1), START + 20).is_ok());
    let again = operators.admit(&mut admission, &request(1), START + 30);
    assert_eq!(again, Err(Code::EnvelopeReplayed));
    assert!(operators.admit(&mut admission, &request(2), START + 30).is_ok());
    // After its time the memory has forgotten it, and the time refuses it.
    let late = operators.admit(&mut admission, &request(1), START + 60_010);
    assert_eq!(late, Err(Code::EnvelopeExpired));
}

#[test]
fn a_key_that_was_revoked_or_has_run_out_lets_nobody_in() {
    let (mut operators, mut admission) = (operators(), admission());
    operators.known[0].expires = Some(TimestampMs(START + 25));
    assert!(operators.admit(&mut admission, &request(1), START + 24).is_ok());
    let late = operators.admit(&mut admission, &request(2), START + 25);
    assert_eq!(late, Err(Code::OperatorUnknown));
    operators.known.clear();
    let revoked = operators.admit(&mut admission, &request(3), START + 20);
    assert_eq!(revoked, Err(Code::OperatorUnknown));
}

#[test]
fn strangers_cannot_fill_the_memory_and_one_key_cannot_fill_it_for_others() {
    let (operators, mut admission) = (operators(), admission());
    let numbered = |number: u32| {
        let mut request = request(0);
        request.nonce[..4].copy_from_slice(&number.to_le_bytes());
        request
    };
    // A stranger's requests under alice's name are not remembered.
    let stranger = World::new().enrolled("alice", Vec::new());
    let find = |name: &str| operators.known.iter().find(|key| key.name == name).cloned();
    for number in 0..5_000 {
        let sealed = stranger.signer().unwrap().seal(&numbered(number)).unwrap();
        assert!(admission.admit(&sealed, TimestampMs(START + 20), find).is_err());
    }
    for number in 0..4_096 {
        operators.admit(&mut admission, &numbered(number), START + 20).unwrap();
    }
    let full = operators.admit(&mut admission, &numbered(5_000), START + 20);
    assert_eq!(full, Err(Code::Overloaded));
    // Once those have expired there is room again.
    let mut later = numbered(5_001);
    later.issued_at = TimestampMs(START + 61_000);
    later.expires_at = TimestampMs(START + 62_000);
    assert!(operators.admit(&mut admission, &later, START + 61_000).is_ok());
}
