//! Static findings: what is suspicious about a set that nevertheless compiles.

mod lower;
mod region;

use std::collections::BTreeMap;

use serde::Serialize;
use verdict_config::definition::{Category, Effect, Outcome, RuleDefinition, RuleSetDefinition};
use verdict_config::{Code, Fault, Refusal};

use crate::compile::arms_of;
use crate::set::RuleBody;
use crate::tables::TableFindingKind;
use crate::{CompiledRuleSet, Slot};
use region::{Contradiction, Region};

/// What is suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The rule can never hit.
    Dead,
    /// The rule hits whatever the input.
    Always,
    /// Another rule hits whenever this one does and already has its whole effect.
    Shadowed,
    /// Two rules hit together and ask for opposite things.
    Contradictory,
    /// A decision table has inputs that no row matches.
    TableGap,
    /// Rows of a decision table overlap although its hit policy forbids it.
    TableOverlap,
    /// The set may cost more than its limit by the present rules of evaluation.
    Costly,
    /// An entry of a list of names that some names cannot be compared with.
    Name,
    /// The analysis stopped at its bound; more may be wrong.
    Truncated,
    /// A cell or row of a decision table that people and programs read differently. The table's next
    /// change is refused.
    TableAmbiguous,
    /// A cell or row of a decision table that is probably not meant as it is read.
    TableSuspect,
    /// A text in lower case is compared with a literal that has capitals.
    NeverEqual,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is suspicious.
    pub kind: FindingKind,
    /// Where: `rules[3].when`, or `tables.NAME.rows[3]` for a row of a table that a rule reads.
    pub path: String,
    /// The rule it is about.
    pub rule: String,
    /// The other rule of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// What is wrong and what would be right, in a sentence.
    pub message: String,
    /// Present where the next change of the object is refused for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// The most pairs of rules that are compared.
const PAIRS_MAX: usize = 1_000_000;

/// One rule as the analysis sees it: the regions where it is true.
struct Analysed<'s> {
    rule: usize,
    regions: Vec<Region>,
    definition: &'s RuleDefinition,
}

/// Everything suspicious about a set.
pub(crate) fn find(definition: &RuleSetDefinition, set: &CompiledRuleSet) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut analysed = Vec::new();
    for (at, (rule, body)) in definition.rules.iter().zip(&set.bodies).enumerate() {
        table_findings(at, rule, body, &mut findings);
        findings.extend(lower::find(at, rule, body, set));
        let arms = arms_of(body.clauses.iter().map(|clause| &clause.condition));
        let mut regions: Vec<Region> =
            arms.iter().map(|arm| Region::of(arm, &set.resources, &set.schema)).collect();
        if regions.iter().all(|region| region.contradiction.is_some()) {
            findings.push(dead(at, rule, &regions, set));
            continue;
        }
        regions.retain(|region| region.contradiction.is_none());
        if regions.iter().any(Region::is_everything) {
            if rule.when.is_some() {
                let message = "the condition is always true: remove when, or correct it";
                findings.push(finding(FindingKind::Always, at, rule, message.to_owned()));
            }
            continue;
        }
        if rule.table.is_none() {
            analysed.push(Analysed { rule: at, regions, definition: rule });
        }
    }
    pair_findings(&analysed, &mut findings);
    name_findings(set, &mut findings);
    findings.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
    findings
}

/// A set that costs more than it did when it was accepted.
pub(crate) fn costly(fault: Fault) -> Finding {
    Finding {
        kind: FindingKind::Costly,
        path: fault.path,
        rule: String::new(),
        other: None,
        message: fault.message,
        refusal: Some(Refusal::new(fault.code)),
    }
}

/// Entries that some names cannot be compared with, of each list of names.
fn name_findings(set: &CompiledRuleSet, findings: &mut Vec<Finding>) {
    for (name, list) in &set.resources.name_lists {
        findings.extend(list.findings().iter().map(|found| Finding {
            kind: FindingKind::Name,
            path: format!("lists.{name}.entries[{}].value", found.entry),
            rule: String::new(),
            other: None,
            message: found.message.clone(),
            refusal: None,
        }));
    }
}

fn finding(kind: FindingKind, at: usize, rule: &RuleDefinition, message: String) -> Finding {
    let part = if kind == FindingKind::Contradictory { "then" } else { "when" };
    Finding {
        kind,
        path: format!("rules[{at}].{part}"),
        rule: rule.id.clone(),
        other: None,
        message,
        refusal: None,
    }
}

fn dead(at: usize, rule: &RuleDefinition, regions: &[Region], set: &CompiledRuleSet) -> Finding {
    let reason = match regions.first().and_then(|region| region.contradiction) {
        Some(Contradiction::Fact(slot)) => {
            format!("no value of {} satisfies all that it asks of it", set.slot_name(slot))
        }
        Some(Contradiction::Clause) => "it asks for a clause and for its opposite".to_owned(),
        None => "its condition is always false".to_owned(),
    };
    finding(FindingKind::Dead, at, rule, format!("the rule can never hit: {reason}"))
}

