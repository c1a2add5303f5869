//! The walk of `README.md` from a CSV file to a served flow, run as it is printed.
//!
//! The commands are taken from the file, so that the text cannot differ from what works. Only the
//! ports of the node are others, given by the environment, since tests run beside each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use verdict_tests::ports::PortBlock;

use crate::process::VERDICT;

const HEADING: &str = "## From a CSV to a served flow";
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL_PERIOD: Duration = Duration::from_millis(20);

/// The commands below a heading, in the order of the text, each on one line.
fn commands(text: &str) -> Vec<String> {
    let section = text.split_once(HEADING).expect("the README has the walk").1;
    let section = section.split("\n## ").next().expect("a section");
    let mut commands = Vec::new();
    for block in section.split("```sh\n").skip(1) {
        let block = block.split("```").next().expect("a block ends");
        let joined = block.replace("\\\n", " ");
        let lines = joined.lines().map(str::trim);
        commands.extend(
            lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned),
        );
    }
    commands
}

/// A folder with the program on its `PATH` and the files of the repository that the walk reads.
struct Walk {
    folder: tempfile::TempDir,
    ports: PortBlock,
}

impl Walk {
    fn new(root: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).expect("bin");
        std::os::unix::fs::symlink(VERDICT, bin.join("verdict")).expect("the program");
        std::os::unix::fs::symlink(root.join("docs"), folder.path().join("docs")).expect("docs");
        Self { folder, ports: PortBlock::claim().expect("ports") }
    }

    fn command(&self, text: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        let port = |offset: u16| format!("127.0.0.1:{}", self.ports.first() + offset);
        command
            .args(["-c", text])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()))
            .env("VERDICT_HTTP_ADDRESS", port(1))
            .env("VERDICT_CLUSTER_PEER_ADDRESS", port(2))
            .env("VERDICT_ADMIN_ADDRESS", port(3))
            .env_remove("VERDICT_URL")
            .env_remove("VERDICT_API_KEY")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command as it is printed, with `--json` so that its document can be read.
    fn run(&self, text: &str) -> Json {
        let output = self.command(&format!("{text} --json")).output().expect("a shell");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}: {error}");
        assert!(!error.contains("error:"), "{text}: {error}");
        one_document(text, &output)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn one_document(text: &str, output: &Output) -> Json {
    let printed = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{text}: {error}: {printed}"))
}

/// The node of the walk, killed at the end.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn wait_until_served(walk: &Walk, node: &mut Served) {
    let until = Instant::now() + READY_WITHIN;
    while !walk.path("verdict-dev/node.json").is_file() {
        if let Some(status) = node.0.try_wait().expect("waiting works") {
            panic!("the node ended with {status}");
        }
        assert!(Instant::now() < until, "the node was not ready in {READY_WITHIN:?}");
        std::thread::sleep(POLL_PERIOD);
    }
}

/// Nothing was left out: each record is decided, with all columns, by the model.
fn assert_whole(found: &Json, rows: u64) {
    assert_eq!(found["n"], rows, "{found}");
    assert_eq!(found["decided"], rows, "{found}");
    assert_eq!((&found["failed"], &found["degraded"]), (&Json::from(0), &Json::from(0)), "{found}");
    let columns = &found["columns"];
    assert_eq!(columns["unread"], serde_json::json!([]), "{found}");
    assert_eq!(columns["fields_without_column"], serde_json::json!([]), "{found}");
    assert_eq!(columns["read"].as_array().map(Vec::len), Some(6), "{found}");
    assert!(found["accuracy"].as_f64().is_some_and(|share| share > 0.8), "{found}");
}

#[test]
fn the_walk_from_a_csv_to_a_served_flow_works_as_it_is_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let text = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let commands = commands(&text);
    let verbs: Vec<&str> =
        commands.iter().filter_map(|command| command.split_whitespace().nth(1)).collect();
    assert_eq!(verbs, ["train", "eval", "predict", "decide", "dev", "decide"], "{commands:?}");
    let walk = Walk::new(root);

    let trained = walk.run(&commands[0]);
    let kinds: BTreeMap<&str, &str> = trained["columns"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|column| Some((column["name"].as_str()?, column["kind"].as_str()?)))
        .collect();
    assert_eq!(kinds.len(), 6, "{trained}");
    assert_eq!((kinds["region"], kinds["amount"]), ("category", "number"), "{trained}");

    let measured = walk.run(&commands[1]);
    assert_eq!(measured["n"], 200);
    assert_eq!(measured["unknown_labels"], serde_json::json!({}));
    assert_eq!(measured["unread_columns"], serde_json::json!([]));
    assert!(measured["accuracy"].as_f64().is_some_and(|share| share > 0.8), "{measured}");

    let scored = walk.run(&commands[2]);
    assert_eq!(
        (&scored["n"], &scored["columns"]),
        (&200.into(), &serde_json::json!(["predicted", "score"]))
    );

    let decided = walk.run(&commands[3]);
    assert_whole(&decided, 200);
    for measure in ["accuracy", "macro_f1", "auc", "brier", "ece"] {
        let (one, other) = (decided[measure].as_f64(), measured[measure].as_f64());
        let near = one.zip(other).is_some_and(|(one, other)| (one - other).abs() < 1e-4);
        assert!(near, "{measure}: {decided} {measured}");
    }

    let log = std::fs::File::create(walk.path("dev.log")).expect("a log");
    let mut dev = walk.command(&format!("exec {}", commands[4]));
    dev.stdout(log.try_clone().expect("a log")).stderr(log);
    let mut node = Served(dev.spawn().expect("the node starts"));
    wait_until_served(&walk, &mut node);
    let served = walk.run(&commands[5]);
    assert_whole(&served, 200);
    assert_eq!(served["accuracy"], decided["accuracy"]);
    let file = std::fs::read_to_string(walk.path("served.csv")).expect("the decisions");
    assert_eq!(file.lines().count(), 201);
    assert!(file.starts_with("purpose,region,amount"), "{file}");
}
