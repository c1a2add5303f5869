//! Invariant 1: what was acknowledged stands, once, where it was said to stand; what was refused does
//! not; and time orders it.

use std::collections::HashMap;

use super::Verdict;
use super::rebuild::{Rebuilt, object_id};
use crate::chaos::history::{Call, Kind, Reply};

/// What is known of one request id.
#[derive(Default)]
struct Known {
    acknowledged: Option<u64>,
    /// A try of it may have been done though nobody said so.
    unknown: bool,
}

pub fn check(calls: &[&Call], rebuilt: &Rebuilt, verdict: &mut Verdict) {
    let writes = || calls.iter().filter(|c| matches!(c.kind, Kind::Change | Kind::Rollback));
    let mut known: HashMap<&str, Known> = HashMap::new();
    for call in writes() {
        let id = call.request_id();
        let entry = known.entry(id).or_default();
        match &call.reply {
            Reply::Ok { body, .. } => {
                let revision = body["revision"].as_u64().unwrap_or(0);
                if entry.acknowledged.is_some_and(|before| before != revision) {
                    let before = entry.acknowledged.unwrap_or(0);
                    verdict.add(1, format!("{id} is acknowledged at {before} and at {revision}"));
                }
                entry.acknowledged = Some(revision);
            }
            Reply::Refused { unknown, .. } => entry.unknown |= unknown,
            Reply::Unknown { .. } => entry.unknown = true,
        }
    }
    for (id, known) in &known {
        match (known.acknowledged, rebuilt.requests.get(*id)) {
            (Some(revision), None) => {
                verdict.add(1, format!("{id}, acknowledged at revision {revision}, is lost"));
            }
            (Some(revision), Some(found)) if revision != *found => {
                verdict.add(1, format!("{id}, acknowledged at {revision}, stands at {found}"));
            }
            (None, Some(found)) if !known.unknown => {
                verdict.add(1, format!("{id} was refused, and stands at revision {found}"));
            }
            _ => {}
        }
    }
    verdict
        .count("acknowledged changes", known.values().filter(|k| k.acknowledged.is_some()).count());
    in_time(calls, verdict);
    reads(calls, rebuilt, verdict);
    rollbacks(calls, rebuilt, verdict);
}

/// A change that was sent after another's answer stands behind it.
fn in_time(calls: &[&Call], verdict: &mut Verdict) {
    // The first try of a request id: from then on it may stand.
    let mut first_sent: HashMap<&str, u64> = HashMap::new();
    let mut made: Vec<(u64, u64)> = Vec::new();
    let mut acknowledged: Vec<(u64, u64, &str)> = Vec::new();
    for call in calls.iter().filter(|c| matches!(c.kind, Kind::Change | Kind::Rollback)) {
        first_sent.entry(call.request_id()).or_insert(call.begin_us);
        if let Some(revision) = call.body().and_then(|body| body["revision"].as_u64()) {
            let sent = first_sent[call.request_id()];
            made.push((call.end_us, revision));
            acknowledged.push((sent, revision, call.request_id()));
        }
    }
    made.sort_unstable();
    acknowledged.sort_unstable();
    let (mut newest, mut position) = (0, 0);
    for (sent, revision, id) in acknowledged {
        while let Some((_, before)) = made.get(position).filter(|(end, _)| *end < sent) {
            newest = newest.max(*before);
            position += 1;
        }
        if revision <= newest {
            verdict.add(1, format!("{id} was sent after revision {newest}, and is {revision}"));
        }
    }
}

/// A linearizable read sees what was acknowledged before it was asked.
fn reads(calls: &[&Call], rebuilt: &Rebuilt, verdict: &mut Verdict) {
    let touches = |revision: u64| {
        let entries = rebuilt.entries.get(&revision).into_iter().flatten();
        entries.into_iter().any(|entry| entry["kind"] == "flag" && entry["name"] == "epoch")
    };
    let mut made: Vec<(u64, u64)> = calls
        .iter()
        .filter(|call| matches!(call.kind, Kind::Change | Kind::Rollback))
        .filter_map(|call| Some((call.end_us, call.body()?["revision"].as_u64()?)))
        .filter(|(_, revision)| touches(*revision))
        .collect();
    made.sort_unstable();
    let (mut newest, mut position, mut count) = (0, 0, 0);
    for call in calls.iter().filter(|call| call.kind == Kind::Read) {
        while let Some((_, before)) = made.get(position).filter(|(end, _)| *end < call.begin_us) {
            newest = newest.max(*before);
            position += 1;
        }
        let Some(body) = call.body() else { continue };
        count += 1;
        let seen = body["revision"].as_u64().unwrap_or(0);
        if seen < newest {
            let node = call.node;
            let what = format!("a linearizable read at node {node} saw {seen}, not {newest}");
            verdict.add(1, what);
        }
    }
    verdict.count("linearizable reads", count);
}

/// A rollback leaves every object that it names as it was at the revision that it names.
fn rollbacks(calls: &[&Call], rebuilt: &Rebuilt, verdict: &mut Verdict) {
    let mut count = 0;
    for call in calls.iter().filter(|call| call.kind == Kind::Rollback) {
        let Some(revision) = rebuilt.requests.get(call.request_id()) else { continue };
        let to_revision = call.request["to_revision"].as_u64().unwrap_or(0);
        let (Some(now), Some(then)) =
            (rebuilt.catalogues.get(revision), rebuilt.catalogues.get(&to_revision))
        else {
            continue;
        };
        count += 1;
        for object in call.request["objects"].as_array().into_iter().flatten() {
            let Ok(id) = object_id(object) else { continue };
            let hash = |catalogue: &verdict_consensus::Catalogue| {
                catalogue.get(&id).map(|object| object.hash.to_hex())
            };
            if hash(now) != hash(then) {
                let what = format!(
                    "{} at revision {revision} leaves {id} other than it was at {to_revision}",
                    call.request_id()
                );
                verdict.add(1, what);
            }
        }
    }
    verdict.count("rollbacks", count);
}
