//! What a key may change beyond its role: objects of some flows, or of some regions.
//!
//! An object belongs to a flow if it is the flow, a rule set written for it, or a snooze of one of
//! its rules (that the rule set is of the flow that a snooze names is checked with it); it belongs to
//! regions if it is a flag, experiment or rollout that is limited to them. Whatever belongs to no
//! flow, or everywhere, is outside a scope that names some.

use serde::Deserialize;
use verdict_config::definition::SnoozeDefinition;
use verdict_config::{ObjectId, ObjectKind, ObjectName};

use crate::catalogue::Catalogue;
use crate::command::ChangeSet;

/// The limits of a key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'key> {
    /// The flows it is for; all, if absent.
    pub flows: Option<&'key [String]>,
    /// The regions it is for; all, if absent.
    pub regions: Option<&'key [String]>,
}

/// What lies outside a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is outside the scope of the key, which is limited to {limits}")]
pub struct OutOfScope {
    /// The object.
    pub what: String,
    /// The limits.
    pub limits: String,
}

/// What of a body says where an object belongs.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Belongs {
    flow: Option<String>,
    regions: Vec<String>,
}

impl Scope<'_> {
    /// Whether there is no limit.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.flows.is_none() && self.regions.is_none()
    }

    /// Whether a change set touches nothing outside the scope: neither as an object is now, nor as
    /// it would become.
    ///
    /// # Errors
    /// The first object outside.
    pub fn covers(&self, set: &ChangeSet, catalogue: &Catalogue) -> Result<(), OutOfScope> {
        if self.is_everything() {
            return Ok(());
        }
        for change in &set.changes {
            let before = ObjectName::new(change.kind, change.name.as_str()).ok();
            let before =
                before.and_then(|name| catalogue.get(&ObjectId { kind: change.kind, name }));
            let bodies = [before.map(|object| &object.body[..]), change.body.as_deref()];
            for body in bodies.into_iter().flatten() {
                if !self.covers_object(change.kind, &change.name, body) {
                    let what = format!("{}/{}", change.kind, change.name);
                    return Err(OutOfScope { what, limits: self.limits() });
                }
            }
        }
        Ok(())
    }

    fn covers_object(&self, kind: ObjectKind, name: &str, body: &[u8]) -> bool {
        let belongs: Belongs = serde_json::from_slice(body).unwrap_or_default();
        let in_flows = self.flows.is_none_or(|flows| {
            let flow = match kind {
                ObjectKind::Flow => Some(name),
                ObjectKind::RuleSet => belongs.flow.as_deref(),
                ObjectKind::Setting if SnoozeDefinition::is_named(name) => belongs.flow.as_deref(),
                ObjectKind::Flag
                | ObjectKind::Segment
                | ObjectKind::List
                | ObjectKind::Table
                | ObjectKind::Model
                | ObjectKind::Alias
                | ObjectKind::Experiment
                | ObjectKind::Rollout
                | ObjectKind::Key
                | ObjectKind::Member
                | ObjectKind::Setting => None,
            };
            flow.is_some_and(|flow| flows.iter().any(|known| known == flow))
        });
        let regional =
            matches!(kind, ObjectKind::Flag | ObjectKind::Experiment | ObjectKind::Rollout);
        let in_regions = self.regions.is_none_or(|regions| {
            regional
                && !belongs.regions.is_empty()
                && belongs.regions.iter().all(|region| regions.contains(region))
        });
        in_flows && in_regions
    }

    fn limits(&self) -> String {
        let one = |what: &str, names: Option<&[String]>| {
            names.map(|names| format!("the {what} {}", names.join(", ")))
        };
        let limits = [one("flows", self.flows), one("regions", self.regions)];
        limits.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Change;

    fn check(scope: Scope<'_>, kind: ObjectKind, body: &str, covered: bool) {
        let set =
            ChangeSet::new("r".to_owned(), String::new(), vec![Change::put(kind, "payment", body)]);
        let catalogue = Catalogue::new(crate::catalogue::Limits::default());
        let answer = scope.covers(&set, &catalogue);
        assert_eq!(answer.is_ok(), covered, "{kind} {body}: {answer:?}");
    }

    /// The scopes that cover an object which names the scope's flow and region, by kind. Written by
    /// hand: a new kind does not compile until somebody decides it.
    const fn covered_by(kind: ObjectKind) -> (bool, bool) {
        match kind {
            ObjectKind::Flow | ObjectKind::RuleSet => (true, false),
            ObjectKind::Flag | ObjectKind::Experiment | ObjectKind::Rollout => (false, true),
            ObjectKind::Segment
            | ObjectKind::List
            | ObjectKind::Table
            | ObjectKind::Model
            | ObjectKind::Alias
            | ObjectKind::Key
            | ObjectKind::Member
            | ObjectKind::Setting => (false, false),
        }
    }

    #[test]
    fn every_kind_has_its_scopes() {
        let (flow, region) = (["payment".to_owned()], ["eu".to_owned()]);
        let body = r#"{"flow":"payment","regions":["eu"]}"#;
        for kind in ObjectKind::ALL {
            let (by_flow, by_region) = covered_by(kind);
            let flows = Scope { flows: Some(&flow), ..Scope::default() };
            let regions = Scope { regions: Some(&region), ..Scope::default() };
            check(flows, kind, body, by_flow);
            check(regions, kind, body, by_region);
            check(Scope { flows: Some(&flow), regions: Some(&region) }, kind, body, false);
            check(Scope::default(), kind, body, true);
        }
    }

    #[test]
    fn objects_belong_to_flows_and_regions() {
        let (payment, europe) = (["payment".to_owned()], ["eu".to_owned(), "uk".to_owned()]);
        let flows = Scope { flows: Some(&payment), ..Scope::default() };
        check(flows, ObjectKind::Flow, "{}", true);
        check(flows, ObjectKind::RuleSet, r#"{"flow":"payment"}"#, true);
        check(flows, ObjectKind::RuleSet, r#"{"flow":"merchant"}"#, false);
        check(flows, ObjectKind::RuleSet, "{}", false);
        check(flows, ObjectKind::List, "{}", false);
        check(flows, ObjectKind::Key, r#"{"flow":"payment"}"#, false);

        let regions = Scope { regions: Some(&europe), ..Scope::default() };
        check(regions, ObjectKind::Flag, r#"{"regions":["eu"]}"#, true);
        check(regions, ObjectKind::Flag, r#"{"regions":["eu","us"]}"#, false);
        check(regions, ObjectKind::Flag, r#"{"regions":[]}"#, false);
        check(regions, ObjectKind::List, r#"{"regions":["eu"]}"#, false);

        let both = Scope { flows: Some(&payment), regions: Some(&europe) };
        check(both, ObjectKind::Flag, r#"{"regions":["eu"]}"#, false);
        check(Scope::default(), ObjectKind::Key, "{}", true);
        check(flows, ObjectKind::Setting, r#"{"flow":"payment"}"#, false);

        let snooze = |flow: &str| {
            let body = format!(r#"{{"flow":"{flow}"}}"#);
            let change = Change::put(ObjectKind::Setting, "snooze-1", body);
            let set = ChangeSet::new("r".to_owned(), String::new(), vec![change]);
            flows.covers(&set, &Catalogue::new(crate::catalogue::Limits::default())).is_ok()
        };
        assert!(snooze("payment") && !snooze("merchant"));
    }
}
