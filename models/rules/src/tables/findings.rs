//! What can be said about a table without an input: gaps, overlaps, rows never reached.
//!
//! Each column parts its values into finitely many regions within which no cell changes its mind (a
//! named text, every other text, a number, the numbers between two). A table is a finite grid of
//! them, searched column by column with the set of rows still possible, which prunes most of it.

use verdict_config::FieldType;
use verdict_config::definition::HitPolicy;

use super::bits::Bits;
use super::cell::Ordered;
use super::column::{Column, Index};
use super::{DecisionTable, policy};

/// Steps of a search; beyond, the question stays open.
const STEPS_MAX: usize = 100_000;
/// Words of bits that the search for overlaps may read.
const OVERLAP_WORDS_MAX: usize = 30_000_000;
/// Examples of one kind that are told.
const EXAMPLES_MAX: usize = 3;
/// Overlapping pairs and rows never reached that are told.
const FINDINGS_MAX: usize = 16;

/// A static finding about a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFinding {
    /// What kind.
    pub kind: TableFindingKind,
    /// The rows concerned, from 0.
    pub rows: Vec<u32>,
    /// The column, where one cell is concerned.
    pub column: Option<Box<str>>,
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
    /// A row that other rows always win over.
    NeverReached,
    /// The analysis would be too long or the types do not allow it.
    NotAnalysed,
    /// A cell or row that people and programs read differently. The table's next change is refused.
    Ambiguous,
    /// A cell or row that is probably not meant as it is read.
    Suspect,
}

impl TableFinding {
    /// A finding about rows.
    #[must_use]
    pub const fn new(kind: TableFindingKind, rows: Vec<u32>, message: String) -> Self {
        Self { kind, rows, column: None, message }
    }
}

/// Values among which no cell of a column tells a difference.
struct Region {
    text: String,
    rows: Bits,
}

struct Grid<'t> {
    table: &'t DecisionTable,
    columns: Vec<Vec<Region>>,
    /// Rows whose cells from column `n` on fit everything.
    open_from: Vec<Bits>,
}

/// Every finding about a table.
pub fn analyse(table: &DecisionTable) -> Vec<TableFinding> {
    let mut regions = Vec::new();
    for column in &table.columns {
        match regions_of(column, table.rows) {
            Some(of_column) => regions.push(of_column),
            None => {
                let message = format!(
                    "gaps and overlaps were not looked for: the column {} is a set or too large",
                    column.name
                );
                return vec![not_analysed(message)];
            }
        }
    }
    let mut open = Bits::all(table.rows);
    let mut open_from = vec![open.clone()];
    for of_column in regions.iter().rev() {
        of_column.iter().for_each(|region| open.and(&region.rows));
        open_from.push(open.clone());
    }
    open_from.reverse();
    let grid = Grid { table, columns: regions, open_from };
    let mut findings = grid.gaps();
    findings.extend(grid.overlaps());
    findings.extend(grid.never_reached());
    findings
}

fn not_analysed(message: String) -> TableFinding {
    TableFinding::new(TableFindingKind::NotAnalysed, Vec::new(), message)
}

