//! Prerequisites: which flags they name, and that they end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Built, SetCompiler};
use crate::flags::compiled::{Chain, CompiledFlag, CompiledPrerequisite, Need, Variant};
use crate::flags::extension::Prerequisite;
use crate::flags::set::{FlagSet, PREREQUISITE_COST_MAX, PREREQUISITE_DEPTH_MAX};
use crate::{Code, Fault};

type AllBuilt = BTreeMap<Arc<str>, Option<Built>>;

impl SetCompiler<'_, '_> {
    /// Puts prerequisites into the flags that were compiled, and refuses circles, long chains and
    /// costly ones. A flag that is another for those that name it takes them along; the rounds end
    /// because each compiles flags that none before it did.
    pub(super) fn prerequisites(&mut self) {
        loop {
            let mut found = resolve_all(self.before, &mut self.built);
            let walked = Walk::all(self.before, &self.built);
            let mut touched = BTreeSet::new();
            for (key, built) in &mut self.built {
                let old = self.before.find(key);
                let same = match (built, old, walked.get(key)) {
                    (Some(built), old, Some(Ok(chain))) => {
                        built.flag.chain = *chain;
                        old.is_some_and(|old| old.same_for_others(&built.flag))
                    }
                    (Some(_), _, _) => false,
                    (None, old, _) => old.is_none(),
                };
                if !same {
                    touched.insert(Arc::clone(key));
                }
            }
            let needing = touched.iter().flat_map(|key| self.needing(&Need::Flag(Arc::clone(key))));
            let more: BTreeSet<_> = needing.filter(|key| !self.built.contains_key(key)).collect();
            if more.is_empty() {
                for (key, result) in walked {
                    if let Err(message) = result {
                        let place = format!("flag/{key}.prerequisites");
                        found.push(Fault::new(Code::FlagInvalid, place, message));
                    }
                }
                self.faults.extend(found);
                return;
            }
            for key in more {
                self.flag(&key);
            }
        }
    }
}

/// A flag as it will be: compiled anew, or taken over.
fn flag_of<'f>(before: &'f FlagSet, built: &'f AllBuilt, key: &str) -> Option<&'f CompiledFlag> {
    match built.get(key) {
        Some(built) => built.as_ref().map(|built| &built.flag),
        None => before.find(key).map(|flag| &**flag),
    }
}

/// Resolves the prerequisites of all flags that were compiled. Gives the faults.
fn resolve_all(before: &FlagSet, built: &mut AllBuilt) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut resolved = Vec::new();
    for (key, flag) in built.iter() {
        let Some(flag) = flag.as_ref().filter(|flag| !flag.wanted.is_empty()) else { continue };
        let mut compiled = Vec::with_capacity(flag.wanted.len());
        for (index, wanted) in flag.wanted.iter().enumerate() {
            match resolve(wanted, flag_of(before, built, &wanted.flag)) {
                Ok(prerequisite) => compiled.push(prerequisite),
                Err(message) => {
                    let place = format!("flag/{key}.prerequisites[{index}]");
                    faults.push(Fault::new(Code::UnknownReference, place, message));
                }
            }
        }
        resolved.push((Arc::clone(key), compiled));
    }
    for (key, compiled) in resolved {
        if let Some(Some(built)) = built.get_mut(&key)
            && let Some(gates) = &mut built.flag.gates
        {
            gates.prerequisites = compiled.into_boxed_slice();
        }
    }
    faults
}

fn resolve(
    prerequisite: &Prerequisite,
    other: Option<&CompiledFlag>,
) -> Result<CompiledPrerequisite, String> {
    let Some(other) = other else {
        return Err(format!("there is no flag {:?}", prerequisite.flag));
    };
    let fits = |variant: &Variant| match (&prerequisite.variant, &prerequisite.value) {
        (Some(name), _) => *variant.name == **name,
        (None, Some(value)) => same_value(&variant.value, value),
        (None, None) => false,
    };
    let variants: Box<[usize]> = other
        .variants
        .iter()
        .enumerate()
        .filter(|(_, variant)| fits(variant))
        .map(|(position, _)| position)
        .collect();
    if variants.is_empty() {
        let names: Vec<&str> = other.variants.iter().map(|variant| &*variant.name).collect();
        return Err(format!(
            "flag {:?} has no such variant; its variants are {}",
            prerequisite.flag,
            names.join(", ")
        ));
    }
    Ok(CompiledPrerequisite { flag: Arc::clone(&other.key), variants })
}

fn same_value(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

enum Visit {
    Open,
    Done(Result<Chain, String>),
}

/// A walk along prerequisites that finds circles and adds up depth and cost. Flags that were taken
/// over are known to end.
struct Walk<'f> {
    before: &'f FlagSet,
    built: &'f AllBuilt,
    visits: BTreeMap<&'f str, Visit>,
}

impl<'f> Walk<'f> {
    /// What each flag that was compiled comes to.
    fn all(before: &'f FlagSet, built: &'f AllBuilt) -> BTreeMap<Arc<str>, Result<Chain, String>> {
        let mut walk = Walk { before, built, visits: BTreeMap::new() };
        let keys = built.iter().filter(|(_, flag)| flag.is_some()).map(|(key, _)| key);
        keys.map(|key| (Arc::clone(key), walk.visit(key, 0))).collect()
    }

    /// One flag. Refuses beyond the longest chain, so that its own recursion is bounded.
    fn visit(&mut self, key: &'f str, level: usize) -> Result<Chain, String> {
        match self.visits.get(key) {
            Some(Visit::Done(result)) => return result.clone(),
            Some(Visit::Open) => {
                return Err(format!("prerequisites form a circle through {key:?}"));
            }
            None => {}
        }
        let Some(flag) = flag_of(self.before, self.built, key) else {
            return Err(format!("there is no flag {key:?}"));
        };
        if !self.built.contains_key(key) {
            return Ok(flag.chain);
        }
        // A circle is found before this bound only if it is short; either way it is refused.
        if level > PREREQUISITE_DEPTH_MAX * 2 {
            return Err(too_deep());
        }
        self.visits.insert(key, Visit::Open);
        let result = self.add_up(flag, level);
        self.visits.insert(key, Visit::Done(result.clone()));
        result
    }

    fn add_up(&mut self, flag: &'f CompiledFlag, level: usize) -> Result<Chain, String> {
        let mut chain = Chain { depth: 1, cost: 1, reads_time: flag.reads_time() };
        let prerequisites = flag.gates.as_ref().map_or(&[][..], |gates| &gates.prerequisites);
        for prerequisite in prerequisites {
            let below = self.visit(&prerequisite.flag, level + 1)?;
            chain.depth = chain.depth.max(below.depth + 1);
            chain.cost = chain.cost.saturating_add(below.cost);
            chain.reads_time |= below.reads_time;
        }
        if chain.depth > PREREQUISITE_DEPTH_MAX {
            return Err(too_deep());
        }
        if chain.cost > PREREQUISITE_COST_MAX {
            return Err(format!(
                "prerequisites lead to {} evaluations; at most {PREREQUISITE_COST_MAX}",
                chain.cost
            ));
        }
        Ok(chain)
    }
}

fn too_deep() -> String {
    format!("prerequisites chain at most {PREREQUISITE_DEPTH_MAX} flags")
}
