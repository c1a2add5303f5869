//! Invariant 8: watchers see every revision once and in order, as it is in the history.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::Verdict;
use super::rebuild::Rebuilt;
use crate::chaos::history::Record;

pub fn check(records: &[Record], rebuilt: &Rebuilt, verdict: &mut Verdict) {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records {
        match record {
            Record::WatchBegan { watcher, from } => {
                seen.insert(watcher, *from);
            }
            Record::Watched { watcher, node, id, data, .. } => {
                let last = seen.entry(watcher).or_default();
                if *id != *last + 1 {
                    let what = format!("{watcher} saw revision {id} of node {node} after {last}");
                    verdict.add(8, what);
                }
                *last = *id;
                verdict.count("watched events", 1);
                let Some(entries) = rebuilt.entries.get(id) else {
                    if *id <= rebuilt.newest() {
                        verdict.add(8, format!("{watcher} saw revision {id}, which is not"));
                    }
                    continue;
                };
                if !same(data, *id, entries) {
                    let what = format!("{watcher} saw {data} as revision {id} of node {node}");
                    verdict.add(8, what);
                }
            }
            _ => {}
        }
    }
    for (watcher, last) in seen {
        if last < rebuilt.newest() {
            let newest = rebuilt.newest();
            verdict.add(8, format!("{watcher} saw nothing behind revision {last} of {newest}"));
        }
    }
}

fn same(data: &Json, revision: u64, entries: &[Json]) -> bool {
    let key = |named: &Json| (named["kind"].clone(), named["name"].clone(), named["op"].clone());
    let told = data["changes"].as_array().map(|changes| changes.iter().map(key).collect());
    let stands: Vec<_> = entries.iter().map(key).collect();
    data["revision"] == revision
        && told == Some(stands)
        && ["at", "author", "why"].iter().all(|part| data[part] == entries[0][part])
}
