//! Decision tables and look-up tables.
//!
//! A decision table is a [`TableDefinition`] read against a flow: a column whose name begins with
//! `then.` is an output (`points`, `outcome`, `reason`, `label`, `confidence`, `floor`, `cap`), one
//! whose name begins with `#` is a comment, every other one is a condition on the field or derived
//! fact of that name.
//!
//! ```text
//! country   , amount       , mcc             , then.points, then.reason   , # why
//! "KP, IR"  , -            , -               , 400        , COUNTRY_RISK  , always
//! not(GB)   , > 10000      , -               , 150        , LARGE_FOREIGN ,
//! -         , [5000..10000], "not(5411, 5812)", 40        , BAND_C        ,
//! unknown   , -            , -               , 60         , NO_COUNTRY    ,
//! ```
//!
//! A condition cell is empty or `-` (any value), or a list of tests joined by commas of which one
//! must hold, or `not(...)` of such a list. A test is a literal in the field's type, `<`, `<=`, `>` or
//! `>=` before a literal, an interval `[a..b]` (`(` or `]` before and `)` or `[` behind leave the end
//! out), or `unknown`. Texts that would read as something else stand in double quotes. A set matches
//! a literal that it contains.
//!
//! **Missing values.** A cell that tests a missing value is unknown, and so is its row unless another
//! cell is false. The answer is unknown only if such a row could change it. A column in which some
//! cell says `unknown` has missing values in hand: there only `unknown` and `-` match a missing value,
//! and every other cell is false.
//!
//! Reading a table costs one look-up a column and a few words of bits a row, not a comparison a cell.

use smallvec::SmallVec;
use verdict_config::definition::{Effect, HitPolicy, TableDefinition};
use verdict_config::{Code, Fault, Faults, Field, FieldType, Value};

mod bits;
mod cell;
mod column;
mod doubts;
mod findings;
mod lookup;
mod outputs;
mod policy;

use bits::Bits;
use column::Column;

pub use findings::{TableFinding, TableFindingKind};
pub use lookup::LookupTable;

/// The most rows of a decision table.
pub const ROWS_MAX: usize = 20_000;
/// The most columns of a decision table.
pub const COLUMNS_MAX: usize = 64;

/// What a column's name stands for in the flow.
#[derive(Debug, Clone, Copy)]
pub struct ColumnTarget<'f> {
    /// The slot that is read.
    pub slot: u32,
    /// Its type.
    pub field_type: FieldType,
    /// The field of the schema, if it is one and no derived fact.
    pub field: Option<&'f Field>,
}

/// What a table is compiled against.
pub struct TableContext<'c> {
    /// Resolves a column's name to a field or derived fact.
    pub resolve: &'c dyn Fn(&str) -> Option<ColumnTarget<'c>>,
    /// The hit policy of the rule that reads the table.
    pub hit_policy: HitPolicy,
    /// The rule's own effect: what a row says nothing about comes from here.
    pub base: &'c Effect,
}

/// A compiled decision table.
#[derive(Debug, Clone)]
pub struct DecisionTable {
    policy: HitPolicy,
    base: Effect,
    rows: usize,
    columns: Vec<Column>,
    /// By row: its outputs over the rule's own effect.
    effects: Vec<Effect>,
    slots: Vec<u32>,
    /// Findings about its text.
    doubts: Vec<TableFinding>,
}

/// What a table answers to one input.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableAnswer {
    /// Rows that certainly match and count, in the policy's order. Empty and not unknown: no match.
    pub rows: SmallVec<[u32; 4]>,
    /// The points of `collect_sum`, `_min`, `_max` and `_count`, which replace the rows' own.
    pub points: Option<i32>,
    /// Why the answer is unknown. Under `rule_order`, `output_order` and `collect` the rows named hit
    /// nevertheless: an unknown row could only add to them. Under the others there are none.
    pub unknown: Option<TableUnknown>,
}

/// Why a table's answer is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableUnknown {
    /// These slots are missing and would decide.
    Missing(SmallVec<[u32; 4]>),
    /// Two rows match where the policy allows one (`unique`), or they say different things (`any`).
    Conflict(u32, u32),
}

