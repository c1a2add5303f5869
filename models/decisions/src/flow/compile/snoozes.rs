//! The list `snooze.FLOW`: which rules sleep for which unit, and until when.

use std::collections::BTreeMap;
use std::sync::Arc;

use verdict_config::{Code, Fault, Faults, ObjectKind, TimestampMs};

use super::Compiler;
use crate::flow::SnoozedRule;

impl Compiler<'_> {
    /// Reads the list `snooze.FLOW`: value is the unit, the qualifier `rule` the rule.
    pub(super) fn snoozes(&mut self) -> BTreeMap<String, Vec<SnoozedRule>> {
        let mut snoozes: BTreeMap<String, Vec<SnoozedRule>> = BTreeMap::new();
        let list_name = format!("snooze.{}", self.definition.flow);
        let Some(list) = self.parts.lists.get(&list_name) else { return snoozes };
        let list = Arc::clone(list);
        let mut faults = Faults::new();
        for (position, entry) in list.entries.iter().enumerate() {
            let path = |key: &str| format!("entries[{position}].{key}");
            let Some(expires) = entry.expires else {
                let message = "a snooze expires: give a time";
                faults.push(Fault::new(Code::MissingKey, path("expires"), message));
                continue;
            };
            let Some(name) = entry.qualifiers.get("rule") else {
                let message = "a snooze names a rule: add the column rule";
                faults.push(Fault::new(Code::MissingKey, path("rule"), message));
                continue;
            };
            match self.snoozed_rule(name, expires) {
                Ok(rule) => snoozes.entry(entry.value.clone()).or_default().push(rule),
                Err(message) => self.finding(format!("list/{list_name}.{}", path("rule")), message),
            }
        }
        if !faults.is_empty() {
            self.object_faults(ObjectKind::List, &list_name, faults);
        }
        snoozes
    }

    fn snoozed_rule(&self, name: &str, expires: TimestampMs) -> Result<SnoozedRule, String> {
        for (set_position, set) in (0u32..).zip(&self.sets) {
            let found = set.rules.iter().position(|rule| rule.name.as_ref() == name);
            let Some(position) = found else { continue };
            let sanctions = set.compiled.rules().get(position).is_some_and(|rule| {
                rule.category == Some(verdict_config::definition::Category::Sanctions)
            });
            if sanctions {
                return Err(format!("rule {name} is of category sanctions: it cannot be snoozed"));
            }
            let rule = u32::try_from(position).map_err(|error| error.to_string())?;
            return Ok(SnoozedRule { set: set_position, rule, expires });
        }
        Err(format!("the flow has no rule {name}: the snooze has no effect"))
    }
}
