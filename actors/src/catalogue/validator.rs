//! The leader's last word on a change set: the catalogue that it would make compiles.
//!
//! Whoever proposes has checked as much, and more (models load, rule tests pass), but on the catalogue
//! of that moment. The leader asks this validator on exactly the catalogue that the change set meets,
//! so that two edits, each valid where it was made, never add up to one that no node can compile.

use std::sync::Arc;

use verdict_config::flags::check_alone;
use verdict_config::{Fault, Faults, ObjectId, ObjectKind};
use verdict_consensus::{Catalogue, DefinitionValidator, Validator};
use verdict_rules::RuleLimits;

use super::{CatalogueObjects, CompileOptions, LastCompiled, compile};

/// Bodies by their definitions, references, and a compilation of the whole.
pub struct CompilingValidator {
    limits: RuleLimits,
    /// What did not change since then is not compiled again.
    last: LastCompiled,
}

impl CompilingValidator {
    /// A validator that compiles within bounds, from what was compiled last.
    #[must_use]
    pub const fn new(limits: RuleLimits, last: LastCompiled) -> Self {
        Self { limits, last }
    }
}

/// Whether a change of a kind can break the compilation of another object.
pub(crate) const fn is_compiled_against(kind: ObjectKind) -> bool {
    match kind {
        ObjectKind::RuleSet
        | ObjectKind::Flow
        | ObjectKind::List
        | ObjectKind::Table
        | ObjectKind::Model
        | ObjectKind::Alias
        // Two flags may each be right and name each other as a prerequisite.
        | ObjectKind::Flag
        | ObjectKind::Segment
        | ObjectKind::Setting => true,
        ObjectKind::Experiment | ObjectKind::Rollout | ObjectKind::Key | ObjectKind::Member => {
            false
        }
    }
}

/// The faults of a change set that puts flags only which name nothing and which nothing names, found
/// without a compilation of the whole: most changes are of that kind, and a leader checks each. `None`
/// for any other change set.
fn faults_of_lone_flags(next: &Catalogue, touched: &[ObjectId]) -> Option<Faults> {
    let mut faults = Faults::new();
    for (position, id) in touched.iter().enumerate() {
        if !is_compiled_against(id.kind) {
            continue;
        }
        if id.kind != ObjectKind::Flag || next.referrers_of(id).next().is_some() {
            return None;
        }
        let body = next.get(id)?.json().ok()?;
        let path = format!("changes[{position}].body");
        let found = check_alone(id.name.as_str(), &body)?;
        faults.extend(found.into_iter().map(|fault| fault.under(&path)));
    }
    Some(faults)
}

impl Validator for CompilingValidator {
    fn check_body(&self, object: &ObjectId, body: &[u8]) -> Faults {
        DefinitionValidator.check_body(object, body)
    }

    fn checks_references(&self) -> bool {
        true
    }

    fn compiles(&self) -> bool {
        true
    }

    fn check_refusals(&self, next: &Catalogue, touched: &[ObjectId]) -> Faults {
        // Just compiled, unless nothing of it is compiled against anything.
        let state = self.last.get().filter(|state| state.revision == next.revision());
        let refusals = state.map(|state| state.refusals()).unwrap_or_default();
        let mut faults = Faults::new();
        for (position, id) in touched.iter().enumerate() {
            let found = refusals.iter().filter_map(|finding| finding.fault_for(id));
            faults.extend(found.map(|fault| fault.under(&format!("changes[{position}].body"))));
        }
        faults
    }

    fn check_times(&self, next: &Catalogue, touched: &[ObjectId]) -> Faults {
        DefinitionValidator.check_times(next, touched)
    }

    fn check_catalogue(&self, next: &Catalogue, touched: &[ObjectId]) -> Faults {
        let faults = DefinitionValidator.check_catalogue(next, touched);
        if !faults.is_empty() || !touched.iter().any(|id| is_compiled_against(id.kind)) {
            return faults;
        }
        if let Some(faults) = faults_of_lone_flags(next, touched) {
            return faults;
        }
        let previous = self.last.get();
        let options = CompileOptions { limits: self.limits, check: false };
        let compilation = compile(&CatalogueObjects::from(next), previous.as_deref(), options);
        if let Some(state) = compilation.state {
            self.last.put(Arc::new(state));
            return Faults::new();
        }
        let placed = compilation.report.faults.into_iter().map(|found| {
            let position = touched.iter().position(|id| *id == found.object);
            match position {
                Some(position) => found.fault.under(&format!("changes[{position}].body")),
                // An object that the change set leaves as it is and would break.
                None => {
                    let Fault { code, path, message, .. } = found.fault;
                    Fault::new(code, "changes", format!("{} {path}: {message}", found.object))
                }
            }
        });
        placed.collect()
    }
}

