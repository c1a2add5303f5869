//! Large bodies on disks that lie and over links that stall: real nodes, whose files are altered under
//! them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::Instant;
use verdict_config::model::sha256_hex;
use verdict_tests::chaos::cluster::{Cluster, LOOK_AGAIN};
use verdict_tests::chaos::http::Ask;
use verdict_tests::chaos::links::Mode;
use verdict_tests::chaos::perform::disk::bodies;
use verdict_tests::chaos::schedule::setup;

use crate::process::VERDICT;

const WITHIN: Duration = Duration::from_secs(60);
/// Bytes that a node gives at once.
const PIECE: u64 = 1 << 20;

/// A seed of a set-up in which entries are kept, so that bodies are fetched for them.
fn seed() -> u64 {
    (1..).find(|seed| setup(*seed).snapshot_entries == 1_000).expect("a seed")
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Instant::now() + WITHIN;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < limit, "never: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A list of some bytes.
fn list(name: &str, bytes: usize) -> Json {
    let value = |number: usize| json!({ "value": format!("{name}-{number:040}") });
    json!({ "entries": (0..bytes / (name.len() + 54)).map(value).collect::<Vec<_>>() })
}

struct Put {
    hash: String,
    bytes: u64,
    revision: u64,
}

async fn put(cluster: &Cluster, node: u64, name: &str, bytes: usize) -> Put {
    let list = list(name, bytes);
    let body = json!({ "request_id": name, "why": "a test", "changes": [
        { "kind": "list", "name": name, "op": "put", "body": list } ] });
    let taken = until("the change is taken", async || {
        let question = Ask::post("/v1/changes", &body).within(Duration::from_secs(20));
        let answer = cluster.ask(node, question).await.ok()?;
        assert!(answer.status != 400 && answer.status != 413, "{}", answer.body);
        answer.body["revision"].as_u64().filter(|_| answer.status == 200)
    });
    let revision = taken.await;
    let text = list.to_string();
    Put { hash: sha256_hex(text.as_bytes()), bytes: text.len() as u64, revision }
}

fn place(cluster: &Cluster, node: u64, hash: &str) -> PathBuf {
    cluster.dir(node).join("data/blobs/objects").join(hash)
}

async fn serves(cluster: &Cluster, node: u64, revision: u64) {
    until("the revision is served", async || {
        let question = Ask::get("/v1/status").at_least(revision);
        cluster.ask(node, question).await.ok().filter(|answer| answer.status == 200)
    })
    .await;
}

/// What a node tells of its store.
async fn counts(cluster: &Cluster, node: u64) -> Json {
    let answer = cluster.ask(node, Ask::get("/v1/status")).await.expect("an answer");
    answer.body["runtime"]["blobs"].clone()
}

/// Waits until everything in a node's store is what its hash says.
async fn whole(cluster: &Cluster, node: u64) {
    until("its store is whole", async || {
        let (_, damaged) = bodies(&cluster.dir(node)).expect("its store");
        damaged.is_empty().then_some(())
    })
    .await;
}

/// Who leads, a node that is to be away, and the third: the one that the second asks first for what
/// it lacks, though it has the entries of the first.
async fn roles(cluster: &Cluster) -> (u64, u64, u64) {
    let leader = until("a leader", async || cluster.leader().await).await;
    let next = |id: u64| id % 3 + 1;
    (leader, next(leader), next(next(leader)))
}

/// Flips a bit near the end of a file, where it is.
fn flip_the_end(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path).expect("the file");
    let place = file.metadata().expect("a length").len() - 10;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).expect("it is read");
    file.write_all_at(&[byte[0] ^ 1], place).expect("it is written");
}

fn cut_the_end(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).expect("the file");
    file.set_len(PIECE + 5).expect("it is cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_brought_past_a_peer_that_lies_cuts_short_or_stalls() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(Path::new(VERDICT), folder.path(), 3, seed()).await;
    let cluster = cluster.expect("it starts");
    for (fault, count) in [("lie", "lies"), ("cut", "cut_short"), ("stall", "bytes_resumed")] {
        let (leader, away, third) = roles(&cluster).await;
        cluster.kill(away);
        let put = put(&cluster, leader, fault, 1_900_000).await;
        assert!(put.bytes > PIECE + 100_000, "of two pieces");
        serves(&cluster, third, put.revision).await;
        // What is asked of the third comes late: between two pieces, its disk changes.
        cluster.links.set((away, third), Mode::Delay { ms: 600, jitter_ms: 0 });
        cluster.restart(away).expect("it starts");
        let partial = format!(".partial-{}", put.hash);
        let partial = cluster.dir(away).join("data/blobs/objects").join(partial);
        until("the first piece came", async || {
            partial.metadata().ok().filter(|about| about.len() == PIECE)
        })
        .await;
        let given = place(&cluster, third, &put.hash);
        match fault {
            "lie" => flip_the_end(&given),
            "cut" => cut_the_end(&given),
            _ => cluster.links.set((third, away), Mode::Cut),
        }
        serves(&cluster, away, put.revision).await;
        cluster.links.heal();
        let told = counts(&cluster, away).await;
        let seen = told[count].as_u64().expect("a count");
        assert!(if fault == "stall" { seen == PIECE } else { seen == 1 }, "{fault}: {told}");
        assert_eq!(told["brought"], 1, "{fault}: {told}");
        whole(&cluster, away).await;
        cluster.wait_ready(away).await.expect("it is ready");
        // Whoever gave what was wrong finds it by itself, at the latest when it starts.
        cluster.kill(third);
        cluster.restart(third).expect("it starts");
        whole(&cluster, third).await;
        cluster.wait_ready(third).await.expect("it is ready");
        let told = counts(&cluster, third).await;
        let expected = json!(u64::from(fault != "stall"));
        assert_eq!((&told["damaged"], &told["repaired"]), (&expected, &expected), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_damaged_body_says_so_mends_it_and_then_gives_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(Path::new(VERDICT), folder.path(), 3, seed()).await;
    let cluster = cluster.expect("it starts");
    let (leader, away, third) = roles(&cluster).await;
    cluster.kill(away);
    let first = put(&cluster, leader, "large", 200_000).await;
    // Nobody but the leader can be asked, and what it has is damaged.
    flip_the_end(&place(&cluster, leader, &first.hash));
    cluster.links.set((third, away), Mode::Cut);
    cluster.links.set((away, third), Mode::Cut);
    cluster.restart(away).expect("it starts");
    serves(&cluster, away, first.revision).await;
    let told = counts(&cluster, leader).await;
    assert_eq!((&told["damaged"], &told["repaired"]), (&json!(1), &json!(1)), "{told}");
    assert_eq!(counts(&cluster, away).await["lies"], 0, "it was given nothing wrong");
    for node in 1..=3 {
        whole(&cluster, node).await;
    }
    // Where nobody has it whole on a disk, what is in memory takes its place.
    cluster.links.heal();
    cluster.wait_ready(away).await.expect("it is ready");
    cluster.kill(third);
    let second = put(&cluster, leader, "larger", 300_000).await;
    serves(&cluster, away, second.revision).await;
    for node in [leader, away] {
        flip_the_end(&place(&cluster, node, &second.hash));
    }
    cluster.restart(third).expect("it starts");
    serves(&cluster, third, second.revision).await;
    for node in 1..=3 {
        whole(&cluster, node).await;
    }
}
