//! Change sets of bounded size out of more changes than one may hold.
//!
//! A change set has a bound that is part of the cluster's protocol, so a folder of more objects is
//! applied in several. Their order keeps references whole: what is named comes before what names it,
//! and is deleted after it. A flow and its rule sets name each other and stay together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use verdict_config::ObjectKind;
use verdict_consensus::{
    BODY_BYTES_MAX, CHANGES_MAX, Change, INLINE_BYTES_MAX, Op, STORED_BYTES_MAX,
};

/// Divides changes into sets that each fit a change set, in the order in which they are applied.
/// Changes that fit one set come back as they are.
#[must_use]
pub fn batches(changes: Vec<Change>) -> Vec<Vec<Change>> {
    if Size::of(&changes).fits() {
        return vec![changes];
    }
    let mut batches: Vec<Vec<Change>> = Vec::new();
    let mut current: Vec<Change> = Vec::new();
    for group in groups(changes) {
        if !Size::of(&current).and(Size::of(&group)).fits() && !current.is_empty() {
            batches.push(std::mem::take(&mut current));
        }
        current.extend(group);
    }
    batches.push(current);
    batches
}

/// What a change set counts of its changes.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    changes: usize,
    inline: usize,
    stored: u64,
}

impl Size {
    fn of(changes: &[Change]) -> Self {
        changes.iter().fold(Self::default(), |size, change| {
            let bytes = change.body.as_ref().map_or(0, Vec::len);
            let is_stored = bytes > INLINE_BYTES_MAX;
            size.and(Self {
                changes: 1,
                inline: if is_stored { 0 } else { bytes },
                stored: if is_stored { bytes as u64 } else { 0 },
            })
        })
    }

    const fn and(self, other: Self) -> Self {
        Self {
            changes: self.changes + other.changes,
            inline: self.inline + other.inline,
            stored: self.stored + other.stored,
        }
    }

    const fn fits(&self) -> bool {
        self.changes <= CHANGES_MAX
            && self.inline <= BODY_BYTES_MAX
            && self.stored <= STORED_BYTES_MAX
    }
}

/// Changes that belong together, in the order in which they are applied.
fn groups(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let (puts, deletes): (Vec<Change>, Vec<Change>) =
        changes.into_iter().partition(|change| change.op == Op::Put);
    let by_rank = |changes: Vec<Change>| {
        let mut ranks: BTreeMap<u8, Vec<Change>> = BTreeMap::new();
        for change in changes {
            ranks.entry(rank(change.kind)).or_default().push(change);
        }
        ranks
    };
    let mut groups = Vec::new();
    for (at, changes) in by_rank(puts) {
        if at == rank(ObjectKind::Flow) {
            groups.extend(by_flow(changes));
        } else if at == rank(ObjectKind::Flag) {
            groups.extend(by_prerequisites(changes).into_iter().map(|change| vec![change]));
        } else {
            groups.extend(changes.into_iter().map(|change| vec![change]));
        }
    }
    for (_, changes) in by_rank(deletes).into_iter().rev() {
        groups.extend(changes.chunks(CHANGES_MAX).map(<[Change]>::to_vec));
    }
    groups
}

/// What is named has a lower rank than what names it.
const fn rank(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Setting | ObjectKind::Key | ObjectKind::Member => 0,
        ObjectKind::Segment | ObjectKind::List | ObjectKind::Table | ObjectKind::Model => 1,
        ObjectKind::Alias => 2,
        ObjectKind::Flag => 3,
        ObjectKind::RuleSet | ObjectKind::Flow => 4,
        ObjectKind::Experiment | ObjectKind::Rollout => 5,
    }
}

fn body_of(change: &Change) -> Json {
    serde_json::from_slice(change.body.as_deref().unwrap_or_default()).unwrap_or_default()
}

