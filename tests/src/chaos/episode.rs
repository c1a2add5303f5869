//! One episode: a cluster, a load, faults, and what the oracle says of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::catalogue;
use super::cluster::Cluster;
use super::history::{Kind, Record, Recorder};
use super::http::Ask;
use super::load::{Load, Shared};
use super::oracle::{self, Verdict};
use super::perform::{Performer, disk};
use super::schedule::{Fault, schedule, setup};

/// Nodes of a cluster.
const NODES: u64 = 3;
/// Decisions that are read back at the end.
const EXPLAINED_MAX: usize = 400;
/// How long the last look at everything may take.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);

/// What every episode checks.
const CHECKED_ALWAYS: [&str; 9] = [
    "acknowledged changes",
    "convergences",
    "decisions",
    "decisions replayed",
    "flag answers",
    "linearizable reads",
    "revisions of nodes in time",
    "state hashes",
    "watched events",
];

/// What an episode is.
#[derive(Debug, Clone)]
pub struct Episode {
    /// The program under test.
    pub program: PathBuf,
    /// Where state and history are kept.
    pub folder: PathBuf,
    /// Everything that is chosen comes from it.
    pub seed: u64,
    /// How long faults are performed.
    pub length: Duration,
    /// Only these faults; all that can be performed, if empty.
    pub only: Vec<Fault>,
    /// Whether the program's clock can be moved, as that of the tests' own program can.
    pub clocks: bool,
}

/// What came of one kind of fault.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct FaultRow {
    /// How often it was performed.
    pub count: u64,
    /// The longest time until the healed cluster was well.
    pub converged_ms_max: u64,
    /// The longest time without an acknowledged change, from its begin until the cluster was well.
    pub silence_ms_max: u64,
}

/// What came of an episode.
#[derive(Debug)]
pub struct Outcome {
    /// Faults by name.
    pub faults: BTreeMap<String, FaultRow>,
    /// What the oracle says.
    pub verdict: Verdict,
    /// Bytes changed on links.
    pub corrupted: u64,
    /// The history's file.
    pub history: PathBuf,
}

impl Episode {
    /// Runs it. `told` hears what is being done.
    ///
    /// # Errors
    /// Of the harness: a cluster that never starts. What goes wrong afterwards is in the verdict.
    pub async fn run(&self, mut told: impl FnMut(String)) -> Result<Outcome> {
        let faults = self.kinds()?;
        std::fs::create_dir_all(&self.folder)?;
        let cluster = Cluster::start(&self.program, &self.folder, NODES, self.seed).await?;
        let shared = Shared {
            cluster: Arc::new(cluster),
            recorder: Recorder::default(),
            knowledge: Arc::default(),
        };
        told(format!("{NODES} nodes run: {:?}", setup(self.seed)));
        let mut performer = Performer::new(shared.clone(), self.seed);
        let body = json!({ "request_id": "first", "why": "load", "changes": catalogue::first() });
        let mut client = shared.client("first", self.seed);
        client.settle(Kind::Change, &body, 20).await.context("the first change is not taken")?;
        let mut load = Load::start(&shared, self.seed, 1);
        load.look_on(&shared, self.seed, NODES);
        let stopped = self.faults(&faults, &mut performer, &mut told).await;
        load.stop().await;
        if let Err(error) = &stopped {
            told(format!("the faults end early: {error:#}"));
        }
        told("the last look".to_owned());
        // A cluster that did not become well has told so; what it still tells is looked at.
        if stopped.is_ok() && performer.converge("the last look").await.is_ok() {
            let settled = last_look(&shared, &mut load).await;
            settled.context("the last look")?;
            performer.backup_destroy_restore(&self.program, &self.folder).await?;
        }
        drop(load);
        let records = shared.recorder.records();
        let history = self.folder.join("history.ndjson");
        super::history::write(&records, &history)?;
        let mut verdict = oracle::check(&records);
        if let Err(error) = stopped {
            verdict.add(12, format!("{error:#}"));
        }
        if verdict.violations.is_empty() {
            // A check of nothing proves nothing.
            for what in CHECKED_ALWAYS {
                let count = verdict.checked.get(what).copied().unwrap_or(0);
                ensure!(count > 0, "nothing was checked: {what}");
            }
        }
        let corrupted = shared.cluster.links.corrupted();
        Ok(Outcome { faults: faults_of(&records), verdict, corrupted, history })
    }

    /// The faults that are performed.
    fn kinds(&self) -> Result<Vec<Fault>> {
        let can = |fault: &Fault| self.clocks || !fault.moves_clocks();
        if self.only.is_empty() {
            return Ok(Fault::ALL.into_iter().filter(can).collect());
        }
        let cannot = self.only.iter().find(|fault| !can(fault));
        if let Some(fault) = cannot {
            bail!("{}: the clock of this program cannot be moved", fault.name());
        }
        Ok(self.only.clone())
    }

