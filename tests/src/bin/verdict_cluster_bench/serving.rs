//! Decisions a second of processor time, quiet and while changes are applied.
//!
//! All nodes share this machine. So the same changes are made by turns at a cluster beside, of as many
//! nodes and flags, which the deciding node knows nothing of: what decisions cost more then is what the
//! caches and cores that are shared cost, and only the rest is what a node pays for applying changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::cluster::{Cluster, cpu_seconds};
use super::{Common, commits};

/// The cluster beside listens on ports that much higher.
const BESIDE: u16 = 200;

/// Arguments of `serving`.
#[derive(Args, Clone)]
pub struct Serving {
    /// Flags beside the demo catalogue.
    #[arg(long, default_value_t = 10_000)]
    flags: u64,
    /// Changes a second.
    #[arg(long, default_value_t = 100)]
    changes_per_s: u64,
    /// Connections that decide, one request at a time each.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Length of each turn.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds: a turn each that is quiet, with changes of the cluster beside, and of this one.
    #[arg(long, default_value_t = 12)]
    rounds: u64,
}

impl Default for Serving {
    fn default() -> Self {
        Self { flags: 10_000, changes_per_s: 100, connections: 16, seconds: 3.0, rounds: 12 }
    }
}

/// What one round came to.
#[derive(Default)]
struct Round {
    decisions: f64,
    cpu_s: f64,
    changes: u64,
}

impl Serving {
    pub async fn run(&self, common: &Common) -> Result<Json> {
        let beside = Common {
            dir: common.dir.join("beside"),
            base_port: common.base_port + BESIDE,
            ..common.clone()
        };
        let (cluster, beside) = (Cluster::up(common, true)?, Cluster::up(&beside, true)?);
        for cluster in [&cluster, &beside] {
            commits::put_flags(cluster, Arc::new(super::filling::flag), 0..self.flags, 64).await?;
            cluster.settled().await?;
        }
        let leader = cluster.leader(0).await?;
        let mut roles = Vec::new();
        for (role, node) in [("leader", leader), ("follower", (leader + 1) % cluster.nodes.len())] {
            let (mut quiet, mut elsewhere, mut here) =
                (Round::default(), Round::default(), Round::default());
            for _ in 0..self.rounds {
                self.round((&cluster, node), None, &mut quiet).await?;
                self.round((&cluster, node), Some(&beside), &mut elsewhere).await?;
                self.round((&cluster, node), Some(&cluster), &mut here).await?;
            }
            let rate = |round: &Round| (round.decisions / round.cpu_s).round();
            let ratio =
                |one: &Round, other: &Round| (rate(one) / rate(other) * 1_000.0).round() / 1_000.0;
            roles.push(json!({
                "node": role, "quiet_per_cpu_s": rate(&quiet),
                "changes_elsewhere_per_cpu_s": rate(&elsewhere),
                "changes_here_per_cpu_s": rate(&here),
                "changes_per_s": here.changes as f64 / (self.seconds * self.rounds as f64),
                "here_to_quiet": ratio(&here, &quiet),
                "elsewhere_to_quiet": ratio(&elsewhere, &quiet),
                "here_to_elsewhere": ratio(&here, &elsewhere),
            }));
        }
        if !common.json {
            roles.iter().for_each(|role| println!("{role}"));
        }
        Ok(json!({"measure": "serving", "flags": self.flags, "roles": roles}))
    }

    /// Decides as fast as answers come, while flags change at a fixed rate, by another node.
    async fn round(
        &self,
        (cluster, node): (&Cluster, usize),
        changing: Option<&Cluster>,
        sum: &mut Round,
    ) -> Result<()> {
        let until = Instant::now() + Duration::from_secs_f64(self.seconds);
        let decided = Arc::new(AtomicU64::new(0));
        let before = cpu_seconds(cluster.nodes[node].pid)?;
        let mut tasks = JoinSet::new();
        for connection in 0..self.connections {
            let (mut client, decided) = (cluster.client(node), Arc::clone(&decided));
            tasks.spawn(async move {
                let mut number = connection as u64;
                while Instant::now() < until {
                    number += 97;
                    let asked = client.ask(Method::POST, "/v1/decisions/payment", payment(number));
                    let (status, answer) = asked.await?;
                    let told = || String::from_utf8_lossy(&answer).into_owned();
                    ensure!(status == 200, "a decision: {status} {}", told());
                    decided.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(0)
            });
        }
        if let Some(changing) = changing {
            let client = changing.client((node + 1) % changing.nodes.len());
            tasks.spawn(change(client, self.changes_per_s, self.flags.max(1), until));
        }
        while let Some(done) = tasks.join_next().await {
            sum.changes += done??;
        }
        sum.decisions += decided.load(Ordering::Relaxed) as f64;
        sum.cpu_s += cpu_seconds(cluster.nodes[node].pid)? - before;
        Ok(())
    }
}

/// Changes flags at a rate, each when it is due, several under way at once where the cluster is slow.
#[allow(clippy::disallowed_methods, reason = "of a measurement")]
async fn change(
    client: super::http::Client,
    per_s: u64,
    flags: u64,
    until: Instant,
) -> Result<u64> {
    const UNDER_WAY: usize = 8;
    let begun = Instant::now();
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let mut idle = vec![client];
    for _ in 1..UNDER_WAY {
        idle.push(idle[0].again());
    }
    let mut changing = JoinSet::new();
    let mut done = 0;
    for number in 0_u64.. {
        let due = begun + Duration::from_secs_f64(number as f64 / per_s as f64);
        if due >= until {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let mut client = match idle.pop() {
            Some(client) => client,
            None => match changing.join_next().await {
                Some(changed) => changed??,
                None => break,
            },
        };
        let (key, body) = super::filling::flag(number * 7 % flags);
        let body = body.replacen("SHOP", &format!("SHOP-{number}"), 1);
        changing.spawn(async move {
            let change = format!(
                r#"{{"request_id":"serving-{stamp}-{number}","why":"a benchmark","changes":[{{"kind":"flag","name":"{key}","op":"put","body":{body}}}]}}"#
            );
            client.change(Bytes::from(change)).await?;
            anyhow::Ok(client)
        });
        done += 1;
    }
    while let Some(changed) = changing.join_next().await {
        changed??;
    }
    Ok(done)
}

/// A payment of the demo.
fn payment(number: u64) -> Bytes {
    let body = json!({"input": {
        "amount": format!("{}.{:02}", 5 + number % 900, number % 100),
        "currency": "EUR",
        "account_id": format!("acct-{}", number % 211),
        "card_id": format!("card-{}", number % 307),
        "merchant_country": "NL", "card_country": "NL", "ip_country": "NL",
    }});
    body.to_string().into()
}
