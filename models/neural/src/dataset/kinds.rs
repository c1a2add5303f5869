//! Inference of column kinds: number, category or text.
//!
//! A guess that people do not see goes wrong in silence, so that each guess that could be doubted
//! becomes a note: digits that are codes, and cells that are not like the rest of their column.

use std::collections::BTreeSet;

use verdict_config::model::ColumnKind;

use super::reader::{Cells, is_no_value, shown};

/// The largest share of cells that may not be numbers in a column of numbers.
const UNREADABLE_SHARE_MAX: f64 = 0.05;
/// Unreadable cells that a note shows at most.
const SHOWN_MAX: usize = 5;
/// Words of a column's name that say that its digits are codes: they name things, and neither order
/// nor distance means anything.
const CODE_WORDS: [&str; 28] = [
    "mcc",
    "bin",
    "bins",
    "iin",
    "zip",
    "zipcode",
    "postcode",
    "postalcode",
    "postal",
    "plz",
    "cep",
    "pincode",
    "code",
    "codes",
    "id",
    "ids",
    "sic",
    "naics",
    "nace",
    "isic",
    "hs",
    "iso",
    "bic",
    "swift",
    "fips",
    "area",
    "terminal",
    "branch",
];

/// A column's kind and what should be said about it.
pub struct Inferred {
    /// The kind.
    pub kind: ColumnKind,
    /// What a reader of the data should know about the choice.
    pub note: Option<String>,
}

/// The kind of a column by its cells and its name.
pub fn infer(cells: &Cells, column: usize, may_be_text: bool) -> Inferred {
    let numbers = Numbers::of(cells, column);
    let name = cells.names.get(column).map_or("", String::as_str);
    if numbers.are_most() {
        if let Some(reason) = numbers.code_reason(name) {
            let note = format!(
                "column `{name}` is read as a category, not as a number: {reason}. If it is an \
                 amount, rename it, or train for a flow whose field is a number"
            );
            return Inferred { kind: ColumnKind::Category, note: Some(note) };
        }
        let note = (numbers.unreadable > 0).then(|| {
            format!(
                "column `{name}` is read as numbers; {} and counted as absent",
                numbers.unreadable_text()
            )
        });
        return Inferred { kind: ColumnKind::Number, note };
    }
    let words: usize = cells.cells(column).map(|(_, cell)| cell.split_whitespace().count()).sum();
    let distinct: BTreeSet<&str> = cells.cells(column).map(|(_, cell)| cell).collect();
    let rows = cells.records.len();
    let sentences = words >= 3 * rows && distinct.len() * 2 > rows && rows >= 20;
    let kind = if may_be_text && sentences { ColumnKind::Text } else { ColumnKind::Category };
    let doubtful = numbers.given > 0 && numbers.unreadable * 2 <= numbers.given;
    let note = doubtful.then(|| {
        format!(
            "column `{name}` is read as a category, not as a number: {}. Correct the cells if it \
             should be a number",
            numbers.unreadable_text()
        )
    });
    Inferred { kind, note }
}

/// What is to be said about a column that somebody else called a number; an error if too many of its
/// cells are none.
pub fn check_numbers(cells: &Cells, column: usize) -> Result<Option<String>, ()> {
    let numbers = Numbers::of(cells, column);
    if numbers.given > 0 && !numbers.are_most() {
        return Err(());
    }
    let name = cells.names.get(column).map_or("", String::as_str);
    Ok((numbers.unreadable > 0)
        .then(|| format!("column `{name}`: {} and counted as absent", numbers.unreadable_text())))
}

/// Whether a cell is written as a number, finite or not. Truth values are none: a column of them is a
/// category unless it is known to hold numbers.
pub fn is_number(cell: &str) -> bool {
    let cell = cell.trim();
    is_no_value(cell) || cell.parse::<f64>().is_ok()
}

/// Counts of a column's cells as numbers.
struct Numbers {
    /// Cells that are not empty and no word for "no value".
    given: usize,
    /// Those of them that are no numbers.
    unreadable: usize,
    /// The first of these, with their lines.
    examples: Vec<String>,
    /// A cell of digits that begins with 0.
    leading_zero: Option<String>,
    /// Whether every number is made of digits only.
    are_digits: bool,
}

