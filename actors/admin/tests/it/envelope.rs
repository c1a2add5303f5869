//! Envelopes: their bytes, what is signed, and whose answers are believed.

use proptest::prelude::*;
use verdict_admin::{
    AnswerEnvelope, KeyFile, NodeSigner, OperatorSigner, RequestEnvelope, Trust, UnverifiedRequest,
};
use verdict_config::{Code, TimestampMs};
use verdict_consensus::peers::{Authority, NodeKey};

use crate::fixture::{CLUSTER, NODE, World, real_now};

/// Ed25519, RFC 8410's form; a key for tests only.
const TEST_KEY: &str = "302e020100300506032b657004220420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn signer() -> OperatorSigner {
    OperatorSigner::from_pkcs8(&hex::decode(TEST_KEY).unwrap()).unwrap()
}

fn request() -> RequestEnvelope {
    RequestEnvelope {
        cluster_id: "c".to_owned(),
        node_id: 3,
        key: "alice".to_owned(),
        nonce: *b"0123456789abcdef",
        issued_at: TimestampMs(1_000),
        expires_at: TimestampMs(2_000),
        body: br#"{"command":"status"}"#.to_vec(),
    }
}

#[test]
fn a_request_has_the_bytes_that_it_always_had() {
    // What is signed: magic, version 1, then cluster, node, key, nonce, times, body.
    let signed = format!(
        "56444151{}{}{}{}{}{}{}{}",
        "0100",
        "0163",
        "03",
        "05616c696365",
        "30313233343536373839616263646566",
        "fbd007",
        "fba00f",
        "147b22636f6d6d616e64223a22737461747573227d"
    );
    let length = signed.len() / 2;
    let sealed = hex::encode(signer().seal(&request()).unwrap());
    let head = format!("564441530100{length:02x}{signed}40");
    assert!(sealed.starts_with(&head), "{sealed}\n{head}");
    // Ed25519 is deterministic: its 64 bytes end the envelope.
    assert_eq!(sealed.len(), head.len() + 128);
    let read = UnverifiedRequest::read(&hex::decode(&sealed).unwrap()).unwrap();
    assert_eq!(read.verify(&signer().public()).unwrap(), request());
}

#[test]
fn another_keys_signature_is_refused() {
    let sealed = signer().seal(&request()).unwrap();
    let other = KeyFile::generate("other", None).unwrap().signer().unwrap();
    let fault = UnverifiedRequest::read(&sealed).unwrap().verify(&other.public()).unwrap_err();
    assert_eq!(fault.code, Code::OperatorUnknown);
}

#[test]
fn oversized_and_newer_envelopes_are_refused() {
    let long = RequestEnvelope { body: vec![b'x'; 2 << 20], ..request() };
    assert_eq!(signer().seal(&long).unwrap_err().code, Code::BodyTooLarge);
    let mut newer = signer().seal(&request()).unwrap();
    newer[4] = 9;
    let fault = UnverifiedRequest::read(&newer).unwrap_err();
    assert_eq!(fault.code, Code::EnvelopeInvalid);
    assert!(fault.detail.contains("version 9"), "{fault}");
}

proptest! {
    #[test]
    fn any_changed_bit_is_noticed(bit in 0usize..8 * 150) {
        let mut sealed = signer().seal(&request()).unwrap();
        let bit = bit % (sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        let read = UnverifiedRequest::read(&sealed);
        let verified = read.and_then(|request| request.verify(&signer().public()));
        prop_assert!(verified.is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(UnverifiedRequest::read(&bytes).is_err());
        let mut after_magic = b"VDAS\x01\x00".to_vec();
        after_magic.extend(&bytes);
        let verified = UnverifiedRequest::read(&after_magic)
            .and_then(|request| request.verify(&signer().public()));
        prop_assert!(verified.is_err());
    }
}

const NONCE: [u8; 16] = *b"fedcba9876543210";

fn answer(chain: Vec<Vec<u8>>) -> AnswerEnvelope {
    AnswerEnvelope {
        cluster_id: CLUSTER.to_owned(),
        node_id: NODE,
        nonce: NONCE,
        at: real_now(),
        chain,
        body: b"{}".to_vec(),
    }
}

#[test]
fn an_answer_is_believed_of_a_node_of_the_cluster_alone() {
    let world = World::new();
    let authorities = world.authorities();
    let trust = Trust { cluster_id: CLUSTER, authorities: &authorities, now: real_now() };
    let good = world.signer().seal(&answer(world.node_chain.clone())).unwrap();
    assert_eq!(trust.read(&good, NODE, NONCE).unwrap(), b"{}");

    // Another request's, another node's.
    let code = |read: Result<Vec<u8>, verdict_admin::EnvelopeFault>| read.unwrap_err().code;
    assert_eq!(code(trust.read(&good, NODE, [0; 16])), Code::EnvelopeReplayed);
    assert_eq!(code(trust.read(&good, NODE + 1, NONCE)), Code::EnvelopeForeign);

    // A node of another authority that calls itself the same.
    let stranger = World::new();
    let forged = stranger.signer().seal(&answer(stranger.node_chain.clone())).unwrap();
    assert_eq!(code(trust.read(&forged, NODE, NONCE)), Code::EnvelopeForeign);

    // The node's certificate, with a key that is not its own.
    let key = NodeKey::generate().unwrap();
    let thief = NodeSigner::new(&key.pkcs8(), world.node_chain.clone()).unwrap();
    let forged = thief.seal(&answer(world.node_chain.clone())).unwrap();
    assert_eq!(code(trust.read(&forged, NODE, NONCE)), Code::EnvelopeInvalid);

    // An operator's certificate is no node's.
    let operator = world.enrolled("alice", Vec::new());
    let forged = world.signer().seal(&answer(operator.chain())).unwrap();
    assert_eq!(code(trust.read(&forged, NODE, NONCE)), Code::EnvelopeForeign);

    // A member that speaks for another.
    let second = NodeKey::generate().unwrap();
    let chain = vec![world.authority.issue(NODE + 1, &second.public(), real_now()).unwrap()];
    let second = NodeSigner::new(&second.pkcs8(), chain.clone()).unwrap();
    let forged = second.seal(&answer(chain)).unwrap();
    assert_eq!(code(trust.read(&forged, NODE, NONCE)), Code::EnvelopeForeign);

    // Long after every certificate ran out.
    let late = Trust { now: TimestampMs(real_now().0 + 30 * 365 * 86_400_000), ..trust };
    assert_eq!(code(late.read(&good, NODE, NONCE)), Code::EnvelopeForeign);
}

#[test]
fn an_authority_signs_keys_of_operators_only_whole() {
    let authority = Authority::generate(CLUSTER, real_now()).unwrap();
    assert!(authority.issue_operator("alice", &[1; 31], real_now()).is_err());
}
