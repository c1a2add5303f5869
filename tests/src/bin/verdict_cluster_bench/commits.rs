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
    /// Length of each turn.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Turns of each side, one after the other: what the machine does meanwhile meets both.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Bytes of each value: a flag, written as JSON.
    #[arg(long, default_value_t = 160)]
    bytes: usize,
    /// Connections at most, to either; writers share them, as clients of gRPC and of HTTP/2 do.
    #[arg(long, default_value_t = 48)]
    connections: usize,
    /// Has turns of writers too that have a connection of HTTP/1.1 to Verdict each.
    #[arg(long)]
    http1: bool,
    /// Only this side.
    #[arg(long, value_parser = ["verdict", "etcd"])]
    only: Option<String>,
}

impl Default for Commits {
    fn default() -> Self {
        let (writers, seconds, rounds) = (vec![1, 64, 500], 4.0, 5);
        Self { writers, seconds, rounds, bytes: 160, connections: 48, http1: false, only: None }
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
        r#"{{"request_id":"{request_id}","why":"a benchmark","changes":[{{"kind":"flag","name":"{key}","op":"put","body":{value}}}]}}"#
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

/// What was counted of one side, over all its turns.
#[derive(Default)]
struct Counted {
    latencies_ms: Vec<f64>,
    failed: u64,
    seconds: f64,
    cpu_s: f64,
}

impl Counted {
    fn told(self, writers: usize) -> Json {
        let commits = self.latencies_ms.len() as f64;
        json!({
            "writers": writers, "commits_per_s": (commits / self.seconds).round(),
            "failed": self.failed, "latency_ms": quantiles(self.latencies_ms),
            "members_cpu_share": (self.cpu_s / self.seconds * 100.0).round() / 100.0,
        })
    }
}

impl Commits {
    pub async fn run(&self, common: &Common) -> Result<Json> {
        std::fs::create_dir_all(&common.dir)?;
        let sync_us = sync_us(&common.dir)?;
        let wanted = |side: &str| self.only.as_deref().is_none_or(|only| only == side);
        let cluster = wanted("verdict").then(|| Cluster::up(common, false)).transpose()?;
        let etcd = match wanted("etcd") {
            true => Some(Etcd::up(&common.dir, common.base_port + 100).await?),
            false => None,
        };
        let (mut ours, mut http1, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        let mut turn = 0;
        for writers in &self.writers {
            let (mut our, mut their) = (Counted::default(), Counted::default());
            let mut our_http1 = Counted::default();
            for _ in 0..self.rounds {
                turn += 1;
                if let Some(cluster) = &cluster {
                    let pids: Vec<u32> = cluster.nodes.iter().map(|node| node.pid).collect();
                    let all = self.writers_of(cluster, *writers).await?;
                    self.measure(all, turn, &pids, &mut our).await?;
                    if self.http1 {
                        let address = |at: usize| cluster.nodes[at % cluster.nodes.len()].http;
                        let client = |at| Client::new(address(at), &cluster.key);
                        let all = (0..*writers).map(|at| Writer::VerdictHttp1(client(at)));
                        turn += 1;
                        self.measure(all.collect(), turn, &pids, &mut our_http1).await?;
                    }
                }
                if let Some(etcd) = &etcd {
                    let all = self.writers_of_etcd(etcd, *writers).await?;
                    self.measure(all, turn, &etcd.pids(), &mut their).await?;
                }
            }
            ours.extend(cluster.is_some().then(|| our.told(*writers)));
            http1.extend(self.http1.then(|| our_http1.told(*writers)));
            theirs.extend(etcd.is_some().then(|| their.told(*writers)));
        }
        self.tell(common, [("verdict", &ours), ("http/1", &http1), ("etcd", &theirs)]);
        Ok(json!({
            "measure": "commits", "value_bytes": self.bytes, "disk_sync_us": sync_us,
            "verdict": ours, "verdict_http1": http1, "etcd": theirs, "ratios": ratios(&ours, &theirs),
        }))
    }

    async fn writers_of_etcd(&self, etcd: &Etcd, writers: usize) -> Result<Vec<Writer>> {
        let mut connections = Vec::new();
        for connection in 0..self.connections.min(writers) {
            connections.push(Grpc::connect(etcd.clients[connection % 3]).await?);
        }
        let connection = |at| Writer::Etcd(Grpc::clone(&connections[at % connections.len()]));
        Ok((0..writers).map(connection).collect())
    }

    /// Writers, spread over the nodes.
    async fn writers_of(&self, cluster: &Cluster, writers: usize) -> Result<Vec<Writer>> {
        let address = |at: usize| cluster.nodes[at % cluster.nodes.len()].http;
        let mut connections = Vec::new();
        for connection in 0..self.connections.min(writers) {
            connections.push(Multiplexed::connect(address(connection), &cluster.key).await?);
        }
        let connection = |at| Multiplexed::clone(&connections[at % connections.len()]);
        Ok((0..writers).map(|at| Writer::Verdict(connection(at))).collect())
    }

    /// Writes for a while from all writers at once.
    async fn measure(
        &self,
        all: Vec<Writer>,
        turn: u64,
        pids: &[u32],
        counted: &mut Counted,
    ) -> Result<()> {
        let from = Instant::now() + WARM_UP;
        let until = from + Duration::from_secs_f64(self.seconds);
        let mut tasks = JoinSet::new();
        let bytes = self.bytes;
        for (at, mut writer) in all.into_iter().enumerate() {
            tasks.spawn(async move {
                let (mut latencies_ms, mut failed) = (Vec::new(), 0_u64);
                let mut number = turn << 32;
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
        tokio::time::sleep_until(from.into()).await;
        let before = total_cpu(pids)?;
        while let Some(done) = tasks.join_next().await {
            let (more, failures) = done?;
            counted.latencies_ms.extend(more);
            counted.failed += failures;
        }
        counted.seconds += from.elapsed().as_secs_f64();
        counted.cpu_s += total_cpu(pids)? - before;
        Ok(())
    }

    fn tell(&self, common: &Common, sides: [(&str, &Vec<Json>); 3]) {
        if common.json {
            return;
        }
        println!("writers | who     | commits/s |  p50 ms |  p99 ms | cores of members | failed");
        for (who, rows) in sides {
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
        for ratio in ratios(sides[0].1, sides[2].1) {
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
                    r#"{{"request_id":"fill-{number}","why":"a benchmark","changes":[{{"kind":"flag","name":"{key}","op":"put","body":{body}}}]}}"#
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
