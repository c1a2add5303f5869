//! The forms of version 1, for ever; and results that come back as they went.

use verdict_config::{Code, Fault, ObjectId, ObjectKind, ObjectName};

use super::*;
use crate::apply::{Applied, AppliedChange};
use crate::command::Op;
use crate::error::{ChangeRefused, Conflict, ProposeError};
use crate::raft::members::{MemberPlan, MembershipError, PlannedMember};
use crate::raft::types::NodeAttributes;

fn request(body: RequestBody) -> Vec<u8> {
    Request { from: 1, to: 2, cluster_id: "c".to_owned(), body }.encode().unwrap()
}

#[test]
fn golden_requests() {
    let vote = VoteV1 { term: 3, node_id: 1, committed: true };
    let last = Some(LogIdV1 { term: 3, leader_id: 1, index: 300 });
    let append = RequestBody::Append { vote, previous: last, entries: Vec::new(), committed: last };
    let proposals = vec![Bytes(b"ab".as_slice().into())];
    let cases = [
        (append, "0003010101 0301fb2c01 00 010301fb2c01"),
        (RequestBody::Vote { vote, last: None }, "01 030101 00"),
        (RequestBody::Propose { proposals, wait_ms: 5 }, "03 01026162 05"),
        (RequestBody::ReadIndex, "04"),
        (RequestBody::Member(MemberCommandV1::Remove { node_id: 7 }), "05 03 07"),
        (RequestBody::Member(MemberCommandV1::Replace { node_id: 7, by: 9 }), "05 06 07 09"),
        (RequestBody::Version, "06"),
        (RequestBody::PlanMembers(MemberCommandV1::Promote { node_id: 7 }), "07 02 07"),
        (RequestBody::Confirm { node_id: 4, term: Some(3) }, "08 04 0103"),
        (RequestBody::Confirm { node_id: 4, term: None }, "08 04 00"),
        (RequestBody::Clock, "09"),
    ];
    for (body, text) in cases {
        let text: String = text.split_whitespace().collect();
        let bytes = request(body);
        assert_eq!(hex::encode(&bytes), format!("564450510100010201{:02x}{text}", b'c'));
        let again = Request::decode(&bytes).unwrap();
        assert_eq!(again.encode().unwrap(), bytes);
    }
}

#[test]
fn golden_answers() {
    let vote = VoteV1 { term: 3, node_id: 1, committed: false };
    let (before, after) = (vec![(1, true), (4, false)], vec![(1, true)]);
    let planned = Answer::Planned(PlanResultV1::Planned { leader: 1, before, after });
    let cases = [
        (Answer::Failed(FailureV1::NotLeader), "0001"),
        (Answer::Append(AppendAnswerV1::PartialSuccess(None)), "010100"),
        (Answer::Vote { vote, granted: true, last: None }, "02030100 01 00"),
        (Answer::Snapshot { vote, next_offset: 9, installed: false }, "03030100 09 00"),
        (Answer::ReadIndex { index: 4 }, "0504"),
        (Answer::Member(MemberResultV1::Allocated { node_id: 5 }), "060105"),
        (Answer::Version { version: 2 }, "0702"),
        (planned, "08 00 01 02 0101 0400 01 0101"),
        (Answer::Planned(PlanResultV1::Failed(MemberResultV1::NoLeader)), "08 01 02"),
        (Answer::Confirmed { confirmed: true }, "09 01"),
        (Answer::Clock { now_ms: 4 }, "0a 08"),
        (Answer::Failed(FailureV1::Removed), "0004"),
        (Answer::Failed(FailureV1::NotAVoter("n".to_owned())), "0005 01 6e"),
    ];
    for (answer, text) in cases {
        let text: String = text.split_whitespace().collect();
        let bytes = answer.encode().unwrap();
        assert_eq!(hex::encode(&bytes), format!("564450520100{text}"));
        assert_eq!(Answer::decode(&bytes).unwrap().encode().unwrap(), bytes);
        assert!(Answer::decode(&[&bytes[..], b"x"].concat()).is_err());
    }
}

