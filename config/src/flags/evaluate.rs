//! Evaluation of one flag, in a fixed order.

use serde_json::Value as Json;

use super::compiled::{CompiledFlag, Gates, Scheduled, unit_hash, within};
use super::context::EvaluationContext;
use super::extension::POSITIONS;
use super::hash::position;
use super::logic::coerce::{to_text, truthy};
use super::logic::{Datum, Evaluator, Logic, LogicError, Root, Shared};
use super::resolution::{Assignment, ErrorCode, Reason, Resolution, ResolutionError};
use super::set::FlagSet;
use crate::TimestampMs;

/// What chose, and what.
enum Choice<'s> {
    Variant(usize, Reason),
    Arm(usize, Assignment<'s>),
    /// The default variant, or no value.
    Default,
    Failed(ResolutionError),
}

impl FlagSet {
    /// Resolves a flag for a context at a time. Pure: equal arguments and an equal content hash
    /// give an equal result on every node.
    #[must_use]
    pub fn evaluate<'s>(
        &'s self,
        key: &str,
        context: &EvaluationContext<'_>,
        at: TimestampMs,
    ) -> Resolution<'s> {
        match self.find(key) {
            Some(flag) => self.evaluate_flag(flag, context, at),
            None => {
                Resolution::failed(ErrorCode::FlagNotFound, format!("there is no flag {key:?}"))
            }
        }
    }

    /// Resolves a flag as [`FlagSet::evaluate`] does, as if no kill switch (`off`) were set: for tests,
    /// which an emergency must not make fail.
    #[must_use]
    pub fn evaluate_unswitched<'s>(
        &'s self,
        key: &str,
        context: &EvaluationContext<'_>,
        at: TimestampMs,
    ) -> Resolution<'s> {
        match self.find(key) {
            Some(flag) if flag.enabled => {
                let choice = self.choose_unswitched(flag, context, at);
                resolution_of(flag, choice)
            }
            _ => self.evaluate(key, context, at),
        }
    }

    /// A flag's resolution to one of its variants, whatever its rules say: for tests.
    #[must_use]
    pub fn resolve_variant(&self, key: &str, variant: &str) -> Resolution<'_> {
        let found = self.find(key).and_then(|flag| {
            let position = flag.variants.iter().position(|known| *known.name == *variant)?;
            Some(resolution_of(flag, Choice::Variant(position, Reason::Static)))
        });
        let missing = || format!("there is no flag {key:?} with a variant {variant:?}");
        found.unwrap_or_else(|| Resolution::failed(ErrorCode::FlagNotFound, missing()))
    }

    /// The value of a bool flag; none for a missing, disabled or failing flag and other types.
    #[must_use]
    pub fn resolve_bool(
        &self,
        key: &str,
        context: &EvaluationContext<'_>,
        at: TimestampMs,
    ) -> Option<bool> {
        self.evaluate(key, context, at).as_bool()
    }

    /// The value of a flag of any type; none for a missing, disabled or failing flag.
    #[must_use]
    pub fn resolve_json<'s>(
        &'s self,
        key: &str,
        context: &EvaluationContext<'_>,
        at: TimestampMs,
    ) -> Option<&'s Json> {
        self.evaluate(key, context, at).value
    }

    pub(super) fn evaluate_flag<'s>(
        &'s self,
        flag: &'s CompiledFlag,
        context: &EvaluationContext<'_>,
        at: TimestampMs,
    ) -> Resolution<'s> {
        if !flag.enabled {
            return Resolution {
                value: None,
                variant: None,
                reason: Reason::Disabled,
                metadata: metadata_of(flag),
                error: None,
                assignment: None,
            };
        }
        resolution_of(flag, self.choose(flag, context, at))
    }

    fn choose<'s>(
        &'s self,
        flag: &'s CompiledFlag,
        context: &EvaluationContext<'_>,
        at: TimestampMs,
    ) -> Choice<'s> {
        match flag.off {
            Some(off) => Choice::Variant(off, Reason::Static),
            None => self.choose_unswitched(flag, context, at),
        }
    }

    /// What is chosen where no kill switch is set.
    fn choose_unswitched<'s>(
        &'s self,
        flag: &'s CompiledFlag,
        context: &EvaluationContext<'_>,
        at: TimestampMs,
    ) -> Choice<'s> {
        let Some(gates) = &flag.gates else {
            let Some(targeting) = &flag.targeting else {
                return flag
                    .default
                    .map_or(Choice::Default, |default| Choice::Variant(default, Reason::Static));
            };
            return run(flag, targeting, context, at).unwrap_or(Choice::Default);
        };
        match self.admits(flag, gates, context, at) {
            Ok(true) => {}
            Ok(false) => return Choice::Default,
            Err(error) => return Choice::Failed(logic_error(&error)),
        }
        let window = gates.schedule.iter().find(|window| window.holds(at));
        let targeting = match window.map(|window| &window.then) {
            Some(Scheduled::Variant(variant)) => {
                return Choice::Variant(*variant, Reason::TargetingMatch);
            }
            Some(Scheduled::Targeting(targeting)) => targeting.as_ref(),
            None => flag.targeting.as_ref(),
        };
        targeting
            .and_then(|targeting| run(flag, targeting, context, at))
            .or_else(|| experiment(gates, context, at))
            .or_else(|| rollout(gates, context))
            .unwrap_or(Choice::Default)
    }

    /// Whether regions, prerequisites and segments let a context in.
    fn admits(
        &self,
        flag: &CompiledFlag,
        gates: &Gates,
        context: &EvaluationContext<'_>,
        at: TimestampMs,
    ) -> Result<bool, LogicError> {
        if !in_region(&gates.regions, context) {
            return Ok(false);
        }
        // Depth and number were bounded when the set was compiled.
        for prerequisite in &gates.prerequisites {
            let Some(other) = self.find(&prerequisite.flag) else { return Ok(false) };
            let resolved = self.evaluate_flag(other, context, at);
            let fits = |position: &usize| {
                other.variants.get(*position).map(|variant| &*variant.name) == resolved.variant
            };
            if resolved.variant.is_none() || !prerequisite.variants.iter().any(fits) {
                return Ok(false);
            }
        }
        let segments = &gates.segments;
        let holds = |shared: &Shared| holds(flag, shared, context, at);
        for shared in &segments.all {
            if !holds(shared)? {
                return Ok(false);
            }
        }
        for shared in &segments.none {
            if holds(shared)? {
                return Ok(false);
            }
        }
        for shared in &segments.any {
            if holds(shared)? {
                return Ok(true);
            }
        }
        Ok(segments.any.is_empty())
    }
}