    async fn faults(
        &self,
        kinds: &[Fault],
        performer: &mut Performer,
        told: &mut impl FnMut(String),
    ) -> Result<()> {
        let until = Instant::now() + self.length;
        for step in schedule(self.seed, kinds) {
            if Instant::now() >= until {
                break;
            }
            let begun = Instant::now();
            performer.perform(step).await?;
            let took = begun.elapsed().as_secs_f64();
            told(format!("{:<24} {took:>5.1} s", step.fault.name()));
        }
        Ok(())
    }
}

/// Everything that is read when nothing changes any more.
async fn last_look(shared: &Shared, load: &mut Load) -> Result<()> {
    let ids = shared.cluster.ids();
    let until = Instant::now() + SETTLE_WITHIN;
    let states = loop {
        let mut states = Vec::new();
        for id in &ids {
            let answer = shared.cluster.ask(*id, Ask::get("/v1/status?state_hash=true")).await;
            let state = answer.map_err(|error| anyhow::anyhow!("{error:?}"))?.body["state"].take();
            let hash = state["hash"].as_str().unwrap_or_default().to_owned();
            states.push((*id, state["revision"].as_u64().unwrap_or(0), hash));
        }
        if states.iter().all(|(_, revision, _)| *revision == states[0].1) {
            break states;
        }
        ensure!(Instant::now() < until, "revisions stay apart: {states:?}");
        tokio::time::sleep(super::cluster::LOOK_AGAIN).await;
    };
    let revision = states[0].1;
    for (node, revision, hash) in states {
        shared.recorder.add(Record::State { node, revision, hash });
    }
    for node in &ids {
        let entries = shared.cluster.history(*node).await?;
        shared.recorder.add(Record::Catalogue { node: *node, entries });
        let (bodies, damaged) = disk::bodies(&shared.cluster.dir(*node))?;
        shared.recorder.add(Record::Stored { node: *node, bodies, damaged });
    }
    load.finish_watching(revision, Duration::from_secs(30)).await;
    explain(shared, &ids).await
}

/// Reads decisions back, spread over the whole episode.
async fn explain(shared: &Shared, ids: &[u64]) -> Result<()> {
    let records = shared.recorder.records();
    let made: Vec<(u64, String)> = records.iter().filter_map(decision_of).collect();
    let step = made.len().div_ceil(EXPLAINED_MAX).max(1);
    for (position, (maker, id)) in made.iter().step_by(step).enumerate() {
        // The journal of a node that was lost for ever is lost with it.
        if !ids.contains(maker) {
            continue;
        }
        let asked = ids[position % ids.len()];
        let path = format!("/v1/decisions/{id}");
        let answer = shared.cluster.ask(asked, Ask::get(&path)).await;
        let answer = answer.map_err(|error| anyhow::anyhow!("{path}: {error:?}"))?;
        let (id, status, body) = (id.clone(), answer.status, answer.body);
        shared.recorder.add(Record::Explained { id, status, body });
    }
    Ok(())
}

fn decision_of(record: &Record) -> Option<(u64, String)> {
    let Record::Call(call) = record else { return None };
    let id = call.body().filter(|_| call.kind == Kind::Decision)?["decision_id"].as_str()?;
    Some((call.node, id.to_owned()))
}

fn faults_of(records: &[Record]) -> BTreeMap<String, FaultRow> {
    let changed = records.iter().filter_map(|record| match record {
        Record::Call(call) if call.kind == Kind::Change && call.body().is_some() => {
            Some(call.end_us)
        }
        _ => None,
    });
    let mut changed: Vec<u64> = changed.collect();
    changed.sort_unstable();
    let mut faults: BTreeMap<String, FaultRow> = BTreeMap::new();
    let (mut begun, mut healed) = (0, 0);
    for record in records {
        match record {
            Record::Fault { at_us, .. } => begun = *at_us,
            Record::Healed { at_us, .. } => healed = *at_us,
            Record::Converged { name, took_ms, .. } => {
                let row = faults.entry(name.clone()).or_default();
                row.count += 1;
                row.converged_ms_max = row.converged_ms_max.max(*took_ms);
                let end = healed + took_ms * 1_000;
                row.silence_ms_max = row.silence_ms_max.max(silence_ms(&changed, begun, end));
            }
            _ => {}
        }
    }
    faults
}

/// The longest time between two acknowledged changes, in milliseconds.
fn silence_ms(changed: &[u64], begun: u64, end: u64) -> u64 {
    let from = changed.partition_point(|at| *at < begun);
    let to = changed.partition_point(|at| *at <= end);
    let mut last = begun;
    let mut longest = 0;
    for at in changed.get(from..to).into_iter().flatten().chain([&end]) {
        longest = longest.max(at.saturating_sub(last));
        last = *at;
    }
    longest / 1_000
}

/// What came of an episode, as JSON.
#[must_use]
pub fn report(outcome: &Outcome, seed: u64, history: &Path) -> Json {
    let faults = outcome.faults.iter().map(|(name, row)| json!({ "fault": name, "row": row }));
    json!({
        "seed": seed,
        "faults": faults.collect::<Vec<_>>(),
        "checked": outcome.verdict.checked,
        "violations": outcome.verdict.violations,
        "history": history,
    })
}
