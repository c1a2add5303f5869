//! Rule sets that no flow names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use verdict_config::definition::RuleSetDefinition;
use verdict_config::{Code, Fault, ObjectId, ObjectKind, Schema};
use verdict_rules::{DerivedFacts, Environment};

use super::{Compiler, id_of};
use crate::catalogue::objects::{TypedBody, TypedObject, of_kind};
use crate::catalogue::{ObjectFinding, RuleSetTests};

impl Compiler<'_> {
    /// Rule sets that no flow names: nothing runs them, but their text is checked all the same.
    pub(super) fn compile_loose_sets(&mut self) {
        let used: BTreeSet<String> = self
            .flows
            .values()
            .flat_map(|served| served.flow.rule_sets().map(|set| set.name().to_string()))
            .chain(self.report.faults.iter().map(|fault| fault.object.name.to_string()))
            .collect();
        let loose: Vec<(String, TypedObject)> = of_kind(&self.typed, ObjectKind::RuleSet)
            .filter(|(name, _)| !used.contains(*name))
            .map(|(name, object)| (name.to_owned(), object.clone()))
            .collect();
        for (name, object) in loose {
            if let (TypedBody::RuleSet(definition), Some(id)) =
                (&object.body, id_of(ObjectKind::RuleSet, &name))
            {
                self.compile_loose_set(&id, definition);
            }
        }
    }

    fn compile_loose_set(&mut self, id: &ObjectId, definition: &RuleSetDefinition) {
        let flow = self.object(ObjectKind::Flow, &definition.flow).map(|flow| flow.body.clone());
        let Some(TypedBody::Flow(flow)) = flow else {
            let message = format!("there is no flow {}", definition.flow);
            return self.fault(id, Fault::new(Code::UnknownReference, "flow", message));
        };
        let (mut lists, mut tables) = (BTreeMap::new(), BTreeMap::new());
        for (id, object) in self.typed.iter() {
            match &object.body {
                TypedBody::List(list) => {
                    lists.insert(id.name.to_string(), Arc::clone(list));
                }
                TypedBody::Table(table) => {
                    tables.insert(id.name.to_string(), Arc::clone(table));
                }
                _ => {}
            }
        }
        let keys = flow.models.keys().map(String::as_str);
        let environment = Environment {
            schema: &Schema::new(&flow.fields).evaluated_by(self.options.limits.evaluation),
            derived: &DerivedFacts::of_flow(keys, flow.classify.is_some()),
            lists: &lists,
            tables: &tables,
            limits: self.options.limits,
        };
        match verdict_rules::compile(definition, &environment) {
            Ok(set) => {
                self.report_findings(&set);
                let message =
                    format!("flow {} does not name this set: no rule of it runs", flow.flow);
                let finding = ObjectFinding::new(id.clone(), "unused", String::new(), message);
                self.report.findings.push(finding);
                let report = set.run_tests(definition);
                let rule_set = definition.rule_set.clone();
                self.report.tests.push(RuleSetTests { rule_set, report });
            }
            Err(faults) => self.faults(id, faults),
        }
    }
}
