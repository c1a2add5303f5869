//! Connections to a node that are kept: one of HTTP/1.1 for itself, or one of HTTP/2 that many share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::client::conn::http2;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(12);

/// A client of one node; it connects when it must.
pub struct Client {
    address: SocketAddr,
    key: String,
    sender: Option<SendRequest<Full<Bytes>>>,
    driver: JoinSet<()>,
}

impl Client {
    pub fn new(address: SocketAddr, key: &str) -> Self {
        Self { address, key: key.to_owned(), sender: None, driver: JoinSet::new() }
    }

    /// Another client of the same node.
    pub fn again(&self) -> Self {
        Self::new(self.address, &self.key)
    }

    /// Status and body of an answer.
    pub async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Result<(u16, Bytes)> {
        let asked = tokio::time::timeout(REQUEST_TIMEOUT, self.ask_once(method, path, body)).await;
        let answer = asked.context("no answer in time").and_then(|answer| answer);
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    async fn ask_once(&mut self, method: Method, path: &str, body: Bytes) -> Result<(u16, Bytes)> {
        let sender = match &mut self.sender {
            Some(sender) => sender,
            none => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                let io = TokioIo::new(stream);
                let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
                self.driver.spawn(async move {
                    // What breaks a connection is told to whoever asks on it.
                    drop(connection.await);
                });
                none.insert(sender)
            }
        };
        sender.ready().await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("x-api-key", &self.key)
            .body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// A JSON answer of a GET.
    pub async fn get(&mut self, path: &str) -> Result<Json> {
        let (status, body) = self.ask(Method::GET, path, Bytes::new()).await?;
        if status != 200 {
            bail!("{path}: {status} {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// The revision that a change made.
    pub async fn change(&mut self, body: Bytes) -> Result<u64> {
        let (status, answer) = self.ask(Method::POST, "/v1/changes", body).await?;
        revision_of(status, &answer)
    }
}

/// The revision in the answer to a change.
fn revision_of(status: u16, answer: &[u8]) -> Result<u64> {
    if status != 200 {
        bail!("a change: {status} {}", String::from_utf8_lossy(answer));
    }
    let answer: Json = serde_json::from_slice(answer)?;
    answer["revision"].as_u64().context("a revision")
}

/// One HTTP/2 connection to a node; clones share it, as clients of gRPC do.
#[derive(Clone)]
pub struct Multiplexed {
    sender: http2::SendRequest<Full<Bytes>>,
    key: String,
    _driver: Arc<JoinSet<()>>,
}

impl Multiplexed {
    pub async fn connect(address: SocketAddr, key: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (executor, io) = (TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = http2::handshake(executor, io).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What breaks a connection is told to whoever asks on it.
            drop(connection.await);
        });
        Ok(Self { sender, key: key.to_owned(), _driver: Arc::new(driver) })
    }

    /// The revision that a change made.
    pub async fn change(&mut self, body: Bytes) -> Result<u64> {
        self.sender.ready().await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri("http://bench/v1/changes")
            .header("content-type", "application/json")
            .header("x-api-key", &self.key)
            .body(Full::new(body))?;
        let asked = async {
            let response = self.sender.send_request(request).await?;
            let status = response.status().as_u16();
            anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        let asked = tokio::time::timeout(REQUEST_TIMEOUT, asked).await;
        let (status, answer) = asked.context("no answer in time")??;
        revision_of(status, &answer)
    }
}
