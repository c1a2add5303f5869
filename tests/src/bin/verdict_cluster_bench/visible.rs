//! From a change to the last node that decides by it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::{Common, quantiles};

/// Arguments of `visible`.
#[derive(Args, Clone)]
pub struct Visible {
    /// Changes, one after the other.
    #[arg(long, default_value_t = 500)]
    changes: u64,
    /// Flags that are there beside the one that changes.
    #[arg(long, default_value_t = 1_000)]
    flags: u64,
    /// Between two looks at a node, in microseconds.
    #[arg(long, default_value_t = 500)]
    look_us: u64,
}

impl Default for Visible {
    fn default() -> Self {
        Self { changes: 500, flags: 1_000, look_us: 500 }
    }
}

impl Visible {
    pub async fn run(&self, common: &Common) -> Result<Json> {
        let cluster = Cluster::up(common, false)?;
        let flag = std::sync::Arc::new(super::filling::flag);
        super::commits::put_flags(&cluster, flag, 0..self.flags, 16).await?;
        let (goal, _) = watch::channel(0_u64);
        let mut lookers = JoinSet::new();
        let mut seen = Vec::new();
        for node in 0..cluster.nodes.len() {
            let (tell, told) = watch::channel((0_u64, Instant::now()));
            seen.push(told);
            let client = cluster.client(node);
            lookers.spawn(look(client, goal.subscribe(), tell, self.look_us));
        }
        let mut client = cluster.client(0);
        let (mut from_request_ms, mut from_answer_ms) = (Vec::new(), Vec::new());
        for number in 1..=self.changes {
            goal.send_replace(number);
            let body = format!(
                r#"{{"request_id":"visible-{number}","why":"a benchmark","changes":[{{"kind":"flag","name":"visible","op":"put","body":{{"state":"ENABLED","variants":{{"now":{number}}},"defaultVariant":"now"}}}}]}}"#
            );
            let sent = Instant::now();
            client.change(Bytes::from(body)).await?;
            let answered = Instant::now();
            let mut last = sent;
            for told in &mut seen {
                let reached = told.wait_for(|(value, _)| *value >= number);
                let reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
                last = last.max(reached.context("a node never decides by it")??.1);
            }
            from_request_ms.push(last.duration_since(sent).as_secs_f64() * 1_000.0);
            let late = last.saturating_duration_since(answered);
            from_answer_ms.push(late.as_secs_f64() * 1_000.0);
        }
        let result = json!({
            "measure": "visible", "flags": self.flags,
            // Longer than from the commit: it holds the way to the leader and the commit itself.
            "from_request_ms": quantiles(from_request_ms),
            // 0 where the last node decided by it before the author was answered.
            "from_answer_ms": quantiles(from_answer_ms),
        });
        if !common.json {
            println!("change to last node deciding, from request: {}", result["from_request_ms"]);
            println!("change to last node deciding, from answer:  {}", result["from_answer_ms"]);
        }
        Ok(result)
    }
}

/// Asks a node again and again what the flag gives, while there is something to wait for.
async fn look(
    mut client: super::http::Client,
    mut goal: watch::Receiver<u64>,
    tell: watch::Sender<(u64, Instant)>,
    look_us: u64,
) -> Result<()> {
    let mut known = 0;
    loop {
        let wanted = *goal.borrow_and_update();
        if known >= wanted {
            goal.changed().await?;
            continue;
        }
        let body = Bytes::from_static(b"{\"context\":{\"targetingKey\":\"u\"}}");
        let asked = client.ask(Method::POST, "/ofrep/v1/evaluate/flags/visible", body).await;
        if let Ok((200, answer)) = asked {
            let answer: Json = serde_json::from_slice(&answer)?;
            let value = answer["value"].as_u64().unwrap_or(0);
            if value > known {
                known = value;
                tell.send_replace((value, Instant::now()));
                continue;
            }
        }
        tokio::time::sleep(Duration::from_micros(look_us)).await;
    }
}