fn metadata_of(flag: &CompiledFlag) -> Option<&serde_json::Map<String, Json>> {
    flag.metadata.as_ref().map(|metadata| &metadata.fields)
}

fn resolution_of<'s>(flag: &'s CompiledFlag, choice: Choice<'s>) -> Resolution<'s> {
    let metadata = metadata_of(flag);
    let (chosen, reason, assignment) = match choice {
        Choice::Variant(variant, reason) => (Some(variant), reason, None),
        Choice::Arm(variant, assignment) => (Some(variant), Reason::Split, Some(assignment)),
        Choice::Default => (flag.default, Reason::Default, None),
        Choice::Failed(error) => {
            let mut failed = Resolution::failed(error.code, error.detail);
            failed.metadata = metadata;
            return failed;
        }
    };
    let variant = chosen.and_then(|position| flag.variants.get(position));
    Resolution {
        value: variant.map(|variant| &variant.value),
        variant: variant.map(|variant| &*variant.name),
        reason,
        metadata,
        error: None,
        assignment,
    }
}

fn in_region<R: AsRef<str>>(regions: &[R], context: &EvaluationContext<'_>) -> bool {
    regions.is_empty()
        || context.region().is_some_and(|here| regions.iter().any(|region| region.as_ref() == here))
}

fn holds(
    flag: &CompiledFlag,
    shared: &Shared,
    context: &EvaluationContext<'_>,
    at: TimestampMs,
) -> Result<bool, LogicError> {
    let root = Root::Flag { key: &flag.key, context, timestamp: at.seconds() };
    Evaluator::new(root).run(shared.node()).map(|value| truthy(&value))
}

/// What targeting chose; none if it gave null.
fn run(
    flag: &CompiledFlag,
    targeting: &Logic,
    context: &EvaluationContext<'_>,
    at: TimestampMs,
) -> Option<Choice<'static>> {
    let root = Root::Flag { key: &flag.key, context, timestamp: at.seconds() };
    let result = match Evaluator::new(root).run(targeting.root()) {
        Ok(Datum::Null) => return None,
        Ok(result) => result,
        Err(error) => return Some(Choice::Failed(logic_error(&error))),
    };
    let is_name = !matches!(result, Datum::List(_) | Datum::Object(_));
    let name = to_text(&result);
    let found = flag.variants.iter().position(|variant| *variant.name == *name);
    Some(match found {
        Some(variant) if is_name => Choice::Variant(variant, Reason::TargetingMatch),
        _ => {
            let mut shown: String = name.chars().take(80).collect();
            if shown.len() < name.len() {
                shown.push('…');
            }
            let detail = format!("targeting gave {shown:?}, which is no variant");
            Choice::Failed(ResolutionError::new(ErrorCode::General, detail))
        }
    })
}

fn logic_error(error: &LogicError) -> ResolutionError {
    let code = match error {
        LogicError::Unresolved(_) => ErrorCode::ParseError,
        LogicError::TooCostly | LogicError::TooDeep => ErrorCode::General,
    };
    ResolutionError::new(code, error.to_string())
}

fn experiment<'s>(
    gates: &'s Gates,
    context: &EvaluationContext<'_>,
    at: TimestampMs,
) -> Option<Choice<'s>> {
    let experiment = gates.experiment.as_ref()?;
    let rule = &experiment.rule;
    if !within(rule.from, rule.until, at) || !in_region(&rule.regions, context) {
        return None;
    }
    let unit = context.unit(rule.by.as_deref())?;
    // Two hashes, so that a larger share adds units and moves none between arms.
    let share = position(unit_hash(&experiment.salt, "share", &unit), POSITIONS);
    if share >= rule.share.positions() {
        return None;
    }
    let (variant, assignment) = experiment.arm(unit_hash(&experiment.salt, "arm", &unit))?;
    Some(Choice::Arm(variant, assignment))
}

fn rollout(gates: &Gates, context: &EvaluationContext<'_>) -> Option<Choice<'static>> {
    let rollout = gates.rollout.as_ref()?;
    if !in_region(&rollout.rule.regions, context) {
        return None;
    }
    let unit = context.unit(rollout.rule.by.as_deref())?;
    let place = position(unit_hash(&rollout.salt, "rollout", &unit), POSITIONS);
    (place < rollout.rule.percent.positions())
        .then_some(Choice::Variant(rollout.variant, Reason::Split))
}
