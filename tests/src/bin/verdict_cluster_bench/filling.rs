//! Many flags and a long log: the memory of idle nodes, and how soon one is ready after a restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde_json::{Value as Json, json};

use super::cluster::{Cluster, resident_mb};
use super::{Common, commits, quantiles};

/// How long nodes are left alone before their memory is read.
const IDLE: Duration = Duration::from_secs(15);

/// Arguments of `filled`.
#[derive(Args, Clone)]
pub struct Filled {
    /// Flags.
    #[arg(long, default_value_t = 10_000)]
    flags: u64,
    /// Changes in all; those beyond the first of each flag change flags again.
    #[arg(long, default_value_t = 100_000)]
    entries: u64,
    /// Restarts of one node.
    #[arg(long, default_value_t = 5)]
    restarts: u64,
}

impl Default for Filled {
    fn default() -> Self {
        Self { flags: 10_000, entries: 100_000, restarts: 5 }
    }
}

/// A flag as teams have them: two variants or a few, most with targeting, some with a rollout.
pub fn flag(number: u64) -> (String, String) {
    let targeting = match number % 4 {
        0 => {
            json!({"if": [{"in": [{"var": "email"}, ["@example.com", "@example.org"]]}, "on", null]})
        }
        1 => json!({"if": [{"and": [
            {"==": [{"var": "country"}, "NL"]}, {">=": [{"var": "age"}, 18 + number % 50]}]}, "on", "off"]}),
        2 => json!({"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]},
            ["on", number % 100], ["off", 100 - number % 100]]}),
        _ => Json::Null,
    };
    let mut flag = json!({
        "state": "ENABLED",
        "variants": {"on": true, "off": false},
        "defaultVariant": "off",
        "owner": format!("team-{}", number % 40),
        "metadata": {
            "description": format!("Switches part {number} of the new checkout for those who see it"),
            "ticket": format!("SHOP-{number}"),
        },
    });
    if !targeting.is_null() {
        flag["targeting"] = targeting;
    }
    if number % 10 == 3 {
        flag["rollout"] = json!({"variant": "on", "percent": number % 100});
    }
    (format!("checkout.part-{number}"), flag.to_string())
}

impl Filled {
    pub async fn run(&self, common: &Common) -> Result<Json> {
        let mut cluster = Cluster::up(common, false)?;
        let empty_mb = self.memory(&cluster)?;
        let bytes = (0..self.flags).map(|number| flag(number).1.len() as u64).sum::<u64>();
        commits::put_flags(&cluster, Arc::new(flag), 0..self.flags, 64).await?;
        cluster.settled().await?;
        tokio::time::sleep(IDLE).await;
        let after_flags_mb = self.memory(&cluster)?;
        let flags = self.flags;
        let again = move |number: u64| {
            let (key, body) = flag(number % flags);
            (
                key,
                body.replacen(
                    "ENABLED",
                    if number / flags % 2 == 1 { "DISABLED" } else { "ENABLED" },
                    1,
                ),
            )
        };
        let begun = Instant::now();
        let range = self.flags..self.entries.max(self.flags);
        commits::put_flags(&cluster, Arc::new(again), range, 64).await?;
        let filling_s = begun.elapsed().as_secs_f64();
        let revision = cluster.settled().await?;
        tokio::time::sleep(IDLE).await;
        let after_entries_mb = self.memory(&cluster)?;
        let follower = (cluster.leader(0).await? + 1) % cluster.nodes.len();
        let mut ready_ms = Vec::new();
        for _ in 0..self.restarts {
            cluster.kill(follower)?;
            ready_ms.push(cluster.start(follower).await?.as_secs_f64() * 1_000.0);
            cluster.settled().await?;
        }
        tokio::time::sleep(IDLE).await;
        let result = json!({
            "measure": "filled", "flags": self.flags, "entries": self.entries, "revision": revision,
            "flag_bytes_mean": bytes / self.flags.max(1), "filling_s": filling_s.round(),
            "resident_mb": {
                "empty": empty_mb, "with_flags": after_flags_mb, "with_entries": after_entries_mb,
                "restarted": resident_mb(cluster.nodes[follower].pid)?.round(),
            },
            "restart_ready_ms": quantiles(ready_ms),
        });
        if !common.json {
            println!("{} flags of {} bytes", self.flags, result["flag_bytes_mean"]);
            println!("resident MB: {}", result["resident_mb"]);
            println!("restart to ready, {} changes: {}", self.entries, result["restart_ready_ms"]);
        }
        Ok(result)
    }

    fn memory(&self, cluster: &Cluster) -> Result<Vec<f64>> {
        cluster.nodes.iter().map(|node| resident_mb(node.pid).map(f64::round)).collect()
    }
}
