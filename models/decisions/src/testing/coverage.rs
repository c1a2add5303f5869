//! Coverage of a flow by its tests: rules, rows of tables, variants of flags,
//! stages of models.

use std::collections::BTreeSet;

use verdict_config::flags::FlagSet;
use verdict_rules::{Evidence, Scratch};

use crate::flow::CompiledFlow;
use crate::session::Session;

/// Parts of a flow that tests reached, or that there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlowCoverage {
    /// Rules that hit, by set and id.
    pub rules: BTreeSet<(String, String)>,
    /// Rows of tables that rules hit by, from 1.
    pub rows: BTreeSet<(String, u32)>,
    /// Variants of flags, by key and name.
    pub variants: BTreeSet<(String, String)>,
    /// Stages whose model answered: `classify`, or `scores.KEY`.
    pub stages: BTreeSet<String>,
}

impl FlowCoverage {
    /// Adds what a session came to.
    pub(super) fn add(&mut self, session: &Session, scratch: &mut Scratch) {
        let answers = session.answers();
        let flow = session.flow();
        if answers.class.is_some() {
            self.stages.insert(flow.stage_name(0).to_string());
        }
        for (position, answer) in answers.risks.iter().enumerate() {
            if answer.is_some() {
                self.stages.insert(flow.stage_name(position + 1).to_string());
            }
        }
        for (key, flag) in flow.flags.iter().zip(&session.given.flags) {
            if let Some(variant) = &flag.variant {
                self.variants.insert((key.to_string(), variant.to_string()));
            }
        }
        if !session.given.stages.flow {
            return;
        }
        let assessment = session.assess(&answers, None, scratch);
        for hit in session.hits(&assessment.late).filter(|hit| !hit.hit.as_unknown) {
            let set = hit.set.compiled.name().to_string();
            self.rules.insert((set, hit.info.id.to_string()));
            for evidence in hit.evidence {
                if let Evidence::Row { table, row } = evidence {
                    self.rows.insert((table.to_string(), *row));
                }
            }
        }
    }

    /// What is here and not in another.
    #[must_use]
    pub fn without(&self, reached: &Self) -> Self {
        fn rest<T: Ord + Clone>(all: &BTreeSet<T>, reached: &BTreeSet<T>) -> BTreeSet<T> {
            all.difference(reached).cloned().collect()
        }
        Self {
            rules: rest(&self.rules, &reached.rules),
            rows: rest(&self.rows, &reached.rows),
            variants: rest(&self.variants, &reached.variants),
            stages: rest(&self.stages, &reached.stages),
        }
    }
}

impl CompiledFlow {
    /// Everything that tests of the flow can reach; variants that nothing can choose are left out.
    #[must_use]
    pub fn coverable(&self, flags: &FlagSet) -> FlowCoverage {
        let mut all = FlowCoverage::default();
        for set in self.rule_sets() {
            let name = set.name().to_string();
            let rules = set.rules().iter().map(|rule| (name.clone(), rule.id.to_string()));
            all.rules.extend(rules);
            for (table, rows) in set.table_rows() {
                all.rows.extend((1..=rows).map(|row| (table.to_owned(), row)));
            }
        }
        for key in &self.flags {
            let variants = flags.variant_reach(key).into_iter().filter(|known| known.reachable);
            all.variants.extend(variants.map(|known| (key.to_string(), known.name.to_owned())));
        }
        if self.classify.as_ref().is_some_and(|stage| stage.choice.is_some()) {
            all.stages.insert(self.stage_name(0).to_string());
        }
        all.stages.extend((1..=self.risks.len()).map(|stage| self.stage_name(stage).to_string()));
        all
    }
}
