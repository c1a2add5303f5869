//! A condition column with its index: which rows does a value fit?

use std::collections::HashMap;

use smallvec::SmallVec;
use verdict_config::{Code, Fault, Faults, FieldType, Value};

use super::ColumnTarget;
use super::bits::Bits;
use super::cell::{Cell, Ordered, Range, Test};

/// An index over intervals takes at most so many 64-bit words; beyond, rows are compared.
const INTERVAL_WORDS_MAX: usize = 1 << 17;

/// A condition column.
#[derive(Debug, Clone)]
pub struct Column {
    pub(super) name: Box<str>,
    slot: u32,
    pub(super) field_type: FieldType,
    pub(super) hints: Hints,
    pub(super) index: Index,
    missing_true: Bits,
    missing_unknown: Bits,
    /// Some cell says `unknown`.
    pub(super) handles_missing: bool,
    /// The rows whose cell says `unknown`.
    pub(super) says_unknown: Bits,
}

/// What the schema says about the values that can come.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    pub(super) symbols: Option<Vec<Box<str>>>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

/// Which rows fit a value that is present.
#[derive(Debug, Clone)]
pub enum Index {
    /// True and false.
    Bools([Bits; 2]),
    /// By text, or by item of a set: the rows that fit any text but those named, and what each text
    /// named changes about them.
    Texts { others: Bits, named: HashMap<Box<str>, Change> },
    /// The numbers and times that cells name, ascending; the rows that fit each of them and each gap
    /// between them (`regions[2 i]` lies before `ends[i]`, `regions[2 i + 1]` is `ends[i]`).
    Intervals { ends: Vec<Ordered>, regions: Vec<Bits> },
    /// Too many numbers for an index: rows that fit any value, and the cells of the others.
    Cells { any: Bits, cells: Vec<(u32, Cell)> },
}

/// What a text changes about the rows that fit any other text.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub(super) add: SmallVec<[u32; 4]>,
    pub(super) remove: SmallVec<[u32; 4]>,
}