#[cfg(test)]
mod tests {
    use verdict_consensus::{
        Author, Change, ChangeRefused, ChangeSet, Command, Limits, Propose, apply,
    };

    use super::*;

    fn change(
        catalogue: &Catalogue,
        kind: ObjectKind,
        name: &str,
        body: &str,
    ) -> Result<Catalogue, ChangeRefused> {
        let validator = CompilingValidator::new(RuleLimits::default(), LastCompiled::default());
        let change_set = ChangeSet::new(
            format!("r{}", catalogue.revision()),
            String::new(),
            vec![Change::put(kind, name, body.to_owned())],
        );
        let at = verdict_config::TimestampMs(1);
        let propose = Propose { change_set, author: Author::named("test"), at };
        apply(catalogue, &Command::Propose(propose), 1, &validator)
            .map(|transition| Catalogue::clone(&transition.catalogue))
    }

    #[test]
    fn flags_that_name_each_other_are_judged_together() {
        let flag = |rest: &str| {
            format!(
                r#"{{"state":"ENABLED","variants":{{"on":1,"off":0}},"defaultVariant":"on"{rest}}}"#
            )
        };
        let needs = |key: &str| {
            flag(&format!(r#","off":"off","prerequisites":[{{"flag":"{key}","variant":"on"}}]"#))
        };
        let empty = Catalogue::new(Limits::default());
        let one = change(&empty, ObjectKind::Flag, "a", &flag("")).unwrap();
        let two = change(&one, ObjectKind::Flag, "b", &needs("a")).unwrap();
        // Right alone, and named by `b`: whether it may change is seen with `b` only.
        change(&two, ObjectKind::Flag, "a", &flag(r#","metadata":{"x":1}"#)).unwrap();
        let circle = change(&two, ObjectKind::Flag, "a", &needs("b")).unwrap_err();
        let without = flag("").replace("\"on\"", "\"yes\"");
        let lost = change(&two, ObjectKind::Flag, "a", &without).unwrap_err();
        let wrong = change(&two, ObjectKind::Flag, "c", &flag(r#","targeting":{"nope":[1]}"#));
        for refused in [circle, lost, wrong.unwrap_err()] {
            assert!(matches!(refused, ChangeRefused::Invalid(_)), "{refused:?}");
        }
    }

    #[test]
    fn an_edit_that_breaks_what_another_added_is_refused() {
        let flow = |kind: &str| {
            format!(
                r#"{{"flow":"pay","fields":{{"amount":{{"type":"{kind}"}}}},"rules":["risk"]}}"#
            )
        };
        let rules = concat!(
            r#"{"rule_set":"risk","flow":"pay","rules":"#,
            r#"[{"id":"large","when":"amount > 5","then":{"points":5}}]}"#,
        );
        let empty = Catalogue::new(Limits::default());
        let alone = change(
            &empty,
            ObjectKind::Flow,
            "pay",
            r#"{"flow":"pay","fields":{"amount":{"type":"int"}}}"#,
        );
        let with_rules = change(&alone.unwrap(), ObjectKind::RuleSet, "risk", rules).unwrap();
        let whole = change(&with_rules, ObjectKind::Flow, "pay", &flow("int")).unwrap();
        // Valid in itself, and every name it needs is there; but the rule compares a number.
        let refused = change(&whole, ObjectKind::Flow, "pay", &flow("string")).unwrap_err();
        let ChangeRefused::Invalid(faults) = refused else { panic!("{refused:?}") };
        assert!(faults.iter().any(|fault| fault.message.contains("amount")), "{faults:?}");
        change(&whole, ObjectKind::Flow, "pay", &flow("decimal")).unwrap();
    }
}
