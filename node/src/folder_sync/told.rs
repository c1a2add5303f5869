//! What a settling tells people: changes as lines, faults with their files.

use verdict_actors::RuntimeError;
use verdict_config::catalogue::CatalogueText;
use verdict_config::{Fault, Faults};
use verdict_consensus::{Catalogue, Change, Op};

pub(super) fn describe(change: &Change, catalogue: &Catalogue) -> String {
    let known = change.object().is_ok_and(|id| catalogue.get(&id).is_some());
    let sign = match (change.op, known) {
        (Op::Delete, _) => '-',
        (Op::Put, true) => '~',
        (Op::Put, false) => '+',
    };
    format!("{sign} {} {}", change.kind, change.name)
}

/// The faults of a refused proposal, each at its file, line and column.
pub(super) fn placed(text: &CatalogueText, changes: &[Change], error: &RuntimeError) -> Faults {
    let faults = error.faults();
    if faults.is_empty() {
        return vec![Fault::new(error.code(), "", error.to_string())];
    }
    faults.into_iter().map(|fault| place(text, changes, fault)).collect()
}

/// `changes[2].body.rules[0].when` is at `rules[0].when` of the third change's object, and
/// `rule_set/risk.rules[0].when` at the same place of the object that it names.
pub(super) fn place(text: &CatalogueText, changes: &[Change], fault: Fault) -> Fault {
    let indexed = fault.path.strip_prefix("changes[").and_then(|rest| {
        let (position, path) = rest.split_once(']')?;
        let change = changes.get(position.parse::<usize>().ok()?)?;
        let path = path.trim_start_matches('.');
        let path = path.strip_prefix("body").unwrap_or(path).trim_start_matches('.');
        Some((change.object().ok()?, path.to_owned()))
    });
    let named = || {
        text.objects.keys().find_map(|id| {
            let path = fault.path.strip_prefix(&id.to_string())?;
            let ends = path.is_empty() || path.starts_with(['.', '[']);
            ends.then(|| (id.clone(), path.trim_start_matches('.').to_owned()))
        })
    };
    match indexed.or_else(named) {
        Some((id, path)) => text.locate(&id, Fault { path, ..fault }),
        None => fault,
    }
}