impl Grid<'_> {
    fn gaps(&self) -> Vec<TableFinding> {
        let mut examples: Vec<String> = Vec::new();
        let mut steps = 0;
        let mut path: Vec<&Region> = Vec::new();
        let all = Bits::all(self.table.rows);
        let complete = self.walk(&all, None, &mut path, &mut steps, &mut |path| {
            examples.push(self.describe(path));
            examples.len() < EXAMPLES_MAX
        });
        if !examples.is_empty() {
            let message = format!("no row matches {}", examples.join("; nor "));
            let kind = TableFindingKind::Gap;
            return vec![TableFinding::new(kind, Vec::new(), message)];
        }
        if complete {
            return Vec::new();
        }
        vec![not_analysed("gaps were not found, but not every case was looked at".to_owned())]
    }

    /// Walks through the grid and calls `empty` with each part of it for which no row of `rows` is
    /// left, until it answers `false`. With `of`, only the part that the row `of` matches. `false` if
    /// the steps ran out.
    fn walk<'g>(
        &'g self,
        rows: &Bits,
        of: Option<u32>,
        path: &mut Vec<&'g Region>,
        steps: &mut usize,
        empty: &mut dyn FnMut(&[&'g Region]) -> bool,
    ) -> bool {
        if rows.is_empty() {
            return empty(path);
        }
        let depth = path.len();
        if depth == self.columns.len() || rows.meets(&self.open_from[depth]) {
            return true;
        }
        for region in &self.columns[depth] {
            if of.is_some_and(|row| !region.rows.contains(row)) {
                continue;
            }
            *steps += 1;
            if *steps > STEPS_MAX {
                return false;
            }
            let mut left = rows.clone();
            left.and(&region.rows);
            path.push(region);
            let go_on = self.walk(&left, of, path, steps, empty);
            path.pop();
            if !go_on {
                return false;
            }
        }
        true
    }

    fn describe(&self, path: &[&Region]) -> String {
        let parts: Vec<String> = self
            .table
            .columns
            .iter()
            .zip(path)
            .map(|(column, region)| format!("{} {}", column.name, region.text))
            .collect();
        if parts.is_empty() { "any input".to_owned() } else { parts.join(" with ") }
    }

    fn overlaps(&self) -> Vec<TableFinding> {
        let policy = self.table.policy;
        if !matches!(policy, HitPolicy::Unique | HitPolicy::Any) {
            return Vec::new();
        }
        let rows = self.table.rows;
        let regions: usize = self.columns.iter().map(Vec::len).sum();
        if rows.saturating_mul(regions).saturating_mul(rows.div_ceil(64)) > OVERLAP_WORDS_MAX {
            return vec![not_analysed("the table is too large to look for overlaps".to_owned())];
        }
        let mut findings = Vec::new();
        for one in 0..u32::try_from(rows).unwrap_or(u32::MAX) {
            for other in self.meeting(one).iter().filter(|other| *other > one) {
                let effects = &self.table.effects;
                if policy == HitPolicy::Any && effects[one as usize] == effects[other as usize] {
                    continue;
                }
                if findings.len() == FINDINGS_MAX {
                    return findings;
                }
                let (first, second) = (one + 1, other + 1);
                let message = if policy == HitPolicy::Unique {
                    format!(
                        "rows {first} and {second} can match together, but the policy is unique"
                    )
                } else {
                    format!("rows {first} and {second} can match together and say different things")
                };
                let kind = TableFindingKind::Overlap;
                findings.push(TableFinding::new(kind, vec![one, other], message));
            }
        }
        findings
    }

    /// The rows that some input matches together with a row.
    fn meeting(&self, row: u32) -> Bits {
        let mut meeting = Bits::all(self.table.rows);
        for of_column in &self.columns {
            let mut in_column = Bits::none(self.table.rows);
            for region in of_column.iter().filter(|region| region.rows.contains(row)) {
                in_column.or(&region.rows);
            }
            meeting.and(&in_column);
        }
        meeting
    }

    fn never_reached(&self) -> Vec<TableFinding> {
        let effects = &self.table.effects;
        let wins = |one: u32, other: u32| match self.table.policy {
            HitPolicy::First => one < other,
            HitPolicy::Priority => {
                policy::priority(effects, one) < policy::priority(effects, other)
            }
            _ => false,
        };
        if !matches!(self.table.policy, HitPolicy::First | HitPolicy::Priority) {
            return Vec::new();
        }
        let mut findings = Vec::new();
        let mut never = Bits::none(self.table.rows);
        let mut steps = 0;
        let rows = u32::try_from(self.table.rows).unwrap_or(u32::MAX);
        for row in 0..rows {
            let mut winners = Bits::none(self.table.rows);
            (0..rows).filter(|other| wins(*other, row)).for_each(|other| winners.insert(other));
            let mut reached = false;
            let mut path = Vec::new();
            let complete = self.walk(&winners, Some(row), &mut path, &mut steps, &mut |_| {
                reached = true;
                false
            });
            if !complete && !reached {
                let message = format!(
                    "the table is too large to tell which rows from {} on are never reached",
                    row + 1
                );
                findings.push(not_analysed(message));
                break;
            }
            if !reached {
                never.insert(row);
            }
        }
        for row in never.iter().filter(|row| !self.handles_missing_alone(*row, &never)) {
            let message =
                format!("row {} is never reached: other rows win over it always", row + 1);
            let kind = TableFindingKind::NeverReached;
            findings.push(TableFinding::new(kind, vec![row], message));
            if findings.len() >= FINDINGS_MAX {
                break;
            }
        }
        findings
    }

    /// Whether a row is the only one that is ever reached and says `unknown` in some column: without
    /// it a missing value would make other rows unknown, so it has a meaning.
    fn handles_missing_alone(&self, row: u32, never: &Bits) -> bool {
        self.table.columns.iter().any(|column| {
            let by_others = column.says_unknown.iter().any(|other| !never.contains(other));
            column.says_unknown.contains(row) && !by_others
        })
    }
}

