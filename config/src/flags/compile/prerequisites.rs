//! Prerequisites: which flags they name, and that they end.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::SetCompiler;
use crate::flags::definition::FlagParts;
use crate::flags::extension::Prerequisite;
use crate::flags::set::{
    CompiledFlag, CompiledPrerequisite, PREREQUISITE_COST_MAX, PREREQUISITE_DEPTH_MAX, Variant,
};
use crate::{Code, Fault};

impl SetCompiler<'_> {
    /// Puts prerequisites into flags, and refuses circles, long chains and costly ones.
    pub(super) fn prerequisites(
        &mut self,
        checked: &BTreeMap<&str, FlagParts<'_>>,
        flags: &mut [CompiledFlag],
    ) {
        let positions: BTreeMap<&str, usize> =
            checked.keys().enumerate().map(|(position, key)| (*key, position)).collect();
        for (at, (key, parts)) in checked.iter().enumerate() {
            let wanted = &parts.extensions.prerequisites;
            let mut compiled = Vec::with_capacity(wanted.len());
            for (index, prerequisite) in wanted.iter().enumerate() {
                match resolve(prerequisite, &positions, flags) {
                    Ok(resolved) => compiled.push(resolved),
                    Err(message) => {
                        let place = format!("flag/{key}.prerequisites[{index}]");
                        self.faults.push(Fault::new(Code::UnknownReference, place, message));
                    }
                }
            }
            if let (false, Some(gates)) = (compiled.is_empty(), &mut flags[at].gates) {
                gates.prerequisites = compiled.into_boxed_slice();
            }
        }
        let mut walk = Walk { flags, state: vec![Visit::New; flags.len()] };
        let mut found = Vec::new();
        for at in 0..flags.len() {
            if let Err(message) = walk.visit(at, 0) {
                found.push((at, message));
            }
        }
        let reads_time: Vec<bool> = walk
            .state
            .iter()
            .map(|visit| matches!(visit, Visit::Done { reads_time: true, .. }))
            .collect();
        for (flag, reads_time) in flags.iter_mut().zip(reads_time) {
            flag.reads_time |= reads_time;
        }
        for (at, message) in found {
            let place = format!("flag/{}.prerequisites", flags[at].key);
            self.faults.push(Fault::new(Code::FlagInvalid, place, message));
        }
    }
}

fn resolve(
    prerequisite: &Prerequisite,
    positions: &BTreeMap<&str, usize>,
    flags: &[CompiledFlag],
) -> Result<CompiledPrerequisite, String> {
    let Some(at) = positions.get(prerequisite.flag.as_str()).copied() else {
        return Err(format!("there is no flag {:?}", prerequisite.flag));
    };
    let other = &flags[at];
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
    Ok(CompiledPrerequisite { flag: at, variants })
}

fn same_value(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

#[derive(Clone, Copy)]
enum Visit {
    New,
    Open,
    Done { depth: usize, cost: usize, reads_time: bool },
}

/// A walk along prerequisites that finds cycles and adds up depth and cost.
struct Walk<'f> {
    flags: &'f [CompiledFlag],
    state: Vec<Visit>,
}

impl Walk<'_> {
    /// Depth, cost and whether time is read, of one flag. Refuses beyond the longest chain, so that
    /// its own recursion is bounded.
    fn visit(&mut self, at: usize, level: usize) -> Result<(usize, usize, bool), String> {
        match self.state[at] {
            Visit::Done { depth, cost, reads_time } => return Ok((depth, cost, reads_time)),
            Visit::Open => {
                return Err(format!(
                    "prerequisites form a circle through {:?}",
                    self.flags[at].key
                ));
            }
            Visit::New => {}
        }
        let too_deep = || format!("prerequisites chain at most {PREREQUISITE_DEPTH_MAX} flags");
        // A circle is found before this bound only if it is short; either way it is refused.
        if level > PREREQUISITE_DEPTH_MAX * 2 {
            return Err(too_deep());
        }
        self.state[at] = Visit::Open;
        let flag = &self.flags[at];
        let (mut depth, mut cost, mut reads_time) = (1, 1_usize, flag.reads_time);
        let prerequisites = flag.gates.as_ref().map_or(&[][..], |gates| &gates.prerequisites);
        for prerequisite in prerequisites {
            match self.visit(prerequisite.flag, level + 1) {
                Ok((below, added, reads)) => {
                    depth = depth.max(below + 1);
                    cost = cost.saturating_add(added);
                    reads_time |= reads;
                }
                Err(message) => {
                    self.state[at] = Visit::New;
                    return Err(message);
                }
            }
        }
        self.state[at] = Visit::Done { depth, cost, reads_time };
        if depth > PREREQUISITE_DEPTH_MAX {
            return Err(too_deep());
        }
        if cost > PREREQUISITE_COST_MAX {
            return Err(format!(
                "prerequisites lead to {cost} evaluations; at most {PREREQUISITE_COST_MAX}"
            ));
        }
        Ok((depth, cost, reads_time))
    }
}
