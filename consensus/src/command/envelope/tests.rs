//! Stored forms that never change, and bytes that are none.

use super::*;

fn example() -> Command {
    let name = |text: &str| ObjectId {
        kind: ObjectKind::List,
        name: ObjectName::new(ObjectKind::List, text).unwrap(),
    };
    let mut set = ChangeSet::new(
        "r1",
        "why",
        vec![
            Change::put(ObjectKind::Alias, "a", br#"{"model":"m"}"#.to_vec()).expecting(300),
            Change::delete(ObjectKind::Setting, "s"),
        ],
    );
    set.requires = vec![Requirement { object: name("l"), interface: None }];
    set.restores = Some(Restores { to_revision: 7, objects: vec![name("l")] });
    let author = Author { address: Some("::1".into()), ..Author::named("ann") };
    Command::Propose(Propose { change_set: set, author, at: TimestampMs(1_000) })
}

/// The stored form of version 1, for ever.
const GOLDEN: &str = "5644434d01000002723103776879\
    03616e6e01033a3a31fbd0070207016100\
    01fb2c01010d7b226d6f64656c223a226d227d0c017301\
    00000102016c00010701020\
    16c";

#[test]
fn golden_bytes() {
    let golden: String = GOLDEN.split_whitespace().collect();
    assert_eq!(hex::encode(example().encode().unwrap()), golden);
    assert_eq!(Command::decode(&hex::decode(golden).unwrap()).unwrap(), example());
}

/// The same with a stored body and evidence.
fn second() -> Command {
    let Command::Propose(mut propose) = example();
    let set = &mut propose.change_set;
    set.changes[0].body = None;
    set.changes[0].stored = Some(StoredBody { hash: ContentHash([7; 32]), bytes: 40_000 });
    set.changes.push(Change::put(ObjectKind::Setting, "t", b"1".to_vec()));
    let model = ContentHash([9; 32]);
    set.evidence = vec![Evidence { model, node_id: 3, at: TimestampMs(5) }];
    Command::Propose(propose)
}

/// The stored form of version 2, for ever.
#[test]
fn golden_bytes_of_version_2() {
    let hash = |byte: &str| byte.repeat(32);
    let golden = format!(
        "5644434d0200 00 027231 03776879 03616e6e 01033a3a31 fbd007 00 01 02016c00 01 07 01 02016c \
         03 07 0161 00 01fb2c01 01 01 {} fb409c 0c 0173 01 00 00 0c 0174 00 00 01 00 01 31 \
         01 {} 03 0a",
        hash("07"),
        hash("09"),
    );
    let golden: String = golden.split_whitespace().collect();
    assert_eq!(hex::encode(second().encode().unwrap()), golden);
    assert_eq!(Command::decode(&hex::decode(golden).unwrap()).unwrap(), second());
}

#[test]
fn refuses_other_bytes() {
    let good = example().encode().unwrap();
    let longer = [&good[..], b"x"].concat();
    assert!(matches!(Command::decode(&longer), Err(EnvelopeError::Payload(_))));
    let mut newer = good.clone();
    newer[4] = 3;
    assert_eq!(Command::decode(&newer), Err(EnvelopeError::Newer { found: 3, known: 2 }));
    for length in 0..good.len() {
        assert!(Command::decode(&good[..length]).is_err(), "cut at {length}");
    }
    let forged = [&good[..7], &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
    assert!(Command::decode(&forged).is_err());
}
