//! What a cluster costs and how fast it is, in ratios that a person can check in one run.
//!
//! Each subcommand starts three real nodes on loopback with state in a folder of its own, measures,
//! and stops them. `commits` measures the same writes against three members of etcd beside it: equal
//! numbers of writers, equal keys and sizes of values, one request at a time a writer, TLS between
//! members of both, plain text to clients of both.
//!
//! etcd is spoken to in its own protocol, gRPC over HTTP/2, by the HTTP client that is here anyway:
//! one request message of two fields and five bytes before it need no code generator.

#![allow(clippy::print_stdout, reason = "a program whose product is its output")]

mod cluster;
mod commits;
mod etcd;
mod failover;
mod filling;
mod hostile;
mod http;
mod serving;
mod visible;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use serde_json::{Value as Json, json};

#[derive(Parser)]
#[command(name = "verdict-cluster-bench", about = "Measures a cluster of three nodes")]
struct Command {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    measure: Measure,
}

/// What every measurement needs.
#[derive(Args, Clone)]
pub struct Common {
    /// The program `verdict`; the one beside this program if absent.
    #[arg(long, global = true)]
    verdict: Option<PathBuf>,
    /// Folder of all state; emptied before and removed afterwards.
    #[arg(long, global = true, default_value = "cluster-bench-state")]
    dir: PathBuf,
    /// Node N listens from this port on, plus 10 N.
    #[arg(long, global = true, default_value_t = 17_700)]
    base_port: u16,
    /// JSON only.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Measure {
    /// Durable commits a second and their latency, beside etcd.
    Commits(commits::Commits),
    /// From a change to the last node that decides by it.
    Visible(visible::Visible),
    /// From a leader's death to the next accepted write.
    Failover(failover::Failover),
    /// Memory of idle nodes with many flags, and how soon one of them is ready after a restart.
    Filled(filling::Filled),
    /// Decisions a second of processor time, quiet and while changes are applied here and elsewhere.
    Serving(serving::Serving),
    /// Hostile ends at the admin actors, while an operator asks on; not part of `all`.
    Hostile(hostile::Hostile),
    /// Everything with its defaults.
    All,
}

fn main() -> Result<()> {
    // One thread: what is measured needs the other cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let command = Command::parse();
    let common = &command.common;
    let result = runtime.block_on(async {
        match command.measure {
            Measure::Commits(commits) => commits.run(common).await,
            Measure::Visible(visible) => visible.run(common).await,
            Measure::Failover(failover) => failover.run(common).await,
            Measure::Filled(filled) => filled.run(common).await,
            Measure::Serving(serving) => serving.run(common).await,
            Measure::Hostile(hostile) => hostile.run(common).await,
            Measure::All => Ok(json!([
                commits::Commits::default().run(common).await?,
                visible::Visible::default().run(common).await?,
                failover::Failover::default().run(common).await?,
                filling::Filled::default().run(common).await?,
                serving::Serving::default().run(common).await?,
            ])),
        }
    })?;
    if common.json {
        println!("{result}");
    }
    Ok(())
}

/// Quantiles of latencies in milliseconds.
pub fn quantiles(mut latencies_ms: Vec<f64>) -> Json {
    latencies_ms.sort_by(f64::total_cmp);
    let at = |q: f64| {
        let rank = (latencies_ms.len() as f64 * q).ceil() as usize;
        let value = latencies_ms.get(rank.saturating_sub(1)).copied().unwrap_or_default();
        (value * 1_000.0).round() / 1_000.0
    };
    json!({"n": latencies_ms.len(), "p50": at(0.50), "p90": at(0.90), "p99": at(0.99), "max": at(1.0)})
}
