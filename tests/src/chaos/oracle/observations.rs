//! What nodes report over time: invariants 2, 4 and 7, and 6 and 12 as they were seen.

use std::collections::{BTreeMap, HashSet};

use super::Verdict;
use crate::chaos::cluster::STALE_AFTER_MS;
use crate::chaos::history::{Call, Kind, Record, Reply};

/// How much later than it is due a stale mark may come, in milliseconds: a look at the clock of a busy
/// process, and what was under way.
const STALE_LATE_MS: u64 = 1_500;

pub fn check(calls: &[&Call], records: &[Record], verdict: &mut Verdict) {
    revisions(calls, verdict);
    stale_marks(calls, records, verdict);
    for record in records {
        if let Record::Converged { name, failure, took_ms } = record {
            verdict.count("convergences", 1);
            if let Some(failure) = failure {
                verdict.add(12, format!("after {name}, in {took_ms} ms: {failure}"));
            }
        }
        if let Record::Stored { node, bodies, damaged } = record {
            verdict.count("large bodies in stores", usize::try_from(*bodies).unwrap_or(usize::MAX));
            for hash in damaged {
                verdict.add(6, format!("node {node} has another content under {hash}"));
            }
        }
        if let Record::Restored { failure: Some(failure), .. } = record {
            verdict.add(12, format!("the backup is no cluster again: {failure}"));
        }
    }
}

/// The revision that an answer was served under, of a node that tells it as its own. `asked` are the
/// decisions that were asked for before.
fn served<'a>(call: &'a Call, asked: &mut HashSet<&'a str>) -> Option<u64> {
    match call.kind {
        // An answer to a change tells the change's revision, which a retry finds in the past.
        Kind::Change | Kind::Rollback => None,
        // A retry is told what was decided then, also where nobody heard of it.
        Kind::Decision if !asked.insert(call.request_id()) => None,
        Kind::Decision => call.body()?["revision"].as_u64(),
        Kind::Flags | Kind::Read | Kind::Status => call.revision(),
    }
}

/// Node by node: whatever is asked after an answer is answered under its revision or a newer one.
fn revisions(calls: &[&Call], verdict: &mut Verdict) {
    let mut by_node: BTreeMap<u64, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        by_node.entry(call.node).or_default().push(call);
    }
    for (node, calls) in by_node {
        // What the node reported, by when it did. A change's answer is a report too.
        let mut reported: Vec<(u64, u64)> =
            calls.iter().filter_map(|call| Some((call.end_us, call.revision()?))).collect();
        reported.sort_unstable();
        let (mut newest, mut position, mut asked) = (0, 0, HashSet::new());
        for call in calls {
            while let Some((_, revision)) =
                reported.get(position).filter(|(end, _)| *end < call.begin_us)
            {
                newest = newest.max(*revision);
                position += 1;
            }
            let Some(revision) = served(call, &mut asked) else { continue };
            if call.min_revision.is_some_and(|wanted| revision < wanted) {
                let wanted = call.min_revision;
                let what = format!("node {node} was asked for {wanted:?}, and answered {revision}");
                verdict.add(4, what);
            }
            verdict.count("revisions of nodes in time", 1);
            if revision < newest {
                let invariant = match call.kind {
                    Kind::Decision | Kind::Flags => 4,
                    _ => 2,
                };
                let what = format!(
                    "node {node} had told revision {newest}, and answered {:?} at {} us under {revision}",
                    call.kind, call.begin_us
                );
                verdict.add(invariant, what);
            }
        }
    }
}

/// Without a majority a node goes on from its last state, and says so.
fn stale_marks(calls: &[&Call], records: &[Record], verdict: &mut Verdict) {
    // A retry is told what was decided then, with the mark of then.
    let mut asked: HashSet<(u64, &str)> = HashSet::new();
    let mut first: Vec<&Call> = Vec::with_capacity(calls.len());
    for call in calls {
        if call.kind != Kind::Decision || asked.insert((call.node, call.request_id())) {
            first.push(call);
        }
    }
    let mut since: Option<(&[u64], u64)> = None;
    for record in records {
        match record {
            Record::Fault { isolated, at_us, .. } => since = Some((isolated, *at_us)),
            Record::Healed { at_us, .. } => {
                let Some((isolated, begun)) = since.take() else { continue };
                let due = begun + (STALE_AFTER_MS + STALE_LATE_MS) * 1_000;
                let cut_off = first.iter().filter(|call| {
                    let within = call.begin_us > due && call.end_us < *at_us;
                    isolated.contains(&call.node) && within
                });
                cut_off.for_each(|call| cut_off_answer(call, verdict));
            }
            _ => {}
        }
    }
}

fn cut_off_answer(call: &Call, verdict: &mut Verdict) {
    let node = call.node;
    match (&call.reply, call.kind) {
        (Reply::Ok { body, .. }, Kind::Decision) => {
            verdict.count("answers without a majority", 1);
            if body["stale"] != true {
                let what = format!("node {node} has no majority and does not say so: {body}");
                verdict.add(7, what);
            }
        }
        (Reply::Ok { .. }, Kind::Flags | Kind::Status) if !call.stale => {
            let what = format!("node {node} has no majority, and flags or status do not say so");
            verdict.add(7, what);
        }
        (Reply::Ok { .. }, Kind::Read) => {
            verdict.add(7, format!("node {node} has no majority and reads linearizably"));
        }
        (Reply::Refused { status, code, .. }, Kind::Decision | Kind::Flags)
            // Busy; or it was asked for a revision that it cannot have.
            if *status != 429 && !(*status == 412 && call.min_revision.is_some()) =>
        {
            let what =
                format!("node {node} has no majority and refuses to decide: {status} {code}");
            verdict.add(7, what);
        }
        (Reply::Unknown { detail }, Kind::Decision | Kind::Flags) => {
            verdict.add(7, format!("node {node} has no majority and does not answer: {detail}"));
        }
        _ => {}
    }
}
