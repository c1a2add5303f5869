//! Clocks that jump.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::Instant;
use verdict_actors::clock::system_now;
use verdict_config::TimestampMs;

use super::{CONVERGE_WITHIN, Performer};
use crate::chaos::cluster::LOOK_AGAIN;
use crate::chaos::http::Ask;
use crate::chaos::schedule::{Step, clock_ahead_ms};

/// How far a time that a node tells may be from the one that its clock was put to.
const TOLERANCE_MS: i64 = 1_500;

impl Performer {
    /// The clock of `one` jumps forwards and back, or the other way round, under load; then the leader is killed, and whoever leads next
    /// has another clock. Clocks stay as they are until the cluster is well again.
    pub(super) async fn clock(&mut self, step: Step, (one, leader): (u64, u64)) -> Result<()> {
        self.begin(step, &[]);
        // Once each way, by sizes of their own.
        let back = step.choice / 12 * 2 + (step.choice + 1) % 2;
        for choice in [step.choice, back] {
            let ahead_ms = clock_ahead_ms(choice);
            self.cluster().set_clock(one, ahead_ms)?;
            self.shows(one, ahead_ms).await?;
            tokio::time::sleep(Duration::from_millis(step.hold_ms / 2)).await;
        }
        self.cluster().kill(leader);
        Ok(())
    }

    /// Waits until a node tells the time that its clock was put to: the fault was one.
    async fn shows(&mut self, node: u64, ahead_ms: i64) -> Result<()> {
        let until = Instant::now() + CONVERGE_WITHIN;
        loop {
            self.probes += 1;
            let id = format!("clock-{}-{:x}", self.probes, self.seed);
            let body = json!({ "request_id": id, "input": { "amount": 1 } });
            let answer = self.cluster().ask(node, Ask::post("/v1/decisions/pay", &body)).await;
            if let Ok(answer) = answer
                && answer.status == 200
            {
                let told: TimestampMs = serde_json::from_value(answer.body["as_of"].clone())
                    .with_context(|| answer.body.to_string())?;
                let off_ms = told.0 - system_now().0 - ahead_ms;
                if off_ms.abs() <= TOLERANCE_MS {
                    return Ok(());
                }
                ensure!(Instant::now() < until, "node {node}'s clock is off by {off_ms} ms");
            }
            ensure!(Instant::now() < until, "node {node} decides nothing");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Every clock shows the system's time again: for those that were moved, one more jump.
    pub(super) fn set_clocks_right(&self) -> Result<()> {
        self.cluster().ids().into_iter().try_for_each(|id| self.cluster().set_clock(id, 0))
    }
}
