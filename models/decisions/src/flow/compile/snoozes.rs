//! Snoozes: the list `snooze.FLOW`, and the settings `snooze-NAME` of the flow.

use std::sync::Arc;

use verdict_config::definition::Category;
use verdict_config::{Code, Fault, Faults, ObjectKind, TimestampMs};

use super::Compiler;
use crate::flow::{FlowSet, SnoozedRule, Snoozes};

impl Compiler<'_> {
    /// Which rules sleep for which unit, and until when.
    pub(super) fn snoozes(&mut self) -> Snoozes {
        let mut snoozes = Snoozes::default();
        self.listed_snoozes(&mut snoozes);
        for (name, snooze) in self.parts.snoozes {
            let in_set = |set: &FlowSet| {
                let is_meant = *snooze.rule_set == **set.compiled.name();
                let mut rules = set.compiled.rules().iter();
                rules.position(|rule| is_meant && *rule.id == *snooze.rule)
            };
            let found = self.snoozed_rule(&snooze.rule, in_set, (snooze.until, name));
            match (found, snooze.hash_bytes()) {
                (Ok(rule), Some(hash)) => snoozes.add_hashed(&snooze.salt, hash, rule),
                (Ok(_), None) => {
                    let message = "unit_hash is no hash: the snooze has no effect";
                    self.finding(format!("setting/{name}.unit_hash"), message);
                }
                (Err(message), _) => self.finding(format!("setting/{name}.rule"), message),
            }
        }
        snoozes
    }

    /// Reads the list `snooze.FLOW`: value is the unit, the qualifier `rule` the rule.
    fn listed_snoozes(&mut self, snoozes: &mut Snoozes) {
        let list_name = format!("snooze.{}", self.definition.flow);
        let Some(list) = self.parts.lists.get(&list_name) else { return };
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
            let in_set = |set: &FlowSet| set.rules.iter().position(|rule| *rule.name == **name);
            match self.snoozed_rule(name, in_set, (expires, &list_name)) {
                Ok(rule) => snoozes.add_plain(&entry.value, rule),
                Err(message) => self.finding(format!("list/{list_name}.{}", path("rule")), message),
            }
        }
        if !faults.is_empty() {
            self.object_faults(ObjectKind::List, &list_name, faults);
        }
    }

    /// The rule at the place that is found in the first set that has it.
    fn snoozed_rule(
        &self,
        name: &str,
        find: impl Fn(&FlowSet) -> Option<usize>,
        (expires, source): (TimestampMs, &str),
    ) -> Result<SnoozedRule, String> {
        for (set_position, set) in (0u32..).zip(&self.sets) {
            let Some(position) = find(set) else { continue };
            let category = set.compiled.rules().get(position).and_then(|rule| rule.category);
            if category == Some(Category::Sanctions) {
                return Err(format!("rule {name} is of category sanctions: it cannot be snoozed"));
            }
            let rule = u32::try_from(position).map_err(|error| error.to_string())?;
            return Ok(SnoozedRule { set: set_position, rule, expires, source: source.into() });
        }
        Err(format!("the flow has no rule {name}: the snooze has no effect"))
    }
}
