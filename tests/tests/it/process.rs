//! A real node process in a folder of its own, and a client for it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tempfile::TempDir;

/// The program under test.
pub const VERDICT: &str = env!("CARGO_BIN_EXE_verdict-under-test");
/// The key that test nodes accept, with every role.
pub const KEY: &str = "test-key-with-every-role";
/// The key that test nodes accept with the role viewer.
pub const VIEWER_KEY: &str = "test-key-that-only-looks";
/// Between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const START_LIMIT: Duration = Duration::from_secs(60);

/// An answer: status, headers that tests look at, body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub revision: Option<u64>,
    pub content_type: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A node process. Dropping it kills it.
pub struct Node {
    child: Child,
    pub folder: PathBuf,
    pub address: String,
    agent: ureq::Agent,
    _temporary: Option<TempDir>,
}

/// Writes files below a folder.
pub fn write_files(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folder");
        std::fs::write(path, text).expect("file");
    }
}

impl Node {
    /// Starts a node that serves these catalogue files, and waits until it is ready.
    pub fn start(files: &[(&str, &str)]) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = temporary.path().to_owned();
        write_files(&folder.join("catalogue"), files);
        let mut node = Self::start_in(&folder);
        node._temporary = Some(temporary);
        node
    }

    /// Starts a node in a folder that has a `catalogue`.
    pub fn start_in(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let hash = |key: &str| verdict_config::model::sha256_hex(key.as_bytes());
        let config = format!(
            "[node]\nid = 7\ndata_dir = {data:?}\ncatalogue_dir = {catalogue:?}\n\
             catalogue_key_file = {key_file:?}\n\
             [http]\naddress = \"{port}\"\n\
             [[keys]]\nname = \"tests\"\nsha256 = \"{operator}\"\nrole = \"operator\"\n\
             [[keys]]\nname = \"viewer\"\nsha256 = \"{viewer}\"\nrole = \"viewer\"\n",
            operator = hash(KEY),
            viewer = hash(VIEWER_KEY),
            data = folder.join("data"),
            catalogue = folder.join("catalogue"),
            key_file = folder.join("folder-key"),
        );
        std::fs::write(folder.join("folder-key"), KEY).expect("the folder's key");
        std::fs::create_dir_all(folder.join("catalogue")).expect("folder");
        std::fs::write(folder.join("node.toml"), config).expect("settings");
        Self::spawn(folder, port.to_string())
    }

    /// Starts a node by the settings `node.toml` of a folder, which say that it listens at an address.
    pub fn spawn(folder: &Path, address: String) -> Self {
        let log = std::fs::File::create(folder.join("node.log")).expect("log");
        let child = Command::new(VERDICT)
            .args(["node", "--config"])
            .arg(folder.join("node.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("the node starts");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .new_agent();
        let mut node = Self { child, folder: folder.to_owned(), address, agent, _temporary: None };
        node.wait_ready();
        node
    }

    fn wait_ready(&mut self) {
        let limit = Instant::now() + START_LIMIT;
        while Instant::now() < limit {
            if let Some(status) = self.child.try_wait().expect("waiting works") {
                panic!("the node ended with {status}:\n{}", self.log());
            }
            if self.try_get("/readyz").is_some_and(|answer| answer.status == 200) {
                return;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        panic!("the node was not ready in {START_LIMIT:?}:\n{}", self.log());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("node.log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn try_get(&self, path: &str) -> Option<Answer> {
        let request = self.agent.get(format!("http://{}{path}", self.address));
        request.header("X-API-Key", KEY).call().ok().map(answer)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|| panic!("no answer to GET {path}:\n{}", self.log()))
    }

    pub fn post(&self, path: &str, body: &Json) -> Answer {
        self.try_post(path, body)
            .unwrap_or_else(|error| panic!("POST {path}: {error}\n{}", self.log()))
    }

    pub fn try_post(&self, path: &str, body: &Json) -> Result<Answer, ureq::Error> {
        let request = self.agent.post(format!("http://{}{path}", self.address));
        let request = request.header("X-API-Key", KEY).content_type("application/json");
        request.send(serde_json::to_vec(body).expect("JSON")).map(answer)
    }

    /// Sends a request with these headers only.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = ureq::http::Request::builder();
        request = request.method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = if body.is_empty() {
            self.agent.run(request.body(()).expect("a request"))
        } else {
            self.agent.run(request.body(body.to_vec()).expect("a request"))
        };
        answer(response.unwrap_or_else(|error| panic!("{method} {path}: {error}")))
    }

    pub fn delete(&self, path: &str) -> Answer {
        let request = self.agent.delete(format!("http://{}{path}", self.address));
        answer(request.header("X-API-Key", KEY).call().expect("an answer"))
    }

    /// How many decisions the node says that it has made since it started.
    pub fn count_decisions(&self) -> u64 {
        let text = self.try_get("/metrics").map(|answer| answer.text).unwrap_or_default();
        let samples = text.lines().filter(|line| line.starts_with("verdict_decisions_total"));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// Waits until the process has ended; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("the process ends").code()
    }

    /// Ends the process at once, as a power cut of the process would.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill works");
        self.child.wait().expect("the process is gone");
    }

    /// Asks the process to end and returns its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let done = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        assert!(done.expect("kill runs").success());
        self.child.wait().expect("the process ends").code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let header = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    Answer {
        status: response.status().as_u16(),
        revision: header("x-verdict-revision").and_then(|text| text.parse().ok()),
        content_type: header("content-type").unwrap_or_default(),
        text: response.body_mut().read_to_string().unwrap_or_default(),
    }
}

/// Repeats a check until it holds; what it last saw is told when it never does.
pub fn eventually<T: std::fmt::Debug>(
    mut look: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < limit, "never held; last seen: {seen:?}");
        std::thread::sleep(POLL_INTERVAL);
    }
}
