//! Durable commits: the same writes to three nodes of ours and to three members of etcd.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use hyper::body::Bytes;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::cluster::{Cluster, cpu_seconds};
use super::etcd::{Etcd, Grpc};
use super::http::{Client, Multiplexed};
use super::{Common, quantiles};

/// What is written before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// Keys of one writer.
const KEYS: u64 = 20;

/// Arguments of `commits`.
#[derive(Args, Clone)]
pub struct Commits {
    /// Numbers of writers, each of which has one write under way.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 500])]
    writers: Vec<usize>,
    /// Length of each run.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Bytes of each value: a flag, written as JSON.
    #[arg(long, default_value_t = 160)]
    bytes: usize,
    /// Connections at most, to either; writers share them, as clients of gRPC and of HTTP/2 do.
    #[arg(long, default_value_t = 48)]
    connections: usize,
    /// A connection of HTTP/1.1 to Verdict for each writer.
    #[arg(long)]
    http1: bool,
    /// Only this side.
    #[arg(long, value_parser = ["verdict", "etcd"])]
    only: Option<String>,
}

impl Default for Commits {
    fn default() -> Self {
        let (writers, seconds) = (vec![1, 64, 500], 10.0);
        Self { writers, seconds, bytes: 160, connections: 48, http1: false, only: None }
    }
}

/// One of the two that are compared.
enum Writer {
    Verdict(Multiplexed),
    VerdictHttp1(Client),
    Etcd(Grpc),
}

/// A value: a small flag of exactly so many bytes, another one each time.
fn value(bytes: usize, number: u64) -> String {
    let whole = |pad: usize| {
        format!(
            r#"{{"state":"ENABLED","variants":{{"on":true,"off":false}},"defaultVariant":"on","metadata":{{"n":"{number:010}","pad":"{}"}}}}"#,
            "x".repeat(pad)
        )
    };
    whole(bytes.saturating_sub(whole(0).len()))
}

/// The change set that puts a flag.
fn change_of(request_id: &str, key: &str, value: &str) -> Bytes {
    let body = format!(
        r#"{{"request_id":"{request_id}","why":"","changes":[{{"kind":"flag","name":"{key}","op":"put","body":{value}}}]}}"#
    );
    Bytes::from(body)
}

impl Writer {
    async fn write(&mut self, writer: usize, number: u64, bytes: usize) -> Result<()> {
        let key = format!("bench-{writer}-{}", number % KEYS);
        let value = value(bytes, number);
        match self {
            Self::Etcd(etcd) => etcd.put(key.as_bytes(), value.as_bytes()).await,
            Self::Verdict(client) => {
                let body = change_of(&format!("{writer}-{number}-{bytes}"), &key, &value);
                client.change(body).await.map(|_| ())
            }
            Self::VerdictHttp1(client) => {
                let body = change_of(&format!("{writer}-{number}-{bytes}"), &key, &value);
                client.change(body).await.map(|_| ())
            }
        }
    }
}

impl Commits {
    pub async fn run(&self, common: &Common) -> Result<Json> {
        std::fs::create_dir_all(&common.dir)?;
        let sync_us = sync_us(&common.dir)?;
        let wanted = |side: &str| self.only.as_deref().is_none_or(|only| only == side);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        if wanted("verdict") {
            let cluster = Cluster::up(common, false)?;
            let pids: Vec<u32> = cluster.nodes.iter().map(|node| node.pid).collect();
            for (round, writers) in self.writers.iter().enumerate() {
                let all = self.writers_of(&cluster, *writers).await?;
                ours.push(self.measure(all, round, &pids).await?);
            }
        }
        if wanted("etcd") {
            let etcd = Etcd::up(&common.dir, common.base_port + 100).await?;
            for (round, writers) in self.writers.iter().enumerate() {
                let mut connections = Vec::new();
                for connection in 0..self.connections.min(*writers) {
                    connections.push(Grpc::connect(etcd.clients[connection % 3]).await?);
                }
                let all = (0..*writers)
                    .map(|w| Writer::Etcd(connections[w % connections.len()].clone()))
                    .collect();
                theirs.push(self.measure(all, round, &etcd.pids()).await?);
            }
        }
        self.tell(common, &ours, &theirs);
        Ok(json!({
            "measure": "commits", "value_bytes": self.bytes, "disk_sync_us": sync_us,
            "verdict": ours, "etcd": theirs, "ratios": ratios(&ours, &theirs),
        }))
    }

    /// Writers, spread over the nodes.
    async fn writers_of(&self, cluster: &Cluster, writers: usize) -> Result<Vec<Writer>> {
        let address = |at: usize| cluster.nodes[at % cluster.nodes.len()].http;
        if self.http1 {
            let client = |at| Writer::VerdictHttp1(Client::new(address(at), &cluster.key));
            return Ok((0..writers).map(client).collect());
        }
        let mut connections = Vec::new();
        for connection in 0..self.connections.min(writers) {
            connections.push(Multiplexed::connect(address(connection), &cluster.key).await?);
        }
        let connection = |at| Multiplexed::clone(&connections[at % connections.len()]);
        Ok((0..writers).map(|at| Writer::Verdict(connection(at))).collect())
    }

