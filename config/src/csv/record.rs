//! A record of a CSV text and the places of its cells.

/// One cell: its bytes in the record's text and its place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub start: usize,
    pub end: usize,
    pub line: u32,
    pub column: u32,
    pub is_quoted: bool,
}

/// The cells of one row, or of the header. A record that is read into again reuses its memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CsvRecord {
    pub(super) text: String,
    pub(super) cells: Vec<Cell>,
}

impl CsvRecord {
    /// The text of a cell.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&str> {
        self.cells.get(index).map(|cell| self.text_of(cell))
    }

    /// The texts of the cells.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().map(|cell| self.text_of(cell))
    }

    /// The number of cells.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is no cell.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The line in which the record begins, from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.place(0).0
    }

    /// Line and column (in characters) at which a cell begins, both from 1.
    #[must_use]
    pub fn place(&self, index: usize) -> (u32, u32) {
        self.cells.get(index).map_or((1, 1), |cell| (cell.line, cell.column))
    }

    /// Whether a cell stands in quotes.
    #[must_use]
    pub fn is_quoted(&self, index: usize) -> bool {
        self.cells.get(index).is_some_and(|cell| cell.is_quoted)
    }

    /// The position of a cell with this text; in a header, the column of a name.
    #[must_use]
    pub fn position(&self, text: &str) -> Option<usize> {
        self.iter().position(|cell| cell == text)
    }

    /// Removes the blanks around each cell's text.
    pub(super) fn trim(&mut self) {
        for cell in &mut self.cells {
            let text = self.text.get(cell.start..cell.end).unwrap_or_default();
            let behind = text.trim_start();
            cell.start += text.len() - behind.len();
            cell.end = cell.start + behind.trim_end().len();
        }
    }

    fn text_of(&self, cell: &Cell) -> &str {
        self.text.get(cell.start..cell.end).unwrap_or_default()
    }
}
