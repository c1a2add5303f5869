//! Static analysis of a flag: which of its variants an evaluation can give at all.
//!
//! The analysis errs to one side only. A variant that it calls unreachable is never given, whatever
//! the context, the node and the time are; a variant that it calls reachable may still never be given.
//! Time is left out, because a request may ask for a decision as of any time.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::compiled::{CompiledFlag, Gates, Scheduled};
use super::fractional::{Split, Weight};
use super::logic::coerce::{to_text, truthy};
use super::logic::node::{Each, Node};
use super::logic::{Datum, Logic};
use super::set::FlagSet;

/// A variant of a flag, and whether an evaluation can give it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VariantReach<'s> {
    /// The variant's name.
    pub name: &'s str,
    /// Its value.
    pub value: &'s Json,
    /// Whether the default, the targeting, an arm, the rollout or the schedule can give it.
    pub reachable: bool,
}

impl FlagSet {
    /// The variants of a flag, each with whether an evaluation can give it; empty for a flag that
    /// does not exist.
    #[must_use]
    pub fn variant_reach(&self, key: &str) -> Vec<VariantReach<'_>> {
        let Some(flag) = self.find(key) else { return Vec::new() };
        let reached = reached(flag);
        let variants = flag.variants.iter().enumerate();
        variants
            .map(|(position, variant)| VariantReach {
                name: &variant.name,
                value: &variant.value,
                reachable: reached.contains(&position),
            })
            .collect()
    }
}

/// Positions of the variants that an evaluation can give, in the order of [`FlagSet::evaluate`].
fn reached(flag: &CompiledFlag) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    if !flag.enabled {
        return reached;
    }
    if let Some(off) = flag.off {
        reached.insert(off);
        return reached;
    }
    let mut falls_through = add_targeting(flag, flag.targeting.as_ref(), &mut reached);
    if let Some(gates) = &flag.gates {
        falls_through |= add_gates(flag, gates, falls_through, &mut reached);
    }
    if falls_through {
        reached.extend(flag.default);
    }
    reached
}

/// Adds what a flag's gates can give. Returns whether the default can come out because of them.
fn add_gates(
    flag: &CompiledFlag,
    gates: &Gates,
    mut falls_through: bool,
    reached: &mut BTreeSet<usize>,
) -> bool {
    for window in &gates.schedule {
        match &window.then {
            Scheduled::Variant(variant) => drop(reached.insert(*variant)),
            Scheduled::Targeting(targeting) => {
                falls_through |= add_targeting(flag, targeting.as_ref(), reached);
            }
        }
    }
    if falls_through {
        if let Some(experiment) = &gates.experiment
            && experiment.rule.share.positions() > 0
        {
            let arms = experiment.variants.iter().zip(&experiment.rule.arms);
            reached.extend(arms.filter(|(_, arm)| arm.weight > 0).map(|(variant, _)| *variant));
        }
        if let Some(rollout) = &gates.rollout
            && rollout.rule.percent.positions() > 0
        {
            reached.insert(rollout.variant);
        }
    }
    let segments = &gates.segments;
    let may_keep_out = !(gates.regions.is_empty()
        && gates.prerequisites.is_empty()
        && segments.any.is_empty()
        && segments.all.is_empty()
        && segments.none.is_empty());
    falls_through || may_keep_out
}

/// Adds what targeting can give. Returns whether it can give null, or is absent.
fn add_targeting(
    flag: &CompiledFlag,
    targeting: Option<&Logic>,
    reached: &mut BTreeSet<usize>,
) -> bool {
    let Some(targeting) = targeting else { return true };
    let mut results = Results::default();
    results.add(targeting.root());
    let variants = flag.variants.iter().enumerate();
    let given =
        variants.filter(|(_, variant)| results.any || results.names.contains(&*variant.name));
    reached.extend(given.map(|(position, _)| position));
    results.null || results.any
}

/// What a rule can give.
#[derive(Default)]
struct Results {
    names: BTreeSet<String>,
    null: bool,
    /// Any name, and null: the result comes from the context or is computed.
    any: bool,
    /// Shared conditions that were looked at: a rule may refer to one many times.
    seen: HashSet<*const Node>,
}

impl Results {
    /// Adds what a node can give. A compiled rule nests no deeper than its bound.
    fn add(&mut self, node: &Node) {
        match node {
            Node::Constant(Json::Null) => self.null = true,
            Node::Constant(Json::Array(_) | Json::Object(_)) => {}
            Node::Constant(value) => {
                self.names.insert(to_text(&Datum::from(value)).into_owned());
            }
            Node::If(branches) => self.add_branches(branches),
            Node::And(items) | Node::Or(items) => {
                self.null |= items.is_empty();
                items.iter().for_each(|item| self.add(item));
            }
            Node::Fractional(split) => self.add_split(split),
            Node::Shared(shared) => {
                if self.seen.insert(Arc::as_ptr(shared)) {
                    self.add(shared);
                }
            }
            Node::Truth(..)
            | Node::Equal { .. }
            | Node::Order(..)
            | Node::In(_)
            | Node::InTexts(..)
            | Node::Each(Each::All | Each::Some | Each::None, _) => self.add_truth(),
            // These give null on an error of their own.
            Node::Affix(..) | Node::Version(_) => {
                self.add_truth();
                self.null = true;
            }
            // A list is never the name of a variant, and an unresolved reference is an error.
            Node::List(_)
            | Node::Missing(_)
            | Node::MissingSome(_)
            | Node::Merge(_)
            | Node::Each(Each::Map | Each::Filter, _)
            | Node::Unresolved(_) => {}
            Node::FlagKey
            | Node::Timestamp
            | Node::Var { .. }
            | Node::VarComputed { .. }
            | Node::Arithmetic(..)
            | Node::Cat(_)
            | Node::Substring(_)
            | Node::Reduce(_) => self.any = true,
        }
    }

    fn add_truth(&mut self) {
        self.names.extend(["true".to_owned(), "false".to_owned()]);
    }

    /// Pairs of condition and result; a last one without a pair is the result of all others.
    fn add_branches(&mut self, branches: &[Node]) {
        let mut pairs = branches.chunks_exact(2);
        for pair in &mut pairs {
            let [condition, result] = pair else { continue };
            match condition {
                Node::Constant(value) if truthy(&Datum::from(value)) => return self.add(result),
                Node::Constant(_) => {}
                _ => self.add(result),
            }
        }
        match pairs.remainder() {
            [last] => self.add(last),
            _ => self.null = true,
        }
    }

    fn add_split(&mut self, split: &Split) {
        // Without a unit, with weights that sum to nothing and on errors it gives null.
        self.null = true;
        for bucket in split.buckets.iter().flatten() {
            if !matches!(bucket.weight, Weight::Literal(..=0)) {
                self.add(&bucket.variant);
            }
        }
    }
}