    /// Writes for a while from all writers at once.
    async fn measure(&self, all: Vec<Writer>, round: usize, pids: &[u32]) -> Result<Json> {
        let writers = all.len();
        let from = Instant::now() + WARM_UP;
        let until = from + Duration::from_secs_f64(self.seconds);
        let before = total_cpu(pids)?;
        let mut tasks = JoinSet::new();
        let bytes = self.bytes;
        for (at, mut writer) in all.into_iter().enumerate() {
            tasks.spawn(async move {
                let (mut latencies_ms, mut failed) = (Vec::new(), 0_u64);
                let mut number = (round as u64) << 32;
                while Instant::now() < until {
                    number += 1;
                    let sent = Instant::now();
                    let written = writer.write(at, number, bytes).await;
                    if sent >= from {
                        match written {
                            Ok(()) => latencies_ms.push(sent.elapsed().as_secs_f64() * 1_000.0),
                            Err(_) => failed += 1,
                        }
                    }
                }
                (latencies_ms, failed)
            });
        }
        let (mut latencies_ms, mut failed) = (Vec::new(), 0);
        while let Some(done) = tasks.join_next().await {
            let (more, failures) = done?;
            latencies_ms.extend(more);
            failed += failures;
        }
        let seconds = from.elapsed().as_secs_f64();
        let cpu = total_cpu(pids)? - before;
        let commits = latencies_ms.len() as f64;
        Ok(json!({
            "writers": writers, "commits_per_s": (commits / seconds).round(),
            "failed": failed, "latency_ms": quantiles(latencies_ms),
            "members_cpu_share": (cpu / (seconds + WARM_UP.as_secs_f64()) * 100.0).round() / 100.0,
        }))
    }

    fn tell(&self, common: &Common, ours: &[Json], theirs: &[Json]) {
        if common.json {
            return;
        }
        println!("writers | who     | commits/s |  p50 ms |  p99 ms | cores of members | failed");
        for (who, rows) in [("verdict", ours), ("etcd", theirs)] {
            for row in rows {
                println!(
                    "{:>7} | {who:<7} | {:>9} | {:>7} | {:>7} | {:>16} | {}",
                    row["writers"],
                    row["commits_per_s"],
                    row["latency_ms"]["p50"],
                    row["latency_ms"]["p99"],
                    row["members_cpu_share"],
                    row["failed"]
                );
            }
        }
        for ratio in ratios(ours, theirs) {
            println!(
                "{} writers: {} of etcd's commits a second, {} of its p99",
                ratio["writers"], ratio["commits_per_s"], ratio["p99"]
            );
        }
    }
}

/// Ours over theirs.
fn ratios(ours: &[Json], theirs: &[Json]) -> Vec<Json> {
    let ratio = |ours: &Json, theirs: &Json| {
        let ratio = ours.as_f64().zip(theirs.as_f64()).map(|(ours, theirs)| ours / theirs);
        ratio.map(|ratio| (ratio * 100.0).round() / 100.0)
    };
    let both = ours.iter().zip(theirs);
    both.map(|(ours, theirs)| {
        json!({
            "writers": ours["writers"],
            "commits_per_s": ratio(&ours["commits_per_s"], &theirs["commits_per_s"]),
            "p99": ratio(&ours["latency_ms"]["p99"], &theirs["latency_ms"]["p99"]),
        })
    })
    .collect()
}

fn total_cpu(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| cpu_seconds(*pid)).sum()
}

/// What one append and sync of this disk takes, in microseconds: the bound of a single writer.
fn sync_us(dir: &Path) -> Result<Json> {
    let path = dir.join("sync-probe");
    let mut file = std::fs::File::create(&path)?;
    let mut took_us = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        took_us.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&path)?;
    Ok(quantiles(took_us))
}

/// Puts flags from many writers at the nodes in turn. Gives how many were put.
pub async fn put_flags(
    cluster: &Cluster,
    bodies: Arc<dyn Fn(u64) -> (String, String) + Send + Sync>,
    range: std::ops::Range<u64>,
    writers: u64,
) -> Result<u64> {
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let mut client = cluster.client(writer as usize % cluster.nodes.len());
        let (bodies, range) = (Arc::clone(&bodies), range.clone());
        tasks.spawn(async move {
            let mut put = 0_u64;
            for number in range.skip(writer as usize).step_by(writers as usize) {
                let (key, body) = bodies(number);
                let change = format!(
                    r#"{{"request_id":"fill-{number}","why":"","changes":[{{"kind":"flag","name":"{key}","op":"put","body":{body}}}]}}"#
                );
                client.change(Bytes::from(change)).await?;
                put += 1;
            }
            anyhow::Ok(put)
        });
    }
    let mut put = 0;
    while let Some(done) = tasks.join_next().await {
        put += done??;
    }
    Ok(put)
}
