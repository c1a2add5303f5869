//! Checks of a header: names that can be told apart, and names that a reader knows.

use super::{CsvFault, CsvOptions, CsvRecord, shown};
use crate::spelling::nearest;

/// The columns that a reader of a file understands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'w> {
    /// Columns that must be there.
    pub required: &'w [&'w str],
    /// Columns that may be there.
    pub known: &'w [&'w str],
    /// Other words for a column, each with the column that it probably means.
    pub synonyms: &'w [(&'w str, &'w str)],
}

impl<'w> Wanted<'w> {
    fn names(&self) -> impl Iterator<Item = &'w str> {
        self.required.iter().chain(self.known).copied()
    }

    fn is_known(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// The column that a name probably means.
    #[must_use]
    pub fn suggestion(&self, name: &str) -> Option<&'w str> {
        let same = |word: &&(&str, &str)| crate::spelling::is_alike(word.0, name);
        let synonym = self.synonyms.iter().find(same).map(|(_, column)| *column);
        synonym.or_else(|| nearest(name, self.names()))
    }
}

/// The columns that are missing or misspelt, and the positions of those that `wanted` does not name
/// and that resemble nothing in it.
///
/// # Errors
/// A required column that is missing, and each column that resembles one that `wanted` names.
pub fn check_header(header: &CsvRecord, wanted: &Wanted<'_>) -> Result<Vec<usize>, Vec<CsvFault>> {
    let mut faults = Vec::new();
    let mut others = Vec::new();
    let mut suggested = Vec::new();
    for (column, name) in header.iter().enumerate() {
        if wanted.is_known(name) {
            continue;
        }
        let Some(near) = wanted.suggestion(name) else {
            others.push(column);
            continue;
        };
        suggested.push(near);
        let message = if header.position(near).is_some() {
            format!(
                "the column {} resembles the column {} of the same file: remove or rename it",
                shown(name),
                shown(near)
            )
        } else {
            format!(
                "nothing reads a column {}; did you mean {}? Rename or remove it",
                shown(name),
                shown(near)
            )
        };
        faults.push(CsvFault::at(header.place(column), message));
    }
    for required in wanted.required {
        if header.position(required).is_none() && !suggested.contains(required) {
            let names: Vec<String> = header.iter().take(20).map(shown).collect();
            let message = format!(
                "the first line must name a column {}; it names {}",
                shown(required),
                names.join(", ")
            );
            faults.push(CsvFault::at((header.line(), 1), message));
        }
    }
    if faults.is_empty() { Ok(others) } else { Err(faults) }
}

/// Refuses names that are empty, repeated, or hold a character that cannot be seen.
pub(super) fn check_names(header: &CsvRecord, options: &CsvOptions) -> Result<(), CsvFault> {
    let mut seen = std::collections::HashSet::with_capacity(header.len());
    for (column, name) in header.iter().enumerate() {
        let fault = |message: String| Err(CsvFault::at(header.place(column), message));
        if name.is_empty() {
            return fault(format!(
                "column {} has no name: name it, or remove it (a comma at the end of each line?)",
                column + 1
            ));
        }
        if let Some(character) = name.chars().find(|character| is_invisible(*character)) {
            let code = u32::from(character);
            return fault(format!(
                "the name {} holds the invisible character U+{code:04X}: type the name again",
                shown(name)
            ));
        }
        let is_comment = options.comment_columns && name.starts_with('#');
        if !is_comment && !seen.insert(name) {
            return fault(format!(
                "the column {} is named twice: rename or remove one",
                shown(name)
            ));
        }
    }
    Ok(())
}

/// Whether a character takes no room: it makes two names differ that look alike.
pub(crate) const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{00ad}'
            | '\u{034f}'
            | '\u{061c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}
