//! No bytes make admission panic, and none that no key signed are let in.
#![no_main]

use verdict_admin::{Admission, Answering, OperatorKey, Request};
use verdict_config::TimestampMs;
use verdict_config::settings::Role;

libfuzzer_sys::fuzz_target!(|input: (bool, &[u8])| {
    let (with_magic, bytes) = input;
    if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
        // What was read can be sent on, as a path that the node can read.
        assert!(request.route().path.is_ascii());
    }
    let mut sealed = if with_magic { b"VDAS\x01\x00".to_vec() } else { Vec::new() };
    sealed.extend_from_slice(bytes);
    let (cluster_id, started_at) = ("c".to_owned(), TimestampMs(0));
    let mut admission = Admission::new(Answering { cluster_id, node_id: 1, started_at });
    // Everybody's name is known here; nobody's key is.
    let find = |name: &str| {
        Some(OperatorKey {
            name: name.to_owned(),
            public_key: vec![7; 32],
            role: Role::Operator,
            flows: None,
            regions: None,
            expires: None,
        })
    };
    assert!(admission.admit(&sealed, TimestampMs(1_000), find).is_err());
});
