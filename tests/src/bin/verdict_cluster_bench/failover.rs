//! From a leader's death to the next accepted write.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use hyper::body::Bytes;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::{Common, quantiles};

/// How long a cluster is left alone between two deaths.
const BETWEEN_TRIALS: Duration = Duration::from_millis(1_500);

/// Arguments of `failover`.
#[derive(Args, Clone)]
pub struct Failover {
    /// Leaders to kill, one after the other.
    #[arg(long, default_value_t = 30)]
    trials: u64,
}

impl Default for Failover {
    fn default() -> Self {
        Self { trials: 30 }
    }
}

impl Failover {
    pub async fn run(&self, common: &Common) -> Result<Json> {
        let mut cluster = Cluster::up(common, false)?;
        let mut took_ms = Vec::new();
        for trial in 0..self.trials {
            let leader = cluster.leader(0).await?;
            cluster.kill(leader)?;
            let died = Instant::now();
            let mut writers = JoinSet::new();
            for node in (0..cluster.nodes.len()).filter(|node| *node != leader) {
                let client = cluster.client(node);
                writers.spawn(write_until_accepted(client, format!("{trial}-{node}")));
            }
            let first = writers.join_next().await.context("a writer")???;
            took_ms.push(first.duration_since(died).as_secs_f64() * 1_000.0);
            writers.abort_all();
            cluster.start(leader).await?;
            cluster.settled().await?;
            tokio::time::sleep(BETWEEN_TRIALS).await;
        }
        let all: Vec<f64> = took_ms.iter().map(|took| took.round()).collect();
        let result = json!({
            "measure": "failover", "first_accepted_ms": quantiles(took_ms), "trials_ms": all,
        });
        if !common.json {
            println!("leader's death to the next accepted write: {}", result["first_accepted_ms"]);
            println!("  {}", result["trials_ms"]);
        }
        Ok(result)
    }
}

/// Writes until a write that was begun after the death is accepted; gives when.
async fn write_until_accepted(mut client: super::http::Client, name: String) -> Result<Instant> {
    loop {
        let body = format!(
            r#"{{"request_id":"failover-{name}","why":"a benchmark","changes":[{{"kind":"flag","name":"failover","op":"put","body":{{"state":"ENABLED","variants":{{"by":"{name}"}},"defaultVariant":"by"}}}}]}}"#
        );
        if client.change(Bytes::from(body)).await.is_ok() {
            return Ok(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
