//! Invariants 3 and 5: a decision is what the pure core makes of its inputs at its revision, and of no
//! other revision.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value as Json;
use verdict_actors::catalogue::{CatalogueObjects, CompileOptions, compile};
use verdict_actors::serving::ServingState;
use verdict_config::{TimestampMs, Value};
use verdict_decisions::{BeginOptions, DecideRequest};
use verdict_rules::{RuleLimits, Scratch};

use super::Verdict;
use super::rebuild::{Rebuilt, object_id};
use crate::chaos::catalogue::{FLOW, epoch_of_flags, epoch_of_rules};
use crate::chaos::history::{Call, Kind, Record};

/// Members of an answer that its node sets and a replay cannot know.
const NOT_COMPARED: [&str; 2] = ["took_us", "stale"];

pub fn check(calls: &[&Call], records: &[Record], rebuilt: &Rebuilt, verdict: &mut Verdict) {
    let decided = calls.iter().filter(|call| call.kind == Kind::Decision);
    let mut by_request: HashMap<(u64, &str), &str> = HashMap::new();
    let mut answers: HashMap<&str, (&Call, &Json)> = HashMap::new();
    for call in decided {
        let Some(body) = call.body() else { continue };
        verdict.count("decisions", 1);
        epochs_agree(call, body, rebuilt, verdict);
        let Some(id) = body["decision_id"].as_str() else { continue };
        let first = by_request.entry((call.node, call.request_id())).or_insert(id);
        if *first != id {
            let what = format!("{} was decided twice: {first} and {id}", call.request_id());
            verdict.add(3, what);
        }
        answers.insert(id, (call, body));
    }
    for call in calls.iter().filter(|call| call.kind == Kind::Flags) {
        let Some(body) = call.body() else { continue };
        verdict.count("flag answers", 1);
        twins_agree(call, body, rebuilt, verdict);
    }
    let mut replayer = Replayer { rebuilt, states: BTreeMap::new(), scratch: Scratch::default() };
    for record in records {
        let Record::Explained { id, status, body } = record else { continue };
        let Some((call, answer)) = answers.get(id.as_str()) else { continue };
        if *status != 200 {
            // It was answered, so its record was written before.
            verdict.add(3, format!("decision {id} cannot be read back: {status} {body}"));
            continue;
        }
        verdict.count("decisions replayed", 1);
        match replayer.replay(call, answer, body) {
            Err(error) => verdict.add(3, format!("decision {id} cannot be replayed: {error:#}")),
            Ok(replayed) => {
                if let Some((key, made)) = difference(answer, &replayed) {
                    let what = format!(
                        "decision {id} of node {} at revision {} has {key} {}, and was to have {made}",
                        call.node, answer["revision"], answer[key]
                    );
                    verdict.add(3, what);
                }
            }
        }
        if body["decision"] != **answer {
            verdict.add(3, format!("decision {id} was answered other than it was recorded"));
        }
    }
}

/// Flags and rules of one answer come from one revision: the one that it names.
fn epochs_agree(call: &Call, body: &Json, rebuilt: &Rebuilt, verdict: &mut Verdict) {
    let (flags, rules) = (epoch_of_flags(body), epoch_of_rules(body));
    if flags != rules {
        let what = format!(
            "an answer of node {} under revision {} has the flag of epoch {flags:?} and the rules of {rules:?}",
            call.node, body["revision"]
        );
        verdict.add(5, what);
        return;
    }
    let Some(revision) = body["revision"].as_u64() else { return };
    let stands = epoch_at(rebuilt, revision);
    if stands.is_some() && flags != stands {
        let what = format!(
            "an answer of node {} under revision {revision} is of epoch {flags:?}, not {stands:?}",
            call.node
        );
        verdict.add(3, what);
    }
}

/// The epoch of a revision.
fn epoch_at(rebuilt: &Rebuilt, revision: u64) -> Option<u64> {
    let id = object_id(&serde_json::json!({ "kind": "flag", "name": "epoch" })).ok()?;
    let flag = rebuilt.catalogues.get(&revision)?.get(&id)?.json().ok()?;
    flag["defaultVariant"].as_str()?.strip_prefix('e')?.parse().ok()
}