impl DecisionTable {
    /// Compiles a table.
    ///
    /// # Errors
    /// Every fault; paths are `columns[NAME]` and `rows[3].columns[NAME]` with rows from 0.
    pub fn compile(table: &TableDefinition, context: &TableContext<'_>) -> Result<Self, Faults> {
        let mut faults = check_shape(table);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut columns = Vec::new();
        let mut effects = vec![Effect::default(); table.rows.len()];
        let mut seen: Vec<&str> = Vec::new();
        for (index, name) in table.columns.iter().enumerate() {
            let name = name.trim();
            let path = || format!("columns[{name}]");
            if name.starts_with('#') {
                continue;
            }
            if seen.contains(&name) {
                let message = "the column is named twice: join the two or rename one";
                faults.push(Fault::new(Code::TableInvalid, path(), message));
                continue;
            }
            seen.push(name);
            let cells = table.rows.iter().map(|row| row[index].trim());
            if let Some(output) = name.strip_prefix("then.") {
                faults.extend(outputs::read(output, cells, &mut effects));
            } else if let Some(target) = (context.resolve)(name) {
                match Column::compile(name, target, cells) {
                    Ok(column) => columns.push(column),
                    Err(of_column) => faults.extend(of_column),
                }
            } else {
                let message = format!(
                    "the flow has no field or derived fact {name:?}: correct the name, or begin it \
                     with # if it is a comment"
                );
                faults.push(Fault::new(Code::RuleUnknownField, path(), message));
            }
        }
        if columns.is_empty() && faults.is_empty() {
            let message = "the table has no condition: add a column named like a field";
            faults.push(Fault::new(Code::TableInvalid, "columns", message));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        effects.iter_mut().for_each(|effect| outputs::complete(effect, context.base));
        let mut slots: Vec<u32> = columns.iter().map(Column::slot).collect();
        slots.sort_unstable();
        slots.dedup();
        Ok(Self {
            policy: context.hit_policy,
            base: context.base.clone(),
            rows: table.rows.len(),
            columns,
            effects,
            slots,
            doubts: doubts::find(table, context),
        })
    }

    /// Reads the table. `fact` gives the value of a slot, `None` if it is unknown.
    #[must_use]
    pub fn evaluate<'v>(&self, fact: impl Fn(u32) -> Option<&'v Value>) -> TableAnswer {
        let mut matched = Bits::all(self.rows);
        // Rows that are unknown: no cell is false, some cell tests a missing value.
        let mut unknown = Bits::none(self.rows);
        let mut of_column = Bits::none(self.rows);
        let mut missing: SmallVec<[&Column; 8]> = SmallVec::new();
        for column in &self.columns {
            if let Some(value) = fact(column.slot()) {
                column.rows_for(value, &matched, &unknown, &mut of_column);
                matched.and(&of_column);
                unknown.and(&of_column);
            } else {
                unknown.missing(&matched, column.missing_true(), column.missing_unknown());
                matched.and(column.missing_true());
                missing.push(column);
            }
            if matched.is_empty() && unknown.is_empty() {
                return TableAnswer::default();
            }
        }
        let mut answer = policy::answer(self.policy, &self.base, &self.effects, &matched, &unknown);
        if let Some(TableUnknown::Missing(slots)) = &mut answer.unknown {
            let deciding = missing.iter().filter(|column| {
                let mut tests = unknown.clone();
                tests.and(column.missing_unknown());
                !tests.is_empty()
            });
            slots.extend(deciding.map(|column| column.slot()));
        }
        answer
    }

    /// What a hit of a row does: its own outputs over the rule's effect.
    #[must_use]
    pub fn effect(&self, row: u32) -> Option<&Effect> {
        self.effects.get(row as usize)
    }

    /// The effects of an answer: one a row, or a single one under the `collect_*` policies, which
    /// has the answer's points and joins the rest (graver outcome, higher floor, lower cap, the first
    /// reason, the label of most confidence).
    #[must_use]
    pub fn answer_effects(&self, answer: &TableAnswer) -> SmallVec<[Effect; 1]> {
        let of_rows = answer.rows.iter().filter_map(|row| self.effect(*row));
        if policy::is_aggregate(self.policy) {
            outputs::join(of_rows, answer.points).into_iter().collect()
        } else {
            of_rows.cloned().collect()
        }
    }

    /// The policy it was compiled for.
    #[must_use]
    pub const fn hit_policy(&self) -> HitPolicy {
        self.policy
    }

    /// How many rows it has.
    #[must_use]
    pub const fn row_count(&self) -> usize {
        self.rows
    }

    /// Every slot that a condition column reads, ascending.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// What evaluation costs in the worst case, in cost units (about one comparison each).
    #[must_use]
    pub fn cost_units(&self) -> u64 {
        let words = self.rows.div_ceil(64) as u64;
        let columns = self.columns.iter().map(|column| column.cost_units() + words);
        columns.sum::<u64>() + words
    }

    /// Gaps, overlaps and rows never reached. The work is bounded; where that is not enough, a
    /// finding says that there was no analysis.
    #[must_use]
    pub fn findings(&self) -> Vec<TableFinding> {
        let mut findings = self.doubts.clone();
        findings.extend(findings::analyse(self));
        findings
    }
}

fn check_shape(table: &TableDefinition) -> Faults {
    let mut faults = Faults::new();
    let mut limit = |path: &str, what: &str, most: usize, got: usize| {
        if got > most {
            let message = format!("at most {most} {what} a decision table, got {got}: split it");
            faults.push(Fault::new(Code::LimitExceeded, path, message));
        }
    };
    limit("rows", "rows", ROWS_MAX, table.rows.len());
    limit("columns", "columns", COLUMNS_MAX, table.columns.len());
    for (index, row) in table.rows.iter().enumerate() {
        if row.len() != table.columns.len() {
            let (cells, columns) = (row.len(), table.columns.len());
            let message =
                format!("{cells} cells for {columns} columns: quote cells that contain commas");
            faults.push(Fault::new(Code::TableInvalid, format!("rows[{index}]"), message));
        }
    }
    faults
}

#[cfg(test)]
mod tests;