/// The regions of a column that values can lie in; `None` where cells of a column are not exclusive.
fn regions_of(column: &Column, rows: usize) -> Option<Vec<Region>> {
    let mut regions = match &column.index {
        Index::Bools([no, yes]) => vec![
            Region { text: "false".to_owned(), rows: no.clone() },
            Region { text: "true".to_owned(), rows: yes.clone() },
        ],
        Index::Texts { .. } if column.field_type == FieldType::Set => return None,
        Index::Texts { others, named } => {
            let mut texts: Vec<&str> = named.keys().map(AsRef::as_ref).collect();
            if let Some(symbols) = &column.hints.symbols {
                let unnamed = symbols.iter().filter(|symbol| !named.contains_key(*symbol));
                texts.extend(unnamed.map(AsRef::as_ref));
            }
            texts.sort_unstable();
            let of_text = |text: &str| {
                let mut rows = others.clone();
                super::column::apply_to(named.get(text), &mut rows);
                Region { text: format!("{text:?}"), rows }
            };
            let mut regions: Vec<Region> = texts.into_iter().map(of_text).collect();
            if column.hints.symbols.is_none() {
                let text = if regions.is_empty() { "any text" } else { "any other text" };
                regions.push(Region { text: text.to_owned(), rows: others.clone() });
            }
            regions
        }
        Index::Intervals { ends, regions } => {
            let placed = regions.iter().enumerate();
            let possible = placed.filter(|(place, _)| is_possible(column, ends, *place));
            let described = possible.map(|(place, rows)| Region {
                text: describe_place(column, ends, place),
                rows: rows.clone(),
            });
            described.collect()
        }
        Index::Cells { .. } => return None,
    };
    if column.handles_missing {
        let mut missing = Bits::none(rows);
        missing.or(column.missing_true());
        regions.push(Region { text: "unknown".to_owned(), rows: missing });
    }
    Some(regions)
}

/// Whether a value of the field can lie in a region: not outside its bounds, and not between two
/// neighbouring whole numbers.
fn is_possible(column: &Column, ends: &[Ordered], place: usize) -> bool {
    let number = |end: Option<&Ordered>| match end {
        Some(Ordered::Exact(number)) => f64::try_from(*number).ok(),
        Some(Ordered::Float(number)) => Some(*number),
        None => None,
    };
    let is_point = place % 2 == 1;
    let above = if is_point { Some(place / 2) } else { (place / 2).checked_sub(1) };
    let low = number(above.and_then(|index| ends.get(index)));
    let high = number(ends.get(place / 2));
    let below_min = match (column.hints.min, high) {
        (Some(min), Some(high)) => {
            if is_point {
                high < min
            } else {
                high <= min
            }
        }
        _ => false,
    };
    let above_max = match (column.hints.max, low) {
        (Some(max), Some(low)) => {
            if is_point {
                low > max
            } else {
                low >= max
            }
        }
        _ => false,
    };
    let whole = matches!(column.field_type, FieldType::Int | FieldType::Time);
    let between = match (low, high) {
        (Some(low), Some(high)) if whole && !is_point => low.floor() + 1.0 >= high,
        _ => false,
    };
    // An int field with a minimum of 0 and a first end of 1 still has 0 below it.
    !below_min && !above_max && !between
}

fn describe_place(column: &Column, ends: &[Ordered], place: usize) -> String {
    let text = |end: &Ordered| match end {
        Ordered::Exact(number) if column.field_type == FieldType::Time => i64::try_from(*number)
            .map_or_else(|_| number.to_string(), |ms| verdict_config::TimestampMs(ms).to_string()),
        Ordered::Exact(number) => number.normalize().to_string(),
        Ordered::Float(number) => number.to_string(),
    };
    let index = place / 2;
    if place % 2 == 1 {
        return ends.get(index).map_or_else(String::new, text);
    }
    match (index.checked_sub(1).and_then(|low| ends.get(low)), ends.get(index)) {
        (None, None) => "any value".to_owned(),
        (None, Some(high)) => format!("< {}", text(high)),
        (Some(low), None) => format!("> {}", text(low)),
        (Some(low), Some(high)) => format!("({}..{})", text(low), text(high)),
    }
}
