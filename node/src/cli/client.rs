//! A small HTTP client for a node's API.

use std::path::Path;
use std::time::Duration;

use serde_json::Value as Json;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use verdict_config::{Code, Fault};

use super::Failure;
use crate::reasons;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Bodies above it are sent once the node has agreed to read them.
const EXPECT_ABOVE: usize = 64 << 10;

/// A node's API.
pub struct Client {
    agent: ureq::Agent,
    url: String,
    key: Option<String>,
}

/// An answer with its status.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; `null` if it is no JSON.
    pub json: Json,
}

impl Client {
    /// A client for the node at a URL.
    ///
    /// # Errors
    /// The authority's file cannot be read.
    pub fn new(url: String, key: Option<String>, ca: Option<&Path>) -> Result<Self, Failure> {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(600)))
            .timeout_connect(Some(Duration::from_secs(10)));
        if let Some(ca) = ca {
            let pem = super::data::read_bytes(ca)?;
            let certificate = Certificate::from_pem(&pem)
                .map_err(|_| {
                    Failure::new(format!(
                        "{} is not a certificate in PEM: name the file that `ca` in cluster.json names, \
                         or the authority's certificate",
                        ca.display()
                    ))
                })?;
            let roots = RootCerts::from(vec![certificate]);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { agent: config.build().new_agent(), url, key })
    }

    /// Asks.
    ///
    /// # Errors
    /// No answer, or a refusal with its faults.
    pub fn get(&self, path: &str) -> Result<Json, Failure> {
        accepted(self.try_get(path)?)
    }

    /// Asks, and answers refusals as well.
    ///
    /// # Errors
    /// No answer.
    pub fn try_get(&self, path: &str) -> Result<Answer, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("X-API-Key", key);
        }
        self.read(request.call())
    }

    /// Asks for bytes and writes them to a file as they come; how many.
    ///
    /// # Errors
    /// No answer, a refusal, or the disk.
    pub fn download(&self, path: &str, file: &mut std::fs::File) -> Result<u64, Failure> {
        let mut body = self.read_stream(path)?;
        std::io::copy(&mut body, file).map_err(|error| {
            let reason = reasons::io(&error);
            Failure::new(format!("the bytes from {} cannot be kept: {reason}", self.url))
        })
    }

    /// Asks for bytes, to be read as they come.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub fn read_stream(&self, path: &str) -> Result<impl std::io::Read + use<>, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("X-API-Key", key);
        }
        let mut response = request.call().map_err(|error| self.no_answer(&error))?;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            let text = response.body_mut().read_to_string();
            let text = text.map_err(|error| self.no_answer(&error))?;
            let json = serde_json::from_str(&text).unwrap_or_default();
            accepted(Answer { status, json })?;
        }
        Ok(response.into_body().into_reader())
    }

    /// Sends bytes as they are read.
    ///
    /// # Errors
    /// No answer, or a refusal with its faults.
    pub fn send_stream(
        &self,
        path: &str,
        media_type: &str,
        from: impl std::io::Read + 'static,
    ) -> Result<Json, Failure> {
        let mut request =
            self.agent.post(format!("{}{path}", self.url)).header("Content-Type", media_type);
        if let Some(key) = &self.key {
            request = request.header("X-API-Key", key);
        }
        let request = request.header("Expect", "100-continue");
        accepted(self.read(request.send(ureq::SendBody::from_owned_reader(from)))?)
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// No answer, or a refusal with its faults.
    pub fn post(&self, path: &str, body: &Json) -> Result<Json, Failure> {
        let bytes = serde_json::to_vec(body).map_err(anyhow::Error::from)?;
        accepted(self.try_send(path, "application/json", &bytes)?)
    }

    /// Sends bytes, and answers refusals as well.
    ///
    /// # Errors
    /// No answer.
    pub fn try_send(&self, path: &str, media_type: &str, bytes: &[u8]) -> Result<Answer, Failure> {
        let mut request =
            self.agent.post(format!("{}{path}", self.url)).header("Content-Type", media_type);
        if let Some(key) = &self.key {
            request = request.header("X-API-Key", key);
        }
        if bytes.len() > EXPECT_ABOVE {
            // A node that refuses the request says so at once; without this it would close the
            // connection on a client that still writes and never reads why.
            request = request.header("Expect", "100-continue");
        }
        self.read(request.send(bytes))
    }

    fn read(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, Failure> {
        let (status, bytes) = self.read_bytes(answer)?;
        Ok(Answer { status, json: serde_json::from_slice(&bytes).unwrap_or_default() })
    }

    fn read_bytes(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let mut answer = answer.map_err(|error| self.no_answer(&error))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        Ok((status, body.read_to_vec().map_err(|error| self.no_answer(&error))?))
    }

    fn no_answer(&self, error: &ureq::Error) -> Failure {
        let advice =
            advice(&error.to_string()).map(|advice| format!("; {advice}")).unwrap_or_default();
        Failure::new(format!("no answer from {}: {}{advice}", self.url, reason(error)))
    }
}

/// Why a request failed, in words.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => reasons::io(error),
        ureq::Error::Timeout(_) => "it did not answer in time; is the node overloaded?".to_owned(),
        ureq::Error::HostNotFound => "there is no such host; check the address".to_owned(),
        ureq::Error::BadUri(_) => {
            "that is not an address; write it like http://127.0.0.1:7700".to_owned()
        }
        ureq::Error::BodyExceedsLimit(most) => {
            format!("its answer is larger than {most} bytes; ask for less")
        }
        other => other.to_string(),
    }
}

