//! One rule: its texts checked, its effect checked, its parts put together.

use std::sync::Arc;

use verdict_config::definition::{Effect, RuleDefinition, TableUse};
use verdict_config::{Code, Fault, Faults};

use super::arms::{ArmClauses, arms_of};
use crate::check::Checker;
use crate::evaluate::unknown_effect;
use crate::expression::{AtomKind, Condition, Term};
use crate::resources::{ResourcesBuilder, unknown_name};
use crate::set::{CompiledClause, EvidenceSource, RuleBody, RuleTable};
use crate::syntax::{Node, NodeKind, describe_place, line_and_column, parse_expression_within};
use crate::tables::{ColumnTarget, DecisionTable, TableContext};
use crate::{FactNames, HitEffect, Phase, RuleInfo, Slot};

/// A rule without faults.
pub(super) struct CheckedRule {
    pub(super) info: RuleInfo,
    pub(super) body: RuleBody,
    pub(super) arms: Vec<ArmClauses>,
}

/// Checks one rule; `None` if it has faults, which are added to the others.
pub(super) fn check_rule(
    rule: &RuleDefinition,
    path: &str,
    builder: &mut ResourcesBuilder<'_>,
    faults: &mut Faults,
) -> Option<CheckedRule> {
    let before = faults.len();
    check_effect(&rule.then, path, faults);
    let mut reads: Vec<Slot> = Vec::new();
    let clauses = match &rule.when {
        Some(text) => check_when(text, &format!("{path}.when"), builder, (faults, &mut reads)),
        None => Some(Vec::new()),
    };
    if rule.when.is_none() && rule.table.is_none() {
        let message = "a rule needs a condition: add when, or table";
        faults.push(Fault::new(Code::MissingKey, format!("{path}.when"), message));
    }
    let table = match &rule.table {
        Some(uses) => {
            let read = (rule, uses);
            check_table(read, &format!("{path}.table"), builder, (faults, &mut reads)).map(Some)
        }
        None => Some(None),
    };
    if faults.len() > before {
        return None;
    }
    let (clauses, table) = (clauses?, table?);
    let effect = HitEffect::of(&rule.then);
    let late = (builder.built.derived_from..builder.built.windows_from).contains_any(&reads);
    let info = RuleInfo {
        id: rule.id.as_str().into(),
        category: rule.category,
        severity: rule.severity,
        reason: effect.reason.clone().unwrap_or_else(|| default_reason(&rule.id)),
        phase: if late { Phase::Late } else { Phase::Early },
        flag: rule.flag.as_deref().map(Arc::from),
        unknown: rule.unknown,
        reads: unique(reads).into(),
        cost_units_max: 0,
    };
    let arms = arms_of(clauses.iter().map(|clause| &clause.condition));
    let mut evidence = Vec::new();
    for clause in &clauses {
        collect_evidence(&clause.condition, true, builder, &mut evidence);
    }
    let body = RuleBody {
        clauses: clauses.into(),
        table: table.map(Box::new),
        unknown_effect: unknown_effect(rule.unknown, &effect),
        effect,
        evidence: evidence.into(),
        arms: 0..0,
    };
    Some(CheckedRule { info, body, arms })
}

trait ContainsAny {
    fn contains_any(&self, slots: &[Slot]) -> bool;
}

impl ContainsAny for std::ops::Range<Slot> {
    fn contains_any(&self, slots: &[Slot]) -> bool {
        slots.iter().any(|slot| self.contains(slot))
    }
}

/// `kw_gambling` becomes `KW_GAMBLING`: what a rule's reason is if it names none.
fn default_reason(id: &str) -> Arc<str> {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    id.chars().map(upper).collect::<String>().into()
}

fn unique(slots: Vec<Slot>) -> Vec<Slot> {
    let mut kept: Vec<Slot> = Vec::with_capacity(slots.len());
    for slot in slots {
        if !kept.contains(&slot) {
            kept.push(slot);
        }
    }
    kept
}

fn check_effect(effect: &Effect, path: &str, faults: &mut Faults) {
    let mut check = |key: &str, fits: bool, wanted: &str| {
        if !fits {
            let path = format!("{path}.then.{key}");
            faults.push(Fault::new(Code::InvalidValue, path, format!("expected {wanted}")));
        }
    };
    let score = |value: Option<i32>| value.is_none_or(|value| (0..=1_000).contains(&value));
    let points = effect.points.is_none_or(|points| (-1_000..=1_000).contains(&points));
    check("points", points, "-1000 to 1000");
    check("floor", score(effect.floor), "0 to 1000");
    check("cap", score(effect.cap), "0 to 1000");
    let confidence = effect.confidence.is_none_or(|value| (0.0..=1.0).contains(&value));
    check("confidence", confidence, "a number from 0 to 1");
    check("confidence", effect.confidence.is_none() || effect.label.is_some(), "a label beside it");
    let label = effect.label.as_ref().is_none_or(|label| (1..=256).contains(&label.len()));
    check("label", label, "a label of 1 to 256 bytes");
    let reason = effect.reason.as_ref().is_none_or(|reason| is_reason(reason));
    check("reason", reason, "1 to 64 characters of A-Z, 0-9 and _, beginning with a letter");
    let both = effect.floor.zip(effect.cap).is_none_or(|(floor, cap)| floor <= cap);
    check("cap", both, "a cap that is not below the floor");
}