impl Column {
    /// Compiles the cells of a column, one a row.
    pub fn compile<'c>(
        name: &str,
        target: ColumnTarget<'_>,
        cells: impl ExactSizeIterator<Item = &'c str>,
    ) -> Result<Self, Faults> {
        let hints = Hints::of(&target);
        let rows = cells.len();
        let mut faults = Faults::new();
        let mut parsed: Vec<Cell> = Vec::with_capacity(rows);
        for (row, text) in cells.enumerate() {
            let cell = Cell::parse(text, target.field_type).and_then(|cell| hints.check(cell));
            match cell {
                Ok(cell) => parsed.push(cell),
                Err(message) => {
                    let path = format!("rows[{row}].columns[{name}]");
                    let message = format!("row {}, column {name}: {message}", row + 1);
                    faults.push(Fault::new(Code::TableInvalid, path, message));
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let says_unknown = |cell: &Cell| matches!(cell, Cell::Tests { tests, .. } if tests.contains(&Test::Unknown));
        let handles_missing = parsed.iter().any(says_unknown);
        let mut of_unknown = Bits::none(rows);
        for (row, _) in (0u32..).zip(&parsed).filter(|(_, cell)| says_unknown(cell)) {
            of_unknown.insert(row);
        }
        let mut missing_true = Bits::none(rows);
        let mut missing_unknown = Bits::none(rows);
        for (row, cell) in (0u32..).zip(&parsed) {
            match cell {
                Cell::Any => missing_true.insert(row),
                Cell::Tests { negated: false, .. } if says_unknown(cell) => {
                    missing_true.insert(row);
                }
                Cell::Tests { .. } if handles_missing => {}
                Cell::Tests { .. } => missing_unknown.insert(row),
            }
        }
        let index = match target.field_type {
            FieldType::Bool => index_bools(&parsed),
            FieldType::Symbol | FieldType::String | FieldType::Set => index_texts(&parsed),
            FieldType::Int | FieldType::Decimal | FieldType::Float | FieldType::Time => {
                index_numbers(parsed)
            }
        };
        Ok(Self {
            name: name.into(),
            slot: target.slot,
            field_type: target.field_type,
            hints,
            index,
            missing_true,
            missing_unknown,
            handles_missing,
            says_unknown: of_unknown,
        })
    }

    pub const fn slot(&self) -> u32 {
        self.slot
    }

    /// Rows whose cell holds for a missing value.
    pub const fn missing_true(&self) -> &Bits {
        &self.missing_true
    }

    /// Rows whose cell is unknown for a missing value.
    pub const fn missing_unknown(&self) -> &Bits {
        &self.missing_unknown
    }

    /// The rows whose cell holds for a value. Only rows that are still in the running need be right:
    /// those matched or unknown so far.
    pub fn rows_for(&self, value: &Value, matched: &Bits, unknown: &Bits, rows: &mut Bits) {
        match (&self.index, value) {
            (Index::Bools(by_value), Value::Bool(value)) => {
                rows.copy(&by_value[usize::from(*value)]);
            }
            (Index::Texts { others, named }, Value::Text(text)) => {
                rows.copy(others);
                apply_to(named.get(text), rows);
            }
            (Index::Texts { others, named }, Value::Set(items)) => {
                rows.copy(others);
                // A cell names texts that it wants or texts that it does not, never both: the order
                // of the items does not matter.
                items.iter().for_each(|item| apply_to(named.get(item), rows));
            }
            (Index::Intervals { ends, regions }, value) => {
                match Ordered::of(value, self.field_type) {
                    Some(value) => rows.copy(&regions[place(ends, &value)]),
                    None => rows.clear(),
                }
            }
            (Index::Cells { any, cells }, value) => {
                let value = Ordered::of(value, self.field_type);
                rows.copy(any);
                for (row, cell) in cells {
                    let asked = matched.contains(*row) || unknown.contains(*row);
                    if asked && value.as_ref().is_some_and(|value| holds(cell, value)) {
                        rows.insert(*row);
                    }
                }
            }
            // A value of another type than the schema says fits no row.
            (Index::Bools(_) | Index::Texts { .. }, _) => rows.clear(),
        }
    }

    /// Comparisons of a look-up in the worst case.
    pub fn cost_units(&self) -> u64 {
        match &self.index {
            Index::Bools(_) => 1,
            Index::Texts { .. } => 4,
            Index::Intervals { ends, .. } => {
                u64::from(usize::BITS - ends.len().leading_zeros()) + 1
            }
            Index::Cells { cells, .. } => cells.len() as u64,
        }
    }
}

impl Hints {
    fn of(target: &ColumnTarget<'_>) -> Self {
        let Some(field) = target.field else { return Self::default() };
        let symbols = field.symbols.as_ref();
        Self {
            symbols: symbols
                .map(|symbols| symbols.iter().map(|text| text.as_str().into()).collect()),
            min: field.min,
            max: field.max,
        }
    }

    /// A cell that names a text which the field never holds is a misspelling.
    fn check(&self, cell: Cell) -> Result<Cell, String> {
        let (Some(symbols), Cell::Tests { tests, .. }) = (&self.symbols, &cell) else {
            return Ok(cell);
        };
        for test in tests {
            if let Test::Text(text) = test
                && !symbols.contains(text)
            {
                return Err(format!(
                    "{text:?} is none of the field's symbols: {}",
                    symbols.join(", ")
                ));
            }
        }
        Ok(cell)
    }
}

/// Applies what a text changes.
pub fn apply_to(change: Option<&Change>, rows: &mut Bits) {
    if let Some(change) = change {
        change.remove.iter().for_each(|row| rows.remove(*row));
        change.add.iter().for_each(|row| rows.insert(*row));
    }
}

fn index_bools(cells: &[Cell]) -> Index {
    let rows = |value: bool| {
        let mut bits = Bits::none(cells.len());
        for (row, cell) in (0u32..).zip(cells) {
            let fits = match cell {
                Cell::Any => true,
                Cell::Tests { negated, tests } => tests.contains(&Test::Bool(value)) != *negated,
            };
            if fits {
                bits.insert(row);
            }
        }
        bits
    };
    Index::Bools([rows(false), rows(true)])
}

fn index_texts(cells: &[Cell]) -> Index {
    let mut others = Bits::none(cells.len());
    let mut named: HashMap<Box<str>, Change> = HashMap::new();
    for (row, cell) in (0u32..).zip(cells) {
        let (negated, tests) = match cell {
            Cell::Any => {
                others.insert(row);
                continue;
            }
            Cell::Tests { negated, tests } => (*negated, tests),
        };
        if negated {
            others.insert(row);
        }
        for test in tests {
            if let Test::Text(text) = test {
                let change = named.entry(text.clone()).or_default();
                if negated { change.remove.push(row) } else { change.add.push(row) }
            }
        }
    }
    Index::Texts { others, named }
}

fn index_numbers(cells: Vec<Cell>) -> Index {
    let rows = cells.len();
    let mut ends: Vec<Ordered> = cells.iter().flat_map(ranges).flat_map(ends_of).collect();
    ends.sort_unstable_by(Ordered::order);
    ends.dedup_by(|one, other| one.order(other).is_eq());
    if (2 * ends.len() + 1).saturating_mul(rows.div_ceil(64)) > INTERVAL_WORDS_MAX {
        let mut any = Bits::none(rows);
        let mut tested = Vec::new();
        for (row, cell) in (0u32..).zip(cells) {
            if cell == Cell::Any { any.insert(row) } else { tested.push((row, cell)) }
        }
        return Index::Cells { any, cells: tested };
    }
    let mut regions = vec![Bits::none(rows); 2 * ends.len() + 1];
    for (row, cell) in (0u32..).zip(&cells) {
        let negated = match cell {
            Cell::Any => {
                regions.iter_mut().for_each(|region| region.insert(row));
                continue;
            }
            Cell::Tests { negated, .. } => *negated,
        };
        if negated {
            regions.iter_mut().for_each(|region| region.insert(row));
        }
        for range in ranges(cell) {
            let first = range
                .low
                .as_ref()
                .map_or(0, |(low, belongs)| place(&ends, low) + usize::from(!belongs));
            let last = range.high.as_ref().map_or(2 * ends.len(), |(high, belongs)| {
                place(&ends, high) - usize::from(!belongs)
            });
            for region in &mut regions[first..=last] {
                if negated { region.remove(row) } else { region.insert(row) }
            }
        }
    }
    Index::Intervals { ends, regions }
}

fn ranges(cell: &Cell) -> impl Iterator<Item = &Range> {
    let tests = match cell {
        Cell::Any => &[][..],
        Cell::Tests { tests, .. } => tests,
    };
    tests.iter().filter_map(|test| if let Test::Range(range) = test { Some(range) } else { None })
}

fn ends_of(range: &Range) -> impl Iterator<Item = Ordered> {
    [&range.low, &range.high].into_iter().flatten().map(|(end, _)| *end)
}

/// The region that holds a value.
pub fn place(ends: &[Ordered], value: &Ordered) -> usize {
    match ends.binary_search_by(|end| end.order(value)) {
        Ok(index) => 2 * index + 1,
        Err(index) => 2 * index,
    }
}

fn holds(cell: &Cell, value: &Ordered) -> bool {
    match cell {
        Cell::Any => true,
        Cell::Tests { negated, .. } => ranges(cell).any(|range| range.holds(value)) != *negated,
    }
}
