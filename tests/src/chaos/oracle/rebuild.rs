//! Every revision's catalogue, made again by the pure state machine from what clients sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;
use verdict_config::definition::{AUTHORITY_NAME, ROTATION_NAME, STANDING_PREFIX};
use verdict_config::{ObjectId, ObjectKind, ObjectName, TimestampMs};
use verdict_consensus::{
    Author, Catalogue, Change, ChangeSet, Command, NoValidation, Op, Propose, Restores, apply,
};

use super::Verdict;
use crate::chaos::history::{Call, Kind};

/// What the history of the catalogue is, as the pure state machine makes it.
pub struct Rebuilt {
    /// The catalogue of each revision.
    pub catalogues: BTreeMap<u64, Arc<Catalogue>>,
    /// The revision of each request id.
    pub requests: HashMap<String, u64>,
    /// The entries of each revision, as the node told them.
    pub entries: BTreeMap<u64, Vec<Json>>,
}

impl Rebuilt {
    /// Nothing was read back.
    pub fn empty() -> Self {
        let (catalogues, requests) = (BTreeMap::new(), HashMap::new());
        Self { catalogues, requests, entries: BTreeMap::new() }
    }

    /// The newest revision.
    pub fn newest(&self) -> u64 {
        self.catalogues.keys().next_back().copied().unwrap_or(0)
    }
}

/// Applies what stands in the history, with the bodies that clients sent, and compares.
pub fn rebuild(entries: &[Json], calls: &[&Call], verdict: &mut Verdict) -> Rebuilt {
    let mut rebuilt = Rebuilt::empty();
    for entry in entries {
        let revision = entry["revision"].as_u64().unwrap_or(0);
        rebuilt.entries.entry(revision).or_default().push(entry.clone());
    }
    let sent = calls.iter().filter(|call| matches!(call.kind, Kind::Change | Kind::Rollback));
    let sent: HashMap<&str, &Call> = sent.map(|call| (call.request_id(), *call)).collect();
    let mut catalogue = Catalogue::default();
    rebuilt.catalogues.insert(0, Arc::new(catalogue.clone()));
    for (revision, entries) in &rebuilt.entries {
        let request_id = entries[0]["request_id"].as_str().unwrap_or_default();
        if let Some(first) = rebuilt.requests.insert(request_id.to_owned(), *revision) {
            let what = format!("{request_id} is applied at revision {first} and at {revision}");
            verdict.add(1, what);
            // What follows is compared with what a state machine that forgot it would make.
        }
        match next(&catalogue, *revision, entries, sent.get(request_id).copied()) {
            Ok(made) => catalogue = made,
            Err(error) => {
                verdict.add(1, format!("revision {revision} ({request_id}): {error:#}"));
                break;
            }
        }
        rebuilt.catalogues.insert(*revision, Arc::new(catalogue.clone()));
    }
    verdict.count("revisions made again", rebuilt.catalogues.len());
    rebuilt
}

fn next(
    catalogue: &Catalogue,
    revision: u64,
    entries: &[Json],
    sent: Option<&Call>,
) -> Result<Catalogue> {
    let head = &entries[0];
    ensure!(revision == catalogue.revision() + 1, "it follows {}", catalogue.revision());
    let set = match sent {
        Some(call) if call.kind == Kind::Change => sent_set(&call.request)?,
        Some(call) => {
            let set = told_set(entries, true)?;
            ChangeSet { restores: Some(restores(&call.request)?), ..set }
        }
        // A node's own: tokens, joining, what the members become, and steps of a rotation; the last two
        // expect what was before.
        None => {
            let mut of_members = entries.iter().filter_map(|entry| entry["name"].as_str());
            let expecting = of_members.any(|name| {
                name.starts_with(STANDING_PREFIX) || [ROTATION_NAME, AUTHORITY_NAME].contains(&name)
            });
            told_set(entries, expecting)?
        }
    };
    let change_set = set.normalised().map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let at: TimestampMs = serde_json::from_value(head["at"].clone())?;
    let name = head["author"].as_str().unwrap_or_default().to_owned();
    let author = Author { name, address: head["address"].as_str().map(str::to_owned), proof: None };
    let command = Command::Propose(Propose { change_set, author, at });
    let index = head["log_index"].as_u64().unwrap_or(0);
    let made = apply(catalogue, &command, index, &NoValidation)
        .map_err(|refused| anyhow::anyhow!("the state machine refuses it: {refused}"))?;
    ensure!(!made.applied.repeated, "the state machine knows its request id");
    ensure!(made.catalogue.at() == at, "its time goes back");
    ensure!(made.applied.applied.len() == entries.len(), "it has other changes than were sent");
    for entry in entries {
        let id = object_id(entry)?;
        let made = made.catalogue.get(&id).map(|object| object.hash.to_hex());
        let told = entry["after"]["hash"].as_str();
        ensure!(made.as_deref() == told, "{id} is {told:?}, and was to be {made:?}");
    }
    Ok(made.catalogue)
}

/// The object that an entry or a change names.
pub fn object_id(named: &Json) -> Result<ObjectId> {
    let kind: ObjectKind = serde_json::from_value(named["kind"].clone())?;
    let name = ObjectName::new(kind, named["name"].as_str().unwrap_or_default());
    Ok(ObjectId { kind, name: name.map_err(|fault| anyhow::anyhow!(fault.message))? })
}

/// A change set as a client sent it.
fn sent_set(request: &Json) -> Result<ChangeSet> {
    let changes = request["changes"].as_array().context("changes")?;
    let changes = changes.iter().map(|change| {
        let object = object_id(change)?;
        Ok(Change {
            kind: object.kind,
            name: object.name.as_str().to_owned(),
            op: serde_json::from_value(change["op"].clone())?,
            expected_revision: change["expected_revision"].as_u64(),
            body: change.get("body").map(serde_json::to_vec).transpose()?,
            stored: None,
        })
    });
    let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
    Ok(ChangeSet::new(text("request_id"), text("why"), changes.collect::<Result<_>>()?))
}

/// A change set as the history tells it; `expecting` what was before.
fn told_set(entries: &[Json], expecting: bool) -> Result<ChangeSet> {
    let changes = entries.iter().map(|entry| {
        let object = object_id(entry)?;
        let op: Op = serde_json::from_value(entry["op"].clone())?;
        let body = (op == Op::Put).then(|| serde_json::to_vec(&entry["after"]["body"]));
        let before = entry["before"]["revision"].as_u64().unwrap_or(0);
        Ok(Change {
            kind: object.kind,
            name: object.name.as_str().to_owned(),
            op,
            expected_revision: expecting.then_some(before),
            body: body.transpose()?,
            stored: None,
        })
    });
    let text = |key: &str| entries[0][key].as_str().unwrap_or_default().to_owned();
    Ok(ChangeSet::new(text("request_id"), text("why"), changes.collect::<Result<_>>()?))
}

fn restores(request: &Json) -> Result<Restores> {
    let objects = request["objects"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Restores {
        to_revision: request["to_revision"].as_u64().context("to_revision")?,
        objects: objects.iter().map(object_id).collect::<Result<_>>()?,
    })
}
