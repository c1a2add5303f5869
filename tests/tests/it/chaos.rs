//! A cluster behind links of ours: what a node does that is cut off, and a short run of faults.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::Instant;
use verdict_tests::chaos::cluster::{Cluster, LOOK_AGAIN};
use verdict_tests::chaos::episode::Episode;
use verdict_tests::chaos::http::{Answer, Ask};
use verdict_tests::chaos::links::{Damage, Mode};
use verdict_tests::chaos::schedule::Fault;

use crate::process::VERDICT;

const WITHIN: Duration = Duration::from_secs(30);

/// Asks until an answer has a status.
async fn until(cluster: &Cluster, node: u64, path: &str, body: &Json, status: u16) -> Answer {
    let limit = Instant::now() + WITHIN;
    loop {
        let answer = cluster.ask(node, Ask::post(path, body).within(WITHIN)).await;
        if let Ok(answer) = &answer
            && answer.status == status
        {
            return answer.clone();
        }
        assert!(Instant::now() < limit, "never {status}; last: {answer:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn setting(request_id: &str, number: u64) -> Json {
    json!({ "request_id": request_id, "why": "a test", "changes": [
        { "kind": "setting", "name": "s", "op": "put", "body": { "n": number } } ] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_planned_over_what_was_agreed_and_not_where_a_node_is_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(Path::new(VERDICT), folder.path(), 3, 1).await.expect("it starts");
    let first = until(&cluster, 1, "/v1/changes", &setting("one", 1), 200).await;
    let to_revision = first.body["revision"].as_u64().expect("a revision");
    // Node 3 has the first change before it is cut off.
    let seen = cluster.ask(3, Ask::get("/v1/status").at_least(to_revision)).await;
    assert_eq!(seen.expect("an answer").status, 200);
    for other in [1, 2] {
        cluster.links.set((3, other), Mode::Cut);
        cluster.links.set((other, 3), Mode::Cut);
    }
    // If node 3 led, another node leads first.
    until(&cluster, 1, "/v1/changes", &setting("two", 2), 200).await;
    // As far as node 3 knows, there is nothing to roll back; it does not say so.
    let rollback = json!({ "request_id": "back", "why": "a test", "to_revision": to_revision,
        "objects": [{ "kind": "setting", "name": "s" }] });
    let refused = cluster.ask(3, Ask::post("/v1/rollback", &rollback).within(WITHIN)).await;
    let refused = refused.expect("an answer");
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("VD0606")), "{refused:?}");
    cluster.links.heal();
    let done = until(&cluster, 3, "/v1/rollback", &rollback, 200).await;
    assert_eq!(done.body["revision"], to_revision + 2);
    let now = cluster.ask(1, Ask::get("/v1/objects/setting/s").at_least(to_revision + 2)).await;
    assert_eq!(now.expect("an answer").body["body"], json!({ "n": 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_succeeds_though_the_connections_to_the_leader_swallow_bytes() {
    const WRITE_WITHIN: Duration = Duration::from_secs(3);
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(Path::new(VERDICT), folder.path(), 3, 5).await.expect("it starts");
    let mut number = 0;
    let mut write = async |node: u64| {
        number += 1;
        let body = setting(&format!("w{number}"), number);
        let begun = Instant::now();
        let answer = cluster.ask(node, Ask::post("/v1/changes", &body).within(WITHIN)).await;
        (answer.map(|answer| answer.status).ok(), begun.elapsed())
    };
    for (damage, towards_leader) in [
        (Damage::LongerRecord, true),
        (Damage::LongerRecord, false),
        (Damage::Swallow, true),
        (Damage::Swallow, false),
    ] {
        let leader = cluster.leader().await.expect("a leader");
        let follower = if leader == 3 { 2 } else { 3 };
        // The connection is open and in use when it is damaged.
        until(
            &cluster,
            follower,
            "/v1/changes",
            &setting(&format!("{damage:?}-{towards_leader}"), 0),
            200,
        )
        .await;
        let way = if towards_leader { (follower, leader) } else { (leader, follower) };
        assert!(cluster.links.damage(way, damage) > 0);
        for _ in 0..3 {
            let (status, took) = write(follower).await;
            assert_eq!(status, Some(200), "{damage:?} {way:?}: after {took:?}");
            assert!(took < WRITE_WITHIN, "{damage:?} {way:?}: {took:?}");
        }
        let ready = cluster.ask(follower, Ask::get("/readyz")).await.expect("an answer");
        assert_eq!((ready.status, &ready.body["details"]), (200, &Json::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_with_what_to_do_and_health_fails_until_the_restart() {
    // Below the longest body that stands in the log.
    const BODY_BYTES: usize = 30 << 10;
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(Path::new(VERDICT), folder.path(), 1, 3).await.expect("it starts");
    let healthy = cluster.ask(1, Ask::get("/healthz")).await.expect("an answer");
    assert_eq!(healthy.status, 200);
    cluster.kill(1);
    cluster.restart_limited(1, 1 << 20).expect("it starts");
    cluster.wait_ready(1).await.expect("it is ready");
    let mut refused = None;
    for number in 0..500 {
        let body = json!({ "request_id": format!("f{number}"), "why": "a test", "changes": [
            { "kind": "setting", "name": "s", "op": "put",
                "body": { "n": number, "text": "x".repeat(BODY_BYTES) } } ] });
        let answer = cluster.ask(1, Ask::post("/v1/changes", &body).within(WITHIN)).await;
        match answer {
            Ok(answer) if answer.status == 200 => {}
            other => {
                refused = other.ok();
                break;
            }
        }
    }
    let refused = refused.expect("a refusal");
    assert_eq!(refused.body["code"], "VD0704", "{}", refused.body);
    let says_what_to_do = |text: &Json| {
        let text = text.as_str().unwrap_or_default();
        text.contains("free space, then restart") && !text.contains("Os {")
    };
    assert!(says_what_to_do(&refused.body["detail"]), "{}", refused.body);
    for path in ["/healthz", "/readyz"] {
        let answer = cluster.ask(1, Ask::get(path)).await.expect("an answer");
        assert_eq!(answer.status, 503, "{path}: {}", answer.body);
        assert!(says_what_to_do(&answer.body["status"]), "{path}: {}", answer.body);
    }
    cluster.kill(1);
    cluster.restart(1).expect("it starts");
    cluster.wait_ready(1).await.expect("it is ready");
    until(&cluster, 1, "/v1/changes", &setting("after", 1), 200).await;
    let healthy = cluster.ask(1, Ask::get("/healthz")).await.expect("an answer");
    assert_eq!(healthy.status, 200);
}

/// An episode of a few faults: each is performed, and every invariant holds.
async fn hold(seed: u64, only: &[Fault]) {
    let folder = tempfile::tempdir().expect("a folder");
    let episode = Episode {
        program: VERDICT.into(),
        folder: folder.path().to_owned(),
        seed,
        length: Duration::from_secs(8),
        only: only.to_vec(),
        clocks: true,
    };
    let outcome = episode.run(|_| {}).await.expect("it runs");
    assert_eq!(outcome.verdict.violations, []);
    assert!(outcome.faults.values().map(|row| row.count).sum::<u64>() >= 2, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_run_of_faults_holds_every_invariant() {
    hold(7, &[Fault::KillLeader, Fault::IsolateLeader]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_jump_break_no_invariant() {
    hold(11, &[Fault::ClockLeader, Fault::ClockFollower]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_that_lie_or_are_full_break_no_invariant() {
    hold(13, &[Fault::DamagedBlob, Fault::DiskFull]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_swallow_bytes_break_no_invariant() {
    hold(17, &[Fault::Swallow, Fault::LongerRecord]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_a_clock_of_the_tests_is_not_asked_to_move_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let episode = Episode {
        program: VERDICT.into(),
        folder: folder.path().to_owned(),
        seed: 1,
        length: Duration::from_secs(1),
        only: vec![Fault::ClockLeader],
        clocks: false,
    };
    let refused = episode.run(|_| {}).await.expect_err("it is refused");
    assert!(refused.to_string().contains("clock-leader"), "{refused:#}");
}
