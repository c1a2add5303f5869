//! Explanations: for every rule what it read, and what decided it.

use std::sync::Arc;

use verdict_config::Value;

use crate::evaluate::{Missing, PhaseRun, collect_missing, table_cause};
use crate::scratch::Kept;
use crate::set::{CompiledClause, RuleBody};
use crate::tables::TableUnknown;
use crate::{CompiledRuleSet, EvaluationInput, Evidence, Slot, UnknownCause};

/// What became of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Its condition is true.
    Hit,
    /// Its condition is false.
    Miss,
    /// Its condition is unknown.
    Unknown,
    /// It was switched off.
    Disabled,
}

impl Verdict {
    /// The verdict as a stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
        }
    }
}

/// One rule explained.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleTrace {
    /// The rule's position in the set.
    pub rule: u32,
    /// Its id.
    pub id: Arc<str>,
    /// What became of it.
    pub verdict: Verdict,
    /// Whether it is snoozed.
    pub snoozed: bool,
    /// The facts that it reads with their values; `None` is unknown.
    pub reads: Vec<FactRead>,
    /// Of a miss, the first clause that is false.
    pub failing: Option<Clause>,
    /// Of an unknown, every cause, with the clause it is in.
    pub causes: Vec<CauseTrace>,
    /// Of a hit, what lists, names and tables matched.
    pub evidence: Vec<Evidence>,
}

/// A fact that a rule read.
#[derive(Debug, Clone, PartialEq)]
pub struct FactRead {
    /// Its slot.
    pub slot: Slot,
    /// Its name; of a window the canonical text of the call.
    pub name: Arc<str>,
    /// Its value.
    pub value: Option<Value>,
}

/// A part of a condition that is joined to the others by `&&`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// The clause as the rule writes it.
    pub text: Arc<str>,
    /// Where it begins in the expression, in characters from 1.
    pub column: u32,
}

/// Why a rule is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CauseTrace {
    /// The cause.
    pub cause: UnknownCause,
    /// The clause that is unknown.
    pub clause: Option<Clause>,
    /// The cause in a sentence.
    pub text: String,
}

impl CompiledRuleSet {
    /// Explains every rule, of both phases, from the same atoms, lists and tables that
    /// [`evaluate`](Self::evaluate) uses. Knows no cost limit: what a limited evaluation left
    /// unknown is explained as if it had been evaluated.
    #[must_use]
    pub fn explain(&self, input: &EvaluationInput<'_>) -> Vec<RuleTrace> {
        let mut kept = Kept::default();
        let mut run = self.phase_run(input, &mut kept);
        (0u32..).zip(&self.bodies).map(|(rule, body)| explain_rule(&mut run, rule, body)).collect()
    }

    /// A cause in a sentence, with the names of this set.
    #[must_use]
    pub fn describe_cause(&self, cause: UnknownCause) -> String {
        match cause {
            UnknownCause::Missing(slot) => format!("{} is absent", self.slot_name(slot)),
            UnknownCause::WrongType(slot) => {
                format!("{} has a value of another type", self.slot_name(slot))
            }
            UnknownCause::Overflow => "a number went beyond its type's range".to_owned(),
            UnknownCause::DivisionByZero => "division by zero".to_owned(),
            UnknownCause::NotANumber => "an operation has no number as its result".to_owned(),
            UnknownCause::NoRow => "the look-up table has no row or cell for the key".to_owned(),
            UnknownCause::TableConflict => "rows of the table that must agree do not".to_owned(),
            UnknownCause::Name(slot, gap) => {
                format!("{}: {}", self.slot_name(slot), gap.describe())
            }
            UnknownCause::CostLimit => "the cost limit was reached before it".to_owned(),
        }
    }
}

fn clause_of(clause: &CompiledClause) -> Clause {
    Clause { text: clause.text.clone(), column: clause.column }
}

