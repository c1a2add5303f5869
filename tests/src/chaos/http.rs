//! A client that tells apart what was refused, what was done, and what nobody knows.

use std::time::Duration;

use anyhow::{Context, Result};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long a connection to a process on this machine may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// An answer that came in whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `X-Verdict-Revision`.
    pub revision: Option<u64>,
    /// `X-Verdict-Stale`.
    pub stale: bool,
    /// The body as JSON; null where it is none.
    pub body: Json,
    /// The body as it came.
    pub bytes: Bytes,
}

/// An answer whose head has come. Dropping it closes the connection.
pub struct Opened {
    /// The answer.
    pub response: Response<Incoming>,
    /// Carries it.
    pub connection: JoinSet<()>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody listens: the request was never sent.
    NotSent(String),
    /// It may have been taken.
    Unknown(String),
}

/// A question.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// `GET` or `POST`.
    pub method: Method,
    /// Path and query.
    pub path: &'a str,
    /// The body.
    pub body: Option<&'a Json>,
    /// `X-Verdict-Min-Revision`.
    pub min_revision: Option<u64>,
    /// How long the answer may take.
    pub within: Duration,
}

impl<'a> Ask<'a> {
    /// Reads.
    #[must_use]
    pub const fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
            min_revision: None,
            within: Duration::from_secs(5),
        }
    }

    /// Posts.
    #[must_use]
    pub const fn post(path: &'a str, body: &'a Json) -> Self {
        Self {
            method: Method::POST,
            path,
            body: Some(body),
            min_revision: None,
            within: Duration::from_secs(5),
        }
    }

    /// With another patience.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Answered under this revision at least.
    #[must_use]
    pub fn at_least(self, revision: u64) -> Self {
        Self { min_revision: Some(revision), ..self }
    }
}

/// Asks an address (`127.0.0.1:7700`) with a key.
///
/// # Errors
/// No answer, or not in time.
pub async fn ask(address: &str, key: &str, question: Ask<'_>) -> Result<Answer, NoAnswer> {
    let within = question.within;
    let stream = match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(NoAnswer::NotSent(error.to_string())),
        Err(_) => return Err(NoAnswer::NotSent("no connection in time".to_owned())),
    };
    let asking = async {
        let Opened { response, connection: _carried } =
            send(stream, address, key, &question).await?;
        read(response).await
    };
    match tokio::time::timeout(within, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(NoAnswer::Unknown(format!("{error:#}"))),
        Err(_) => Err(NoAnswer::Unknown(format!("no answer within {within:?}"))),
    }
}

/// Opens a stream of events; its head has come.
///
/// # Errors
/// No answer in time.
pub async fn open(address: &str, key: &str, path: &str, last_event: Option<u64>) -> Result<Opened> {
    let opening = async {
        let stream = TcpStream::connect(address).await?;
        let mut request =
            Request::get(path).header("host", address).header("authorization", bearer(key));
        if let Some(last) = last_event {
            request = request.header("last-event-id", last.to_string());
        }
        exchange(stream, request.body(Full::default())?).await
    };
    tokio::time::timeout(Duration::from_secs(5), opening).await.context("no head in time")?
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

async fn send(stream: TcpStream, address: &str, key: &str, question: &Ask<'_>) -> Result<Opened> {
    let mut request = Request::builder()
        .method(question.method.clone())
        .uri(question.path)
        .header("host", address)
        .header("connection", "close")
        .header("authorization", bearer(key));
    if let Some(revision) = question.min_revision {
        request = request.header("x-verdict-min-revision", revision.to_string());
    }
    let mut bytes = Vec::new();
    if let Some(body) = question.body {
        request = request.header("content-type", "application/json");
        bytes = serde_json::to_vec(body)?;
    }
    exchange(stream, request.body(Full::new(Bytes::from(bytes)))?).await
}

async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> Result<Opened> {
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut carried = JoinSet::new();
    carried.spawn(async move {
        let _ = connection.await;
    });
    let response = sender.send_request(request).await?;
    Ok(Opened { response, connection: carried })
}

async fn read(response: Response<Incoming>) -> Result<Answer> {
    let status = response.status().as_u16();
    let revision = response.headers().get("x-verdict-revision");
    let revision = revision.and_then(|value| value.to_str().ok()?.parse().ok());
    let stale = response.headers().get("x-verdict-stale").is_some_and(|value| value == "true");
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let bytes = body.collect().await.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Json::Null);
    Ok(Answer { status, revision, stale, body, bytes })
}