/// Flows with the rule sets that name them.
fn by_flow(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let mut groups: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    for change in changes {
        let flow = match change.kind {
            ObjectKind::Flow => change.name.clone(),
            _ => body_of(&change)["flow"].as_str().unwrap_or_default().to_owned(),
        };
        groups.entry(flow).or_default().push(change);
    }
    groups.into_values().collect()
}

/// Flags behind the flags that they name.
fn by_prerequisites(mut changes: Vec<Change>) -> Vec<Change> {
    let names: BTreeSet<String> = changes.iter().map(|change| change.name.clone()).collect();
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for change in &changes {
        let mut found = Vec::new();
        let mut waiting = vec![body_of(change)];
        while let Some(value) = waiting.pop() {
            match value {
                Json::String(text) if names.contains(&text) => found.push(text),
                Json::Array(items) => waiting.extend(items),
                Json::Object(members) => {
                    waiting.extend(members.into_iter().map(|(_, inner)| inner))
                }
                _ => {}
            }
        }
        named.insert(change.name.clone(), found);
    }
    // Depth first, without recursion: a flag is placed once all that it names are.
    let mut placed: BTreeMap<String, usize> = BTreeMap::new();
    for name in &names {
        let mut begun = BTreeSet::new();
        let mut stack = vec![(name.clone(), false)];
        while let Some((name, is_done)) = stack.pop() {
            if placed.contains_key(&name) {
                continue;
            }
            if is_done {
                placed.insert(name, placed.len());
            } else if begun.insert(name.clone()) {
                let below = named.get(&name).cloned().unwrap_or_default();
                stack.push((name, true));
                stack.extend(below.into_iter().map(|name| (name, false)));
            }
        }
    }
    changes.sort_by_key(|change| placed.get(&change.name).copied().unwrap_or(usize::MAX));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(kind: ObjectKind, name: &str, body: &str) -> Change {
        Change::put(kind, name, body.as_bytes().to_vec())
    }

    #[test]
    fn few_changes_stay_one_set() {
        let changes = vec![put(ObjectKind::Flow, "b", "{}"), put(ObjectKind::List, "a", "{}")];
        assert_eq!(batches(changes.clone()), [changes]);
    }

    #[test]
    fn many_changes_are_divided_behind_what_they_name() {
        let mut changes = vec![
            put(ObjectKind::Flow, "pay", "{}"),
            Change::delete(ObjectKind::List, "gone"),
            Change::delete(ObjectKind::Flow, "old"),
            put(ObjectKind::RuleSet, "risk", r#"{"flow": "pay"}"#),
            put(ObjectKind::List, "zeta", "{}"),
        ];
        // Each flag names the one behind it in the alphabet.
        for number in 0..2_500 {
            let body = format!(r#"{{"prerequisites": [{{"flag": "f{:04}"}}]}}"#, number + 1);
            changes.push(put(ObjectKind::Flag, &format!("f{number:04}"), &body));
        }
        let sets = batches(changes.clone());
        assert!(sets.iter().all(|set| set.len() <= CHANGES_MAX));
        assert_eq!(sets.len(), 3);
        let order: Vec<&Change> = sets.iter().flatten().collect();
        assert_eq!(order.len(), changes.len());
        let at = |name: &str| order.iter().position(|change| change.name == name).unwrap();
        assert!(at("zeta") < at("f2499") && at("f0001") < at("f0000") && at("f0000") < at("risk"));
        assert!(at("pay") < at("old") && at("old") < at("gone"));
        let set_of = |name: &str| {
            sets.iter().position(|set| set.iter().any(|change| change.name == name)).unwrap()
        };
        assert_eq!(set_of("pay"), set_of("risk"));
    }

    #[test]
    fn large_bodies_are_divided_by_their_bytes() {
        let body = format!("{{\"a\":\"{}\"}}", "x".repeat(20 << 20));
        let changes: Vec<Change> =
            (0..3).map(|number| put(ObjectKind::List, &format!("l{number}"), &body)).collect();
        assert_eq!(batches(changes).len(), 3);
    }
}
