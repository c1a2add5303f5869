//! The members, changed by operators: what each step would do, and what every node's log says of it.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::admin::{Desk, until};

impl Desk {
    /// The members as the commands have them: id, and whether it votes.
    fn members(&self) -> Vec<(u64, bool)> {
        let listed = self.run(&["members", "list"]);
        let peers = listed["peers"].as_array().expect("members").iter();
        peers
            .map(|peer| {
                let member = &peer["member"];
                (member["node_id"].as_u64().expect("an id"), member["voter"] == true)
            })
            .collect()
    }

    fn revision(&self) -> u64 {
        self.run(&["status"])["revision"].as_u64().expect("a revision")
    }

    /// Waits until the rotation that a removal began is done: it makes revisions of its own. A voter that
    /// is removed in the middle begins another.
    fn settle_rotation(&self) {
        let limit = Instant::now() + Duration::from_secs(120);
        while self.run(&["authority", "show"])["pending"] != Json::Null {
            assert!(Instant::now() < limit, "the rotation that a removal began is not done");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What a command would do, which changes nothing.
    fn dry(&self, arguments: &[&str]) -> Json {
        self.settle_rotation();
        let (members, revision) = (self.members(), self.revision());
        let told = self.run(&[arguments, &["--dry-run"]].concat());
        assert_eq!(told["dry_run"], true, "{told}");
        assert_eq!((self.members(), self.revision()), (members, revision), "{arguments:?}");
        told
    }

    /// The code by which a command is refused, dry or not.
    fn refused(&self, arguments: &[&str], code: &str) {
        for flags in [&["--dry-run"][..], &[]] {
            let told = self.run_with(&self.key, &[arguments, flags].concat());
            assert_ne!(told.code, Some(0), "{arguments:?}: {}", told.out);
            let said = told.out + &told.err;
            assert!(said.contains(code), "{arguments:?}: {said}");
        }
    }

    fn token_of(&self, arguments: &[&str]) -> String {
        self.run(arguments)["token"].as_str().expect("a token").to_owned()
    }
}

/// Members of a side of a plan, as `ID STANDING`, and the voters and their majority.
fn side(plan: &Json) -> (Vec<String>, u64, u64) {
    let members = plan["members"].as_array().expect("members").iter();
    let text = |member: &Json| {
        format!("{} {}", member["node_id"], member["standing"].as_str().expect("a standing"))
    };
    let number = |name: &str| plan[name].as_u64().expect("a number");
    (members.map(text).collect(), number("voters"), number("majority"))
}

#[test]
fn every_change_of_the_members_is_shown_before_and_in_every_log_after() {
    let mut desk = Desk::new(3);
    let first = desk.revision();

    // A learner joins, by a token that says why.
    let token = ["members", "token", "--learner", "--why", "rack 4"];
    let shown = desk.dry(&token);
    assert_eq!(side(&shown["after"]).0.last().map(String::as_str), Some("null learner"), "{shown}");
    let token = desk.token_of(&token);
    desk.join(4, &token);
    until("the fourth node follows", || desk.members().contains(&(4, false)));

    // It votes once it has caught up.
    until("it has caught up", || {
        desk.run_with(&desk.key, &["members", "promote", "4", "--dry-run"]).code == Some(0)
    });
    let shown = desk.dry(&["members", "promote", "4"]);
    let (before, after) = (side(&shown["before"]), side(&shown["after"]));
    assert_eq!((before.0[3].as_str(), before.1, before.2), ("4 learner", 3, 2), "{shown}");
    assert_eq!((after.0[3].as_str(), after.1, after.2), ("4 voter", 4, 3), "{shown}");
    desk.run(&["members", "promote", "4", "--why", "more hands"]);
    assert!(desk.members().contains(&(4, true)));
    // Once more changes nothing, and says nothing.
    let revision = desk.revision();
    let shown = desk.dry(&["members", "promote", "4"]);
    assert_eq!(shown["before"], shown["after"]);
    desk.run(&["members", "promote", "4"]);
    assert_eq!(desk.revision(), revision);
    desk.refused(&["members", "promote", "99"], "VD0608");

    // Another takes the place of the third, by itself.
    let replace = ["members", "replace", "3", "--why", "new machine"];
    let after = side(&desk.dry(&replace)["after"]);
    assert_eq!(
        (after.0.join(", ").as_str(), after.1),
        ("1 voter, 2 voter, 4 voter, null voter", 4)
    );
    let token = desk.token_of(&replace);
    desk.join(5, &token);
    until("the fifth is in the place of the third", || {
        desk.members() == [(1, true), (2, true), (4, true), (5, true)]
    });

    // One that leads hands its lead over first; it may be another one by the time that is asked.
    until("whoever leads would hand the lead to one of the others", || {
        let listed = desk.run(&["members", "list"]);
        let Some(leader) = listed["leader"].as_u64() else { return false };
        let retire = ["members", "retire", &leader.to_string(), "--dry-run"];
        let told = desk.run_with(&desk.key, &retire);
        let shown: Json = serde_json::from_str(&told.out).unwrap_or_default();
        shown["lead_goes_to_one_of"].as_array().is_some_and(|heirs| heirs.len() == 3)
    });
    let shown = desk.dry(&["members", "retire", "4"]);
    assert_eq!(side(&shown["after"]).0, ["1 voter", "2 voter", "5 voter"], "{shown}");
    desk.run(&["members", "retire", "4", "--why", "the lease ends"]);
    assert_eq!(desk.members(), [(1, true), (2, true), (5, true)]);

    // Over HTTP, twice under one name.
    let shown = desk.dry(&["members", "remove", "5"]);
    assert_eq!(side(&shown["after"]), (vec!["1 voter".to_owned(), "2 voter".to_owned()], 2, 2));
    let body = json!({ "request_id": "remove-5", "why": "by automation" });
    let path = "/v1/admin/members/5:remove";
    let shown = desk.cluster.post(0, &format!("{path}?dry_run=true"), &body, 0).expect("an answer");
    assert_eq!((shown.status, &shown.body["would"]), (200, &json!("remove")), "{}", shown.body);
    // What is misspelt is not taken for a wish to have it done.
    let refused = desk.cluster.post(0, &format!("{path}?dryrun=true"), &body, 0);
    assert_eq!(refused.expect("an answer").body["code"], "VD0808");
    assert!(desk.members().contains(&(5, true)));
    for _ in 0..2 {
        let answer = desk.cluster.post(0, path, &body, 0).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(desk.members(), [(1, true), (2, true)]);

    let expected = [
        ("operator", "rack 4"),
        ("a node", "node 4 joins"),
        ("operator", "more hands"),
        ("operator", "new machine"),
        ("a node", "node 5 joins"),
        (
            "operator",
            "node 5 takes the place of node 3: it joined by a token of operator and has caught up",
        ),
        ("operator", "the lease ends"),
        ("cluster", "by automation"),
    ];
    for node in 0..2 {
        let audit = desk.audit(node, first + 1);
        let told: Vec<(&str, &str)> = audit.iter().map(|(_, by, why)| (who(by), &**why)).collect();
        assert_eq!(told, expected, "node {}", node + 1);
    }
    // Each removal of a voter takes the authority with it, by itself.
    desk.settle_rotation();
    what_the_entries_say(&desk, first);
    the_catalogue_changes_none_of_it(&desk, first);
}

fn who(author: &str) -> &str {
    if author.starts_with("node-") { "a node" } else { author }
}

/// Who became what, from where; the newest first.
fn what_the_entries_say(desk: &Desk, first: u64) {
    let history = desk.cluster.history(1, first);
    let entries = history["entries"].as_array().expect("entries").iter();
    let ours = entries.filter(|entry| {
        let name = entry["name"].as_str().unwrap_or_default();
        entry["revision"].as_u64() > Some(first) && name.starts_with("standing-")
    });
    let one = |entry: &Json| {
        let body = &entry["after"]["body"];
        let other = [&body["in_place_of"], &body["replaced_by"]];
        let other = other.into_iter().find_map(Json::as_u64);
        let standing = body["standing"].as_str().unwrap_or_default().to_owned();
        if who(entry["author"].as_str().unwrap_or_default()) != "a node" {
            assert_eq!(entry["address"], "127.0.0.1", "{entry}");
        }
        (body["node_id"].as_u64().unwrap_or(0), standing, other)
    };
    let mut told: Vec<(u64, String, Option<u64>)> = ours.map(one).collect();
    told.reverse();
    let expected = [
        (4, "learner", None),
        (4, "voter", None),
        (5, "learner", None),
        (3, "removed", Some(5)),
        (5, "voter", Some(3)),
        (4, "removed", None),
        (5, "removed", None),
    ];
    let expected: Vec<(u64, String, Option<u64>)> =
        expected.map(|(id, standing, other)| (id, standing.to_owned(), other)).to_vec();
    // The two of a replacement share an entry: their order is that of their names.
    told.sort_by_key(|(id, standing, _)| (*id, standing.clone()));
    let mut sorted = expected;
    sorted.sort_by_key(|(id, standing, _)| (*id, standing.clone()));
    assert_eq!(told, sorted);
}

/// What a node is follows the members: no change set, no rollback, no export has a say in it.
fn the_catalogue_changes_none_of_it(desk: &Desk, first: u64) {
    let revision = desk.revision();
    let change = json!({ "kind": "member", "name": "standing-4", "op": "delete" });
    let body = json!({ "request_id": "forge", "why": "a test", "changes": [change] });
    let refused = desk.cluster.post(0, "/v1/changes", &body, 0).expect("an answer");
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (422, &json!("VD0602")),
        "{}",
        refused.body
    );
    assert_eq!(refused.body["faults"][0]["path"], "changes[0].name", "{}", refused.body);

    desk.run(&["flag", "toggle", "checkout-copy", "--why", "to have something"]);
    let back = ["rollback", "--to", &first.to_string(), "--dry-run"];
    let shown = desk.run(&back);
    let names: Vec<&Json> = shown["differences"]
        .as_array()
        .expect("differences")
        .iter()
        .map(|difference| &difference["name"])
        .collect();
    assert_eq!(names, ["checkout-copy"], "{shown}");
    let object = ["--object", "member/standing-4", "--dry-run"];
    let told = desk.run_with(&desk.key, &[&back[..3], &object].concat());
    assert_ne!(told.code, Some(0), "{}", told.out);
    let said = told.out + &told.err;
    assert!(said.contains("promote, remove or replace"), "{said}");
    assert_eq!(desk.revision(), revision + 1);
}

#[test]
fn what_would_leave_no_majority_is_refused_without_an_entry() {
    let desk = Desk::new(3);
    desk.cluster.signal(2, "-KILL");
    let leader = desk.cluster.leader(0);
    let other = if leader == 0 { "2" } else { "1" };
    until("the dead is not heard from any more", || {
        let told =
            desk.run_with(&desk.key, &["members", "remove", other, "--why", "no", "--dry-run"]);
        told.code == Some(1) && told.err.contains("VD0608")
    });
    let revision = desk.revision();
    desk.refused(&["members", "remove", other, "--why", "no"], "VD0608");
    assert_eq!(desk.revision(), revision, "what is refused has no entry");
    let shown = desk.dry(&["members", "remove", "3"]);
    assert_eq!(side(&shown["after"]).0, ["1 voter", "2 voter"], "{shown}");
    desk.run(&["members", "remove", "3", "--why", "it burnt"]);
    let audit = desk.audit(leader.min(1), revision + 1);
    assert_eq!(audit, [(revision + 1, "operator".to_owned(), "it burnt".to_owned())]);
}

#[test]
fn a_drain_and_a_log_level_say_what_they_would_do() {
    let desk = Desk::new(3);
    let leader = desk.cluster.leader(0);
    let ids: Vec<u64> = desk.cluster.nodes.iter().map(|node| node.id).collect();
    for (node, id) in ids.iter().enumerate() {
        let address = desk.admin_address(node);
        let shown = desk.dry(&["--node", &address, "drain"]);
        assert_eq!((&shown["node_id"], &shown["leads"]), (&json!(id), &json!(node == leader)));
        assert_eq!((&shown["stays_member"], &shown["other_voters"]), (&json!(true), &json!(2)));
        let next = shown["lead_goes_to"].as_u64();
        assert_eq!(next.is_some_and(|next| next != *id), node == leader, "{shown}");
    }
    desk.cluster.wait_ready(leader);

    let address = desk.admin_address(0);
    let level = |directives: &str, flags: &[&str]| {
        desk.run(&[&["--node", &address, "loglevel", directives, "--for-s", "600"], flags].concat())
    };
    let shown = level("info,verdict_node=debug", &["--dry-run"]);
    assert_eq!(shown["before"], shown["then"], "{shown}");
    assert_eq!(
        (&shown["after"], &shown["for_s"]),
        (&json!("info,verdict_node=debug"), &json!(600))
    );
    level("warn", &[]);
    let shown = level("info", &["--dry-run"]);
    assert_eq!((&shown["before"], &shown["after"]), (&json!("warn"), &json!("info")), "{shown}");
    let refused = ["--node", &address, "loglevel", "verdict=noise"];
    desk.refused(&refused, "VD0808");
}