fn table_findings(at: usize, rule: &RuleDefinition, body: &RuleBody, findings: &mut Vec<Finding>) {
    let Some(table) = &body.table else { return };
    for found in table.table.findings() {
        let kind = match found.kind {
            TableFindingKind::Gap => FindingKind::TableGap,
            TableFindingKind::Overlap => FindingKind::TableOverlap,
            TableFindingKind::NeverReached => FindingKind::Shadowed,
            TableFindingKind::NotAnalysed => FindingKind::Truncated,
            TableFindingKind::Ambiguous => FindingKind::TableAmbiguous,
            TableFindingKind::Suspect => FindingKind::TableSuspect,
        };
        let column = found.column.as_ref().map(|name| format!(".columns[{name}]"));
        let path = match found.rows.first() {
            Some(row) => {
                format!("tables.{}.rows[{row}]{}", table.name, column.unwrap_or_default())
            }
            None => format!("rules[{at}].table"),
        };
        let refuses = found.kind == TableFindingKind::Ambiguous;
        findings.push(Finding {
            kind,
            path,
            rule: rule.id.clone(),
            other: None,
            message: format!("table {}: {}", table.name, found.message),
            refusal: refuses.then(|| Refusal::new(Code::TableInvalid)),
        });
    }
}

/// What some arm asks about, by which rules are brought together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Fact(Slot),
    Other(String),
}

fn topics(region: &Region) -> impl Iterator<Item = Topic> {
    let facts = region.facts.keys().map(|slot| Topic::Fact(*slot));
    facts.chain(region.others.iter().map(|other| Topic::Other(other.clone())))
}

fn pair_findings(analysed: &[Analysed<'_>], findings: &mut Vec<Finding>) {
    let mut by_topic: BTreeMap<Topic, Vec<usize>> = BTreeMap::new();
    for (position, rule) in analysed.iter().enumerate() {
        for topic in rule.regions.iter().flat_map(topics) {
            let rules = by_topic.entry(topic).or_default();
            if rules.last() != Some(&position) {
                rules.push(position);
            }
        }
    }
    let mut pairs = 0usize;
    for (position, wider) in analysed.iter().enumerate() {
        // Whatever implies a rule asks about all that one of its arms asks about: look only at the
        // rules that share each arm's rarest topic.
        let rarest = |region: &Region| {
            let rules = topics(region).filter_map(|topic| by_topic.get(&topic));
            rules.min_by_key(|rules| rules.len())
        };
        let mut candidates: Vec<usize> =
            wider.regions.iter().filter_map(rarest).flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        for other in candidates.into_iter().filter(|other| *other != position) {
            pairs += 1;
            if pairs > PAIRS_MAX {
                let message =
                    format!("more than {PAIRS_MAX} pairs of rules: not all were compared");
                let kind = FindingKind::Truncated;
                findings.push(finding(kind, wider.rule, wider.definition, message));
                return;
            }
            compare(&analysed[other], wider, findings);
        }
    }
}

fn implies(narrower: &Analysed<'_>, wider: &Analysed<'_>) -> bool {
    narrower.regions.iter().all(|arm| wider.regions.iter().any(|other| arm.implies(other)))
}

/// Looks at a rule and one that may hit whenever it does.
fn compare(narrower: &Analysed<'_>, wider: &Analysed<'_>, findings: &mut Vec<Finding>) {
    if !implies(narrower, wider) {
        return;
    }
    let (rule, other) = (narrower.definition, wider.definition);
    let mut add = |kind, message: String| {
        let mut found = finding(kind, narrower.rule, rule, message);
        found.other = Some(other.id.clone());
        findings.push(found);
    };
    let hits = format!("{:?} hits whenever this rule does", other.id);
    if let Some(contradiction) = contradiction(rule, other) {
        add(FindingKind::Contradictory, format!("{hits}, and {contradiction}"));
        return;
    }
    if rule.flag != other.flag || rule.unknown != other.unknown {
        return;
    }
    let twins = rule.then == other.then && implies(wider, narrower);
    if twins {
        // Told once, of the later of the two.
        if narrower.rule > wider.rule {
            let message = format!("{:?} has the same condition and effect: remove one", other.id);
            add(FindingKind::Shadowed, message);
        }
    } else if adds_nothing(&rule.then, &other.then) {
        add(FindingKind::Shadowed, format!("{hits} and already has its whole effect: remove it"));
    }
}

fn contradiction(rule: &RuleDefinition, other: &RuleDefinition) -> Option<&'static str> {
    let (then, wide) = (&rule.then, &other.then);
    let grave = then.outcome.is_some_and(|outcome| outcome >= Outcome::Decline);
    if grave && wide.allow && rule.category != Some(Category::Sanctions) {
        return Some("it allows what this rule refuses, so this rule never refuses");
    }
    if let (Some(a), Some(b)) = (&then.label, &wide.label)
        && a != b
        && then.confidence.unwrap_or(1.0).total_cmp(&wide.confidence.unwrap_or(1.0)).is_eq()
    {
        return Some("it gives another label with the same confidence");
    }
    let above = |floor: Option<i32>, cap: Option<i32>| {
        floor.zip(cap).is_some_and(|(floor, cap)| floor > cap)
    };
    if above(then.floor, wide.cap) || above(wide.floor, then.cap) {
        return Some("the floor of one is above the cap of the other");
    }
    None
}

/// Whether an effect changes nothing where the other is already in force.
fn adds_nothing(effect: &Effect, other: &Effect) -> bool {
    let points = effect.points.unwrap_or(0) == 0;
    let floor = effect.floor.is_none() || effect.floor <= other.floor;
    let cap = effect.cap.is_none_or(|cap| other.cap.is_some_and(|known| known <= cap));
    let outcome = effect.outcome.is_none() || effect.outcome <= other.outcome;
    let label = effect.label.is_none()
        || (effect.label == other.label
            && effect.confidence.unwrap_or(1.0) <= other.confidence.unwrap_or(1.0));
    let reason = effect.reason.is_none() || effect.reason == other.reason;
    let something = *effect != Effect::default();
    something
        && points
        && floor
        && cap
        && outcome
        && label
        && reason
        && (!effect.allow || other.allow)
}