impl Numbers {
    fn of(cells: &Cells, column: usize) -> Self {
        let mut numbers = Self {
            given: 0,
            unreadable: 0,
            examples: Vec::new(),
            leading_zero: None,
            are_digits: true,
        };
        for (line, cell) in cells.cells(column) {
            let cell = cell.trim();
            if is_no_value(cell) {
                continue;
            }
            numbers.given += 1;
            if !is_number(cell) {
                numbers.unreadable += 1;
                if numbers.examples.len() < SHOWN_MAX {
                    numbers.examples.push(format!("line {line} {}", shown(cell)));
                }
                continue;
            }
            let are_digits = cell.bytes().all(|byte| byte.is_ascii_digit());
            numbers.are_digits &= are_digits;
            if are_digits && cell.len() > 1 && cell.starts_with('0') {
                numbers.leading_zero.get_or_insert_with(|| cell.to_owned());
            }
        }
        numbers
    }

    fn are_most(&self) -> bool {
        let share = self.unreadable as f64 / self.given.max(1) as f64;
        self.given > 0 && share <= UNREADABLE_SHARE_MAX
    }

    /// Why the digits of a column are codes.
    fn code_reason(&self, name: &str) -> Option<String> {
        if !self.are_digits {
            return None;
        }
        if let Some(cell) = &self.leading_zero {
            return Some(format!("{} begins with 0", shown(cell)));
        }
        let word = words(name).into_iter().find(|word| CODE_WORDS.contains(&word.as_str()))?;
        Some(format!("its name has the word `{word}`"))
    }

    fn unreadable_text(&self) -> String {
        let more = self.unreadable - self.examples.len();
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (noun, verb) = if self.unreadable == 1 {
            ("cell", "is no number")
        } else {
            ("cells", "are no numbers")
        };
        format!(
            "{} of {} {noun} {verb} ({}{rest})",
            self.unreadable,
            self.given,
            self.examples.join(", ")
        )
    }
}

/// The words of a column's name in lower case: `merchantPostCode2` has `merchant`, `post`, `code`
/// and `postcode`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut after_lower = false;
    for character in name.chars() {
        if !character.is_alphabetic() {
            words.push(String::new());
            after_lower = false;
            continue;
        }
        if words.is_empty() || (character.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = character.is_lowercase();
        if let Some(word) = words.last_mut() {
            word.extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    let joined: Vec<String> = words.windows(2).map(|pair| pair.concat()).collect();
    words.extend(joined);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, cells: &[&str], kind: ColumnKind, note: Option<&str>) {
        let text = format!(
            "{name},other\n{}",
            cells.iter().map(|c| format!("{c},x\n")).collect::<String>()
        );
        let read = Cells::read(text.as_bytes()).unwrap();
        let found = infer(&read, 0, false);
        assert_eq!(found.kind, kind, "{name}: {:?}", found.note);
        let said = found.note.as_deref().unwrap_or_default();
        assert_eq!(found.note.is_some(), note.is_some(), "{name}: {said}");
        assert!(said.contains(note.unwrap_or_default()), "{said}");
    }

    #[test]
    fn codes_are_categories_and_amounts_are_numbers() {
        use ColumnKind::{Category, Number};
        check("mcc", &["5411", "7995"], Category, Some("`mcc`"));
        check("merchantPostCode", &["1010", "7995"], Category, Some("code"));
        check("card_bin", &["411111", "555555"], Category, Some("`bin`"));
        check("branch_nr", &["0042", "17"], Category, Some("begins with 0"));
        check("mcc", &["5411.5", "7995"], Number, None);
        check("amount", &["5411", "7995"], Number, None);
        check("share", &["0.5", "0"], Number, None);
        check("binary_size", &["1", "2"], Number, None);
        check("width", &["1", "2"], Number, None);
    }

    #[test]
    fn a_few_bad_cells_leave_a_column_of_numbers() {
        let mut cells = vec!["1.5"; 40];
        cells[7] = "n/k";
        check("amount", &cells, ColumnKind::Number, Some("line 9 `n/k`"));
        cells[8..20].fill("much");
        check("amount", &cells, ColumnKind::Category, Some("13 of 40 cells"));
        check("colour", &["red", "blue", "7"], ColumnKind::Category, None);
    }
}
