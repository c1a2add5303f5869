//! A load generator for one node, and a bare server to measure it beside.
//!
//! `verdict-load run` opens a fixed number of connections and sends one request after the other on
//! each (closed loop), or at a fixed rate (open loop: latency counts from when a request was due, so
//! that a slow server cannot hide its queue). `verdict-load bare` serves answers of a fixed size from
//! the same HTTP stack with nothing behind it. Both end by themselves.

#![allow(clippy::print_stdout, reason = "a program whose product is its output")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[derive(Parser)]
#[command(name = "verdict-load", about = "Load for one node, and a bare peer to compare with")]
struct Command {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Sends requests and prints rate and latency as JSON.
    Run(Run),
    /// Serves POSTs with an answer of a fixed size.
    Bare(Bare),
}

#[derive(Args, Clone)]
struct Run {
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1:7700")]
    address: SocketAddr,
    /// Path that is asked.
    #[arg(long, default_value = "/v1/decisions/payment")]
    path: String,
    /// API key.
    #[arg(long, default_value = "")]
    key: String,
    /// File with one JSON body a line; they are sent in turn.
    #[arg(long)]
    bodies: std::path::PathBuf,
    /// Connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Length of the run, after a tenth of it as warm-up.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Requests a second over all connections; as fast as answers come if absent.
    #[arg(long)]
    rate: Option<f64>,
}

#[derive(Args)]
struct Bare {
    /// Address to serve on.
    #[arg(long, default_value = "127.0.0.1:7799")]
    address: SocketAddr,
    /// Bytes of each answer.
    #[arg(long, default_value_t = 1_000)]
    answer_bytes: usize,
    /// How long to serve.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match Command::parse().mode {
            Mode::Run(run) => generate(run).await,
            Mode::Bare(bare) => serve(bare).await,
        }
    })
}

async fn serve(bare: Bare) -> Result<()> {
    let answer = Bytes::from(format!("{{\"pad\":\"{}\"}}", "x".repeat(bare.answer_bytes)));
    let handler = move |_body: Bytes| {
        let answer = answer.clone();
        async move { ([("content-type", "application/json")], answer) }
    };
    let router = axum::Router::new().fallback(handler);
    let listener = tokio::net::TcpListener::bind(bare.address).await?;
    let limit = tokio::time::sleep(Duration::from_secs_f64(bare.seconds));
    axum::serve(listener, router).with_graceful_shutdown(limit).await?;
    Ok(())
}

#[derive(Default)]
struct Tally {
    latencies_us: Vec<u64>,
    answers: u64,
    refused: u64,
    answer_bytes: u64,
}

async fn generate(run: Run) -> Result<()> {
    let text = std::fs::read_to_string(&run.bodies).context("the file of bodies")?;
    let bodies: Arc<Vec<Bytes>> =
        Arc::new(text.lines().map(|line| Bytes::copy_from_slice(line.as_bytes())).collect());
    ensure!(!bodies.is_empty(), "the file of bodies is empty");
    let start = Instant::now();
    let measure_from = start + Duration::from_secs_f64(run.seconds * 0.1);
    let end = measure_from + Duration::from_secs_f64(run.seconds);
    let mut tasks = JoinSet::new();
    for connection in 0..run.connections {
        let worker = Worker {
            run: run.clone(),
            bodies: bodies.clone(),
            connection,
            start,
            measure_from,
            end,
        };
        tasks.spawn(worker.work());
    }
    let mut total = Tally::default();
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    while let Some(done) = tasks.join_next().await {
        let tally = done??;
        total.answers += tally.answers;
        total.refused += tally.refused;
        total.answer_bytes += tally.answer_bytes;
        for latency in tally.latencies_us {
            histogram.saturating_record(latency.max(1));
        }
    }
    let quantile = |q: f64| histogram.value_at_quantile(q);
    let result = serde_json::json!({
        "path": run.path, "connections": run.connections, "rate_asked": run.rate,
        "seconds": run.seconds, "answers": total.answers, "not_2xx": total.refused,
        "answers_per_s": total.answers as f64 / run.seconds,
        "answer_bytes_mean": total.answer_bytes / total.answers.max(1),
        "latency_us": {"p50": quantile(0.50), "p90": quantile(0.90), "p99": quantile(0.99),
                       "p999": quantile(0.999), "max": histogram.max()},
    });
    println!("{result}");
    Ok(())
}

struct Worker {
    run: Run,
    bodies: Arc<Vec<Bytes>>,
    connection: usize,
    start: Instant,
    measure_from: Instant,
    end: Instant,
}

impl Worker {
    async fn work(self) -> Result<Tally> {
        let stream = TcpStream::connect(self.run.address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let mut tally = Tally::default();
        let interval = self.run.rate.map(|rate| self.run.connections as f64 / rate);
        let phase = interval.unwrap_or(0.0) * self.connection as f64 / self.run.connections as f64;
        for turn in 0u64.. {
            let mut due = Instant::now();
            if let Some(interval) = interval {
                due = self.start + Duration::from_secs_f64(phase + interval * turn as f64);
                tokio::time::sleep_until(due.into()).await;
            }
            if Instant::now() >= self.end {
                break;
            }
            let body = (self.connection as u64 * 7_919 + turn) % self.bodies.len() as u64;
            let (status, bytes) = self.ask(&mut sender, body as usize).await?;
            if due >= self.measure_from {
                tally.latencies_us.push(due.elapsed().as_micros() as u64);
                tally.answers += 1;
                tally.refused += u64::from(!status.is_success());
                tally.answer_bytes += bytes as u64;
            }
        }
        Ok(tally)
    }

    async fn ask(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        body: usize,
    ) -> Result<(hyper::StatusCode, usize)> {
        sender.ready().await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.run.path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("x-api-key", &self.run.key)
            .body(Full::new(self.bodies[body].clone()))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes().len()))
    }
}