/// Messages of every kind as the program of commit e23b5c5 wrote them: what it sends is read, and what it
/// is sent in return has the same bytes.
#[test]
fn messages_of_an_older_release_are_read_and_written_as_they_were() {
    use crate::peers::{JoinAnswer, JoinRequest, NodeAnswer, NodeRequest};
    let recorded = include_str!("../../../../tests/fixtures/e23b5c5/messages.txt");
    let mut families = std::collections::BTreeMap::<&str, u32>::new();
    for line in recorded.lines() {
        let (name, text) = line.split_once(' ').unwrap();
        let bytes = hex::decode(text).unwrap();
        let family = name.split('.').next().unwrap();
        let again = match family {
            "request" => Request::decode(&bytes).unwrap().encode().unwrap(),
            "answer" => Answer::decode(&bytes).unwrap().encode().unwrap(),
            "join" => JoinRequest::decode(&bytes).unwrap().encode().unwrap(),
            "joined" => JoinAnswer::decode(&bytes).unwrap().encode().unwrap(),
            "node_request" => NodeRequest::decode(&bytes).unwrap().encode().unwrap(),
            "node_answer" => NodeAnswer::decode(&bytes).unwrap().encode().unwrap(),
            _ => panic!("{name}"),
        };
        assert_eq!(hex::encode(again), text, "{name}");
        *families.entry(family).or_default() += 1;
    }
    let counted: Vec<(&str, u32)> = families.into_iter().collect();
    let expected = [
        ("answer", 22),
        ("join", 1),
        ("joined", 2),
        ("node_answer", 13),
        ("node_request", 19),
        ("request", 14),
    ];
    assert_eq!(counted, expected);
}

#[test]
fn a_node_keeps_its_attributes() {
    let node = NodeAttributes { region: "r".to_owned(), ..NodeAttributes::default() };
    assert_eq!(NodeV1::new(4, &node).into_parts(), (4, node));
}

#[test]
fn plans_come_back_as_they_went() {
    let member = |node_id, voter| PlannedMember { node_id, voter };
    let plan = MemberPlan {
        leader: 2,
        before: vec![member(1, true), member(2, true)],
        after: vec![member(2, true)],
    };
    let cases =
        [Ok(plan), Err(MembershipError::Refused("no".to_owned())), Err(MembershipError::NoLeader)];
    for case in cases {
        let again = Result::from(PlanResultV1::from(case.clone()));
        assert_eq!(again, case);
    }
}

#[test]
fn results_come_back_as_they_went() {
    let object =
        ObjectId { kind: ObjectKind::List, name: ObjectName::new(ObjectKind::List, "l").unwrap() };
    let conflict = Conflict {
        object: object.clone(),
        expected_revision: Some(1),
        found_revision: 2,
        message: "m".to_owned(),
    };
    let fault = Fault::new(Code::InvalidValue, "changes[0]", "no").at("f.yaml", 2, 3);
    let change = AppliedChange { object, op: Op::Put };
    let refused = |refused| Err(ProposeError::Refused(refused));
    let cases = [
        Ok(Applied { revision: 3, applied: vec![change], repeated: true }),
        refused(ChangeRefused::Conflict(vec![conflict])),
        refused(ChangeRefused::Invalid(vec![fault])),
        refused(ChangeRefused::TooOld { request_id: "r".to_owned() }),
        refused(ChangeRefused::NotRetained { revision: 1, oldest: 2, newest: 3 }),
        refused(ChangeRefused::NeverMade { revision: 9, after: 3, from: 1_000_000 }),
        Err(ProposeError::Overloaded),
        Err(ProposeError::NoLeader),
        Err(ProposeError::OutcomeUnknown),
    ];
    for case in cases {
        assert_eq!(results::from_wire(results::to_wire(case.clone())).unwrap(), case);
    }
}

proptest::proptest! {
    #[test]
    fn decoding_is_total(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let request = [b"VDPQ\x01\x00".as_slice(), &bytes].concat();
        let answer = [b"VDPR\x01\x00".as_slice(), &bytes].concat();
        let _ = (Request::decode(&request).is_ok(), Answer::decode(&answer).is_ok());
        let _ = (Request::decode(&bytes).is_ok(), Answer::decode(&bytes).is_ok());
    }
}