fn explain_rule<'a>(run: &mut PhaseRun<'a, '_>, rule: u32, body: &'a RuleBody) -> RuleTrace {
    let set = run.set;
    let info = &set.rules[rule as usize];
    let facts = run.evaluator.facts;
    let read = |slot: &Slot| FactRead {
        slot: *slot,
        name: set.resources.slots.get(*slot as usize).map_or("".into(), |info| info.name.clone()),
        value: facts.get(*slot).cloned(),
    };
    let mut trace = RuleTrace {
        rule,
        id: info.id.clone(),
        verdict: Verdict::Disabled,
        snoozed: run.input.snoozed.contains(rule),
        reads: info.reads.iter().map(read).collect(),
        failing: None,
        causes: Vec::new(),
        evidence: Vec::new(),
    };
    if run.input.disabled.contains(rule) {
        return trace;
    }
    for clause in &body.clauses {
        match run.evaluator.truth(&clause.condition) {
            Ok(true) => {}
            Ok(false) => {
                trace.verdict = Verdict::Miss;
                trace.failing = Some(clause_of(clause));
                trace.causes.clear();
                return trace;
            }
            Err(cause) => trace.causes.extend(clause_causes(run, clause, cause)),
        }
    }
    trace.verdict = if trace.causes.is_empty() { Verdict::Hit } else { Verdict::Unknown };
    explain_table(run, body, &mut trace);
    if trace.verdict == Verdict::Hit {
        let evidence = run.evidence(body);
        trace.evidence.extend_from_slice(run.evaluation.evidence_in(evidence));
    } else if trace.verdict == Verdict::Unknown {
        let evidence = run.unknown_evidence(body);
        trace.evidence.extend_from_slice(run.evaluation.evidence_in(evidence));
    }
    trace
}

/// Every absent fact of an unknown clause, or its one cause that is not an absence.
fn clause_causes<'a>(
    run: &mut PhaseRun<'a, '_>,
    clause: &'a CompiledClause,
    cause: UnknownCause,
) -> Vec<CauseTrace> {
    let mut missing = Missing::new();
    collect_missing(&mut run.evaluator, &clause.condition, &mut missing);
    let mut causes: Vec<UnknownCause> = missing.into_iter().map(UnknownCause::Missing).collect();
    if !causes.contains(&cause) {
        causes.insert(0, cause);
    }
    let set = run.set;
    let trace = |cause| CauseTrace {
        cause,
        clause: Some(clause_of(clause)),
        text: set.describe_cause(cause),
    };
    causes.into_iter().map(trace).collect()
}

fn explain_table<'a>(run: &mut PhaseRun<'a, '_>, body: &'a RuleBody, trace: &mut RuleTrace) {
    let Some(table) = &body.table else { return };
    let facts = run.evaluator.facts;
    let answer = table.table.evaluate(|slot| facts.get(slot));
    let name = &table.name;
    if answer.rows.is_empty() && answer.unknown.is_none() {
        trace.verdict = Verdict::Miss;
        trace.causes.clear();
        trace.failing =
            Some(Clause { text: format!("no row of table {name} matches").into(), column: 1 });
        return;
    }
    if trace.verdict != Verdict::Hit {
        return;
    }
    let rows = answer.rows.iter().map(|row| Evidence::Row { table: name.clone(), row: row + 1 });
    trace.evidence.extend(rows);
    let Some(unknown) = &answer.unknown else { return };
    if answer.rows.is_empty() {
        trace.verdict = Verdict::Unknown;
    }
    let (cause, missing) = table_cause(unknown);
    let causes: Vec<UnknownCause> = match unknown {
        TableUnknown::Missing(_) => missing.into_iter().map(UnknownCause::Missing).collect(),
        TableUnknown::Conflict(..) => vec![cause],
    };
    let set = run.set;
    let text = |cause| match unknown {
        TableUnknown::Conflict(a, b) => {
            format!("rows {} and {} of table {name} both match", a + 1, b + 1)
        }
        TableUnknown::Missing(_) => set.describe_cause(cause),
    };
    trace.causes.extend(causes.into_iter().map(|cause| CauseTrace {
        cause,
        clause: None,
        text: text(cause),
    }));
}