/// What can be done about a connection that fails for a usual reason.
fn advice(error: &str) -> Option<&'static str> {
    let known = [
        ("Connection refused", "is a node running there? `verdict dev` starts one"),
        (
            "CaUsedAsEndEntity",
            "the node's certificate is marked as an authority's: make it with \
             basicConstraints=CA:FALSE, or sign one for the node with it",
        ),
        ("UnknownIssuer", "name the authority that signed the node's certificate with --ca"),
    ];
    known.into_iter().find(|(part, _)| error.contains(part)).map(|(_, advice)| advice)
}

fn accepted(answer: Answer) -> Result<Json, Failure> {
    if (200..300).contains(&answer.status) {
        return Ok(answer.json);
    }
    let faults = faults_of(&answer.json);
    if !faults.is_empty() {
        return Err(Failure::Faults(faults));
    }
    let text = |key: &str| answer.json[key].as_str().unwrap_or_default().to_owned();
    Err(Failure::new(match answer.json["code"].as_str() {
        Some(code) => format!("{code} {}: {}", text("title"), text("detail")),
        None => format!(
            "the node answered with the status {} and no explanation: is it a node of Verdict?",
            answer.status
        ),
    }))
}

/// The faults of a problem.
#[must_use]
pub fn faults_of(problem: &Json) -> Vec<Fault> {
    let faults = problem["faults"].as_array();
    faults
        .into_iter()
        .flatten()
        .map(|fault| {
            let text = |key: &str| fault[key].as_str().unwrap_or_default();
            let code = Code::ALL.iter().find(|code| code.as_str() == text("code"));
            Fault::new(*code.unwrap_or(&Code::Internal), text("path"), text("message"))
        })
        .collect()
}

/// Percent-encodes a path segment.
#[must_use]
pub fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_encoded() {
        assert_eq!(segment("01K-a_b.c:replay"), "01K-a_b.c:replay");
        assert_eq!(segment("a/b é?"), "a%2Fb%20%C3%A9%3F");
    }

    #[test]
    fn usual_failures_come_with_advice() {
        assert!(advice("io: Connection refused (os error 111)").is_some());
        assert!(advice("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))").is_some());
        assert!(advice("timeout: global").is_none());
    }

    #[test]
    fn a_refusal_tells_its_faults() {
        let problem = serde_json::json!({
            "code": "VD0602", "title": "t", "detail": "d",
            "faults": [{ "path": "changes[0]", "code": "VD0103", "message": "m" }],
        });
        let Err(Failure::Faults(faults)) = accepted(Answer { status: 422, json: problem }) else {
            panic!("it was accepted");
        };
        assert_eq!(faults, [Fault::new(Code::UnknownKey, "changes[0]", "m")]);
    }
}