/// Both flags of an epoch in one answer are of the same epoch.
fn twins_agree(call: &Call, body: &Json, rebuilt: &Rebuilt, verdict: &mut Verdict) {
    let variant = |key: &str| {
        let flags = body["flags"].as_array()?;
        flags.iter().find(|flag| flag["key"] == key).map(|flag| flag["variant"].clone())
    };
    let (one, two) = (variant("epoch"), variant("epoch-twin"));
    let node = call.node;
    if one != two {
        let what = format!("an answer of node {node} has flags of two epochs: {one:?}, {two:?}");
        verdict.add(5, what);
    }
    let told = one.as_ref().and_then(|one| one.as_str()?.strip_prefix('e')?.parse().ok());
    let stands = call.revision().and_then(|revision| epoch_at(rebuilt, revision));
    if stands.is_some() && told != stands {
        let (at, revision) = (call.begin_us, call.revision());
        let what = format!(
            "flags of node {node} at {at} us are of epoch {told:?}, and revision {revision:?}, \
             which they name, is of {stands:?}"
        );
        verdict.add(5, what);
    }
}

struct Replayer<'a> {
    rebuilt: &'a Rebuilt,
    states: BTreeMap<u64, Arc<ServingState>>,
    scratch: Scratch,
}

impl Replayer<'_> {
    /// The state of a revision, compiled from what the pure state machine made.
    fn state(&mut self, revision: u64) -> Result<Arc<ServingState>> {
        if let Some(state) = self.states.get(&revision) {
            return Ok(Arc::clone(state));
        }
        let catalogue = self.rebuilt.catalogues.get(&revision);
        let catalogue = catalogue.with_context(|| format!("there is no revision {revision}"))?;
        let options = CompileOptions { limits: RuleLimits::default(), check: false };
        let compiled = compile(&CatalogueObjects::from(&**catalogue), None, options);
        let state = Arc::new(compiled.state.context("the revision does not compile")?);
        self.states.insert(revision, Arc::clone(&state));
        Ok(state)
    }

    fn replay(&mut self, call: &Call, answer: &Json, explained: &Json) -> Result<Json> {
        let revision = answer["revision"].as_u64().context("a revision")?;
        let state = self.state(revision)?;
        let flow = &state.flows.get(FLOW).context("the flow")?.flow;
        let time = |value: &Json| serde_json::from_value::<TimestampMs>(value.clone());
        let request = DecideRequest {
            input: call.request["input"].as_object().context("an input")?.clone(),
            request_id: Some(call.request_id().to_owned()),
            as_of: Some(time(&answer["as_of"])?),
            ..DecideRequest::default()
        };
        let mut session = flow.begin(BeginOptions {
            request,
            flags: &state.flags,
            region: Some("local"),
            id: answer["decision_id"].as_str().unwrap_or_default().into(),
            received_at: time(&explained["received_at"])?,
            revision,
            snoozes: &[],
        })?;
        let windows = explained["windows"].as_array().context("windows")?;
        let value = |text: &str| {
            let window = windows.iter().find(|window| window["name"] == text)?;
            window["value"].as_i64().map(Value::Int)
        };
        let queries = session.window_queries().iter();
        let values: Vec<Option<Value>> = queries.map(|query| value(&query.read.text)).collect();
        if !values.is_empty() {
            session.set_windows(values, 0);
        }
        session.run_rules(&mut self.scratch);
        anyhow::ensure!(session.model_calls().is_empty(), "a model is asked for");
        let decided = session.conclude(&mut self.scratch);
        // Through text, so that both sides went the same way.
        Ok(serde_json::from_slice(&serde_json::to_vec(&decided.decision)?)?)
    }
}

fn difference<'a>(answer: &'a Json, replayed: &Json) -> Option<(&'a str, Json)> {
    let members = answer.as_object()?;
    let differing = members.iter().find(|(key, value)| {
        !NOT_COMPARED.contains(&key.as_str()) && replayed.get(key) != Some(value)
    });
    differing.map(|(key, _)| (key.as_str(), replayed[key.as_str()].clone()))
}