fn is_reason(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn check_when(
    text: &str,
    path: &str,
    builder: &mut ResourcesBuilder<'_>,
    (faults, reads): (&mut Faults, &mut Vec<Slot>),
) -> Option<Vec<CompiledClause>> {
    let limits = builder.environment.limits;
    let node = match parse_expression_within(text, &limits) {
        Ok(node) => node,
        Err(error) => {
            let place = describe_place(text, error.offset);
            let message = format!("{place}: {}", error.message);
            faults.push(Fault::new(Code::RuleSyntax, path, message));
            return None;
        }
    };
    let mut checker = Checker { builder, text, path, faults, reads: Vec::new() };
    let mut parts = Vec::new();
    conjuncts(&node, &mut parts);
    let checked: Vec<Option<CompiledClause>> = parts
        .into_iter()
        .map(|part| {
            let condition = checker.condition(part)?;
            let written = text.get(part.span.start as usize..part.span.end as usize);
            let (_, column) = line_and_column(text, part.span.start);
            Some(CompiledClause { condition, text: written.unwrap_or(text).into(), column })
        })
        .collect();
    reads.append(&mut checker.reads);
    checked.into_iter().collect()
}

/// The parts that `&&` joins at the top.
fn conjuncts<'n>(node: &'n Node, parts: &mut Vec<&'n Node>) {
    match &node.kind {
        NodeKind::And(all) => all.iter().for_each(|part| conjuncts(part, parts)),
        _ => parts.push(node),
    }
}

fn check_table(
    (rule, uses): (&RuleDefinition, &TableUse),
    path: &str,
    builder: &mut ResourcesBuilder<'_>,
    (faults, reads): (&mut Faults, &mut Vec<Slot>),
) -> Option<RuleTable> {
    let environment = builder.environment;
    let Some(definition) = environment.tables.get(&uses.name) else {
        let known = environment.tables.keys().map(String::as_str);
        let message = unknown_name("table", &uses.name, known);
        faults.push(Fault::new(Code::UnknownReference, format!("{path}.name"), message));
        return None;
    };
    let names = FactNames { schema: environment.schema, derived: environment.derived };
    let resolve = |name: &str| {
        let (slot, field_type) = names.resolve(name)?;
        let field = environment.schema.field(slot).map(|(_, field)| field);
        Some(ColumnTarget { slot, field_type, field })
    };
    let context = TableContext { resolve: &resolve, hit_policy: uses.hit_policy, base: &rule.then };
    match DecisionTable::compile(definition, &context) {
        Ok(table) => {
            reads.extend_from_slice(table.slots());
            let rows = 0..crate::resources::position(definition.rows.len());
            let effect = |row| table.effect(row).map(HitEffect::of).unwrap_or_default();
            let effects = rows.map(effect).collect();
            Some(RuleTable { name: uses.name.as_str().into(), table, effects })
        }
        Err(more) => {
            let prefix = format!("tables.{}", uses.name);
            faults.extend(more.into_iter().map(|fault| fault.under(&prefix)));
            None
        }
    }
}

/// Atoms that can show something when the rule hits: those that a hit needs true.
fn collect_evidence(
    condition: &Condition,
    positive: bool,
    builder: &ResourcesBuilder<'_>,
    evidence: &mut Vec<EvidenceSource>,
) {
    match condition {
        Condition::Constant(_) | Condition::Same(_) => {}
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().for_each(|part| collect_evidence(part, positive, builder, evidence));
        }
        Condition::Not(inner) => collect_evidence(inner, !positive, builder, evidence),
        Condition::If(parts) => {
            parts.iter().skip(1).for_each(|p| collect_evidence(p, positive, builder, evidence));
        }
        Condition::Atom(id) => {
            if !positive {
                return;
            }
            let Some(atom) = builder.built.atoms.get(*id as usize) else { return };
            let found = match &atom.kind {
                AtomKind::Keywords { .. }
                | AtomKind::Listed { .. }
                | AtomKind::ListedText { .. } => Some(EvidenceSource::Atom(*id)),
                AtomKind::Compare(_, Term::NameScore(call), _)
                | AtomKind::Compare(_, _, Term::NameScore(call)) => {
                    Some(EvidenceSource::Name { atom: *id, call: *call })
                }
                AtomKind::Truth(_)
                | AtomKind::Has(_)
                | AtomKind::Compare(..)
                | AtomKind::Among(..)
                | AtomKind::Member(..)
                | AtomKind::Search(..)
                | AtomKind::Matches(..) => None,
            };
            if let Some(found) = found
                && !evidence.contains(&found)
            {
                evidence.push(found);
            }
        }
    }
}
