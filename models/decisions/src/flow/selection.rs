//! Which models a stage asks: written out in the flow, or said by a flag's value.

use std::sync::Arc;

use serde_json::Value as Json;
use verdict_config::definition::{EnsembleMethod, ModelChoice, ModelSelection};

/// The most members of an ensemble, and the most shadows of a stage.
pub const MEMBERS_MAX: usize = 8;
/// The name that stands for no model.
const NONE: &str = "none";

/// Where a stage's selection comes from.
#[derive(Debug, Clone)]
pub(crate) enum Choice {
    /// The flow says it.
    Fixed(Selection),
    /// The value of the flag at this position among the flow's flags says it.
    Flag(usize),
}

/// Which models run, and how they combine.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Selection {
    /// The one model, or the members of the ensemble; none means rules only.
    pub members: Vec<Member>,
    /// How they combine; none for one model.
    pub method: Option<EnsembleMethod>,
    /// Models that run beside them.
    pub shadow: Vec<Arc<str>>,
}

/// A model with its weight.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub model: Arc<str>,
    pub weight: f64,
}

impl Selection {
    fn one(name: &str) -> Self {
        let members = match name {
            NONE => Vec::new(),
            _ => vec![Member { model: name.into(), weight: 1.0 }],
        };
        Self { members, ..Self::default() }
    }

    /// A selection as it is written.
    ///
    /// # Errors
    /// A sentence for each thing that is wrong.
    pub fn read(written: &ModelSelection) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        if written.shadow.len() > MEMBERS_MAX {
            faults.push(format!("at most {MEMBERS_MAX} models may run in shadow"));
        }
        let mut selection = match (&written.model, &written.ensemble) {
            (Some(_), Some(_)) => {
                faults.push("name a model or an ensemble, not both".to_owned());
                Self::default()
            }
            (Some(model), None) => Self::one(model),
            (None, None) => Self::default(),
            (None, Some(ensemble)) => {
                if !(1..=MEMBERS_MAX).contains(&ensemble.members.len()) {
                    faults.push(format!("an ensemble has 1 to {MEMBERS_MAX} members"));
                }
                let member = |member: &verdict_config::definition::EnsembleMember| Member {
                    model: member.model.as_str().into(),
                    weight: member.weight.unwrap_or(1.0),
                };
                Self {
                    members: ensemble.members.iter().map(member).collect(),
                    method: Some(ensemble.method),
                    shadow: Vec::new(),
                }
            }
        };
        let stacking = selection.method == Some(EnsembleMethod::Stacking);
        for member in &selection.members {
            // A stacking coefficient may be negative: it is fitted, not chosen.
            if !member.weight.is_finite() || (member.weight < 0.0 && !stacking) {
                faults.push(format!("the weight of {} is a number of at least 0", member.model));
            }
        }
        selection.shadow = written.shadow.iter().map(|name| name.as_str().into()).collect();
        if faults.is_empty() { Ok(selection) } else { Err(faults) }
    }

    /// What a flag's value says: a model's name, `"none"`, or a selection as an object.
    ///
    /// # Errors
    /// A sentence for each thing that is wrong.
    pub fn of_flag_value(value: &Json) -> Result<Self, Vec<String>> {
        match value {
            Json::String(name) => Ok(Self::one(name)),
            Json::Object(_) => serde::Deserialize::deserialize(value)
                .map_err(|error: serde_json::Error| vec![error.to_string()])
                .and_then(|written| Self::read(&written)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) => {
                Err(vec!["the value is a model's name, \"none\" or an object".to_owned()])
            }
        }
    }
}

impl Choice {
    /// A choice as it is written; `flag` gives the position of a flag's key.
    ///
    /// # Errors
    /// A sentence for each thing that is wrong.
    pub fn read(
        written: &ModelChoice,
        flag: impl FnOnce(&str) -> Option<usize>,
    ) -> Result<Self, Vec<String>> {
        match written {
            ModelChoice::Name(name) => Ok(Self::Fixed(Selection::one(name))),
            ModelChoice::Choice(selection) => Selection::read(selection).map(Self::Fixed),
            ModelChoice::Flag { flag: key } => {
                flag(key).map(Self::Flag).ok_or_else(|| vec![format!("{key:?} is no flag key")])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Json, expected: Option<(&[&str], Option<EnsembleMethod>, &[&str])>) {
        let got = Selection::of_flag_value(&value);
        match (&got, expected) {
            (Ok(selection), Some((members, method, shadow))) => {
                let names: Vec<&str> =
                    selection.members.iter().map(|member| member.model.as_ref()).collect();
                assert_eq!(names, members, "{value}");
                assert_eq!(selection.method, method, "{value}");
                let names: Vec<&str> = selection.shadow.iter().map(AsRef::as_ref).collect();
                assert_eq!(names, shadow, "{value}");
            }
            (Err(_), None) => {}
            _ => panic!("{value}: {got:?}"),
        }
    }

    #[test]
    fn a_flag_may_say_anything_and_only_selections_are_taken() {
        check(json!("risk"), Some((&["risk"], None, &[])));
        check(json!("none"), Some((&[], None, &[])));
        check(json!({}), Some((&[], None, &[])));
        check(json!({"model": "a", "shadow": ["b"]}), Some((&["a"], None, &["b"])));
        let ensemble =
            json!({"ensemble": {"method": "voting", "members": [{"model": "a", "weight": 2}]}});
        check(ensemble, Some((&["a"], Some(EnsembleMethod::Voting), &[])));
        let negative = |method: &str| json!({"ensemble": {"method": method, "members": [{"model": "a", "weight": -1.0}]}});
        check(negative("stacking"), Some((&["a"], Some(EnsembleMethod::Stacking), &[])));
        check(negative("voting"), None);
        check(
            json!({"model": "a", "ensemble": {"method": "voting", "members": [{"model": "b"}]}}),
            None,
        );
        check(json!({"ensemble": {"method": "voting", "members": []}}), None);
        check(json!({"modle": "a"}), None);
        for other in [json!(null), json!(1), json!(true), json!(["a"])] {
            check(other, None);
        }
    }
}
