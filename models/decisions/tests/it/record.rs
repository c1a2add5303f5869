//! The record's envelope: golden bytes, and every way in which bytes can be wrong.

use serde_json::json;
use verdict_config::Value;
use verdict_decisions::record::{DecisionRecord, OpenRecord, RECORD_BYTES_MAX, RecordError};

use super::support::{World, fields, request};

fn sealed() -> DecisionRecord {
    let mut flow = json!({"flow": "test", "unit": "card", "fields": fields(), "rules": ["risk"],
        "models": {"risk": {"model": "risk", "points_per_logit": 10.0}}, "switches": {"score": "score"}});
    flow["fields"]["name"]["sensitive"] = json!(true);
    let world = World::new(flow)
        .rules("risk", json!([{"id": "r", "when": "window_sum(\"24h\", card, amount) > 1.0", "then": {"points": 5}}]))
        .risk_model("risk", 0.75)
        .flag("score", json!(true))
        .window("window_sum(\"24h\", card, amount)", Value::Decimal("12.50".parse().unwrap()));
    let mut request = request(json!({"name": "N", "card": "c", "amount": 2, "text": "t"}));
    request.request_id = Some("req".to_owned());
    let mut record = world.decide_request(request).seal(38, false).unwrap().record;
    // The hash covers how rules are written down; the envelope is what is tested here.
    record.open.flow_hash = [7; 32];
    record.open.cost_units = 1_234;
    record.open.answer = b"{}".to_vec();
    record
}

#[test]
fn bytes_are_golden() {
    let record = sealed();
    let mut first = record.clone();
    first.open.evaluation = 1;
    let hex = |bytes: &[u8]| verdict_decisions::canonical::hex(bytes);
    if std::env::var_os("WRITE_GOLDEN").is_some() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden");
        let sensitive = record.encode_sensitive().unwrap().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(format!("{folder}/{name}.hex"), hex(bytes)).unwrap();
        };
        write("open", &first.encode_open().unwrap());
        write("open_v2", &record.encode_open().unwrap());
        write("sensitive", &sensitive);
    }
    // An older node of the cluster reads what is decided by the first version of evaluation.
    assert_eq!(hex(&first.encode_open().unwrap()), include_str!("golden/open.hex").trim());
    assert_eq!(hex(&record.encode_open().unwrap()), include_str!("golden/open_v2.hex").trim());
    assert_eq!(
        hex(&record.encode_sensitive().unwrap().unwrap()),
        include_str!("golden/sensitive.hex").trim()
    );
}

#[test]
fn no_hash_of_the_body_is_kept_and_records_that_have_one_are_read() {
    let record = sealed();
    let mark = record.open.request.clone().unwrap();
    assert_eq!((&*mark.request_id, mark.body_sha256), ("req", [0; 32]));
    let older = include_str!("golden/open_with_plain_hash.hex").trim();
    let byte = |position: usize| u8::from_str_radix(&older[position..position + 2], 16).unwrap();
    let older: Vec<u8> = (0..older.len()).step_by(2).map(byte).collect();
    let mut older = OpenRecord::decode(&older).unwrap();
    assert_ne!(older.request.as_ref().unwrap().body_sha256, [0; 32]);
    older.request = Some(mark);
    assert_eq!((older.evaluation, record.open.evaluation), (1, 2));
    older.evaluation = 2;
    assert_eq!(older, record.open);
}

#[test]
fn a_record_comes_back_as_it_was() {
    let record = sealed();
    let (open, sensitive) = (record.encode_open().unwrap(), record.encode_sensitive().unwrap());
    assert_eq!(DecisionRecord::decode(&open, sensitive.as_deref()).unwrap(), record);
    assert_eq!(OpenRecord::decode(&open).unwrap(), record.open);
    assert_eq!(record.input().unwrap().len(), 4);
}

#[test]
fn damaged_bytes_are_refused() {
    let record = sealed();
    let open = record.encode_open().unwrap();
    let sensitive = record.encode_sensitive().unwrap().unwrap();
    let refused = |bytes: &[u8]| OpenRecord::decode(bytes).unwrap_err();
    assert!(matches!(refused(b""), RecordError::Envelope(_)));
    assert!(matches!(refused(&sensitive), RecordError::Envelope(_)));
    let mut newer = open.clone();
    newer[4] = 3;
    assert_eq!(refused(&newer), RecordError::Version { found: 3 });
    assert_eq!(refused(&newer).code().as_str(), "VD0702");
    let mut longer = open.clone();
    longer.push(0);
    assert!(matches!(refused(&longer), RecordError::Envelope(_)));
    for length in 0..open.len() {
        assert!(OpenRecord::decode(&open[..length]).is_err(), "{length}");
    }
    assert!(matches!(refused(&vec![0; RECORD_BYTES_MAX + 1]), RecordError::TooLarge { .. }));
    // A length that promises more than there is must not be believed.
    let mut greedy = open[..6].to_vec();
    greedy.extend_from_slice(&[253, 255, 255, 255, 255, 255, 255, 255, 127]);
    assert!(matches!(refused(&greedy), RecordError::Payload(_)));
}

#[test]
fn flipped_bits_never_panic() {
    let open = sealed().encode_open().unwrap();
    for position in 0..open.len() {
        for bit in 0..8 {
            let mut bytes = open.clone();
            bytes[position] ^= 1 << bit;
            let _ = DecisionRecord::decode(&bytes, None);
        }
    }
}

#[test]
fn a_record_that_is_too_large_is_refused() {
    let mut record = sealed();
    record.open.answer = vec![b' '; RECORD_BYTES_MAX];
    assert!(matches!(record.encode_open(), Err(RecordError::TooLarge { .. })));
}
