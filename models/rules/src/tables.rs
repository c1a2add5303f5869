//! Decision tables and look-up tables.

use smallvec::SmallVec;
use verdict_config::definition::{Effect, HitPolicy, TableDefinition};
use verdict_config::{Faults, Field, FieldType, Value};

mod lookup;
pub use lookup::LookupTable;

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
    effects: Vec<Effect>,
}

/// What a table answers to one input.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableAnswer {
    /// Rows that certainly match and count, in the policy's order. Empty and not unknown: no match.
    pub rows: SmallVec<[u32; 4]>,
    /// The points of `collect_sum`, `_min`, `_max` and `_count`, which replace the rows' own.
    pub points: Option<i32>,
    /// Why the answer is unknown. Under `rule_order`, `output_order` and `collect` the rows hit
    /// nevertheless: an unknown row could only add to them.
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

/// A static finding about a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFinding {
    /// What kind.
    pub kind: TableFindingKind,
    /// The rows concerned, from 0.
    pub rows: Vec<u32>,
    /// In a sentence, with rows counted from 1 as people do.
    pub message: String,
}

/// Kinds of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFindingKind {
    /// Some input matches no row.
    Gap,
    /// Some input matches several rows although the policy allows one.
    Overlap,
    /// A row that earlier rows always win over.
    NeverReached,
    /// The analysis would be too long or the types do not allow it.
    NotAnalysed,
}

impl DecisionTable {
    /// Compiles a table.
    ///
    /// # Errors
    /// Every fault; paths are `columns[NAME]` and `rows[3].columns[NAME]` with rows from 0.
    pub fn compile(_table: &TableDefinition, _context: &TableContext<'_>) -> Result<Self, Faults> {
        Ok(Self { effects: Vec::new() })
    }

    /// Reads the table. `fact` gives the value of a slot, `None` if it is unknown.
    #[must_use]
    pub fn evaluate<'v>(&self, _fact: impl Fn(u32) -> Option<&'v Value>) -> TableAnswer {
        TableAnswer::default()
    }

    /// What a hit of a row does: its own outputs over the rule's effect.
    #[must_use]
    pub fn effect(&self, row: u32) -> Option<&Effect> {
        self.effects.get(row as usize)
    }

    /// The effects of an answer: one a row, or a single one under the `collect_*` policies, which
    /// adds up the points and joins the rest (graver outcome, higher floor, lower cap).
    pub fn answer_effects(&self, answer: &TableAnswer) -> Vec<Effect> {
        answer.rows.iter().filter_map(|row| self.effect(*row)).cloned().collect()
    }

    /// Every slot that a condition column reads, ascending.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        &[]
    }

    /// What evaluation costs in the worst case, in cost units (about one comparison each).
    #[must_use]
    pub fn cost_units(&self) -> u64 {
        1
    }

    /// Gaps, overlaps and rows never reached; bounded work.
    #[must_use]
    pub fn findings(&self) -> Vec<TableFinding> {
        Vec::new()
    }
}
