//! From cells to features: which positions of the first layer a row touches, and how strongly.

pub mod category;
pub mod ngrams;
pub mod number;
pub mod vocabulary;

use verdict_config::model::{ColumnKind, ModelColumn, ModelRow, ModelValue};

use crate::NeuralError;
use category::CategoryValues;
use number::NumberBins;
use vocabulary::{Coverage, Vocabulary};

/// What is known of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnFeatures {
    /// N-grams of a text.
    Text(Vocabulary),
    /// Bins of a number.
    Number(NumberBins),
    /// Categories.
    Category(CategoryValues),
}

impl ColumnFeatures {
    fn len(&self) -> usize {
        match self {
            Self::Text(vocabulary) => vocabulary.len(),
            Self::Number(bins) => bins.len(),
            Self::Category(values) => values.len(),
        }
    }
}

/// How features are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureOptions {
    /// Texts an n-gram must occur in.
    pub documents_min: u32,
    /// N-grams of all text columns at most.
    pub ngrams_max: usize,
    /// Bins of a number at most.
    pub bins_max: usize,
}

/// The features of a row: positions and weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EncodedRow {
    /// Positions in the first layer, ascending.
    pub features: Vec<u32>,
    /// Their weights.
    pub weights: Vec<f32>,
    /// Share of the row that training never saw, 0 to 1: n-grams that are no features, values out
    /// of range, unknown categories; the mean over columns.
    pub unseen: f32,
}

/// The features of all columns; a column's are contiguous.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSpace {
    columns: Vec<ColumnFeatures>,
    offsets: Vec<u32>,
    len: usize,
}

impl FeatureSpace {
    /// Learns features from rows.
    #[must_use]
    pub fn fit(columns: &[ModelColumn], rows: &[&ModelRow], options: FeatureOptions) -> Self {
        let texts = columns.iter().filter(|column| column.kind == ColumnKind::Text).count();
        let fitted = columns.iter().enumerate().map(|(index, column)| match column.kind {
            ColumnKind::Text => {
                let cells = rows.iter().map(|row| text(&row[index]).unwrap_or_default());
                let most = options.ngrams_max / texts.max(1);
                ColumnFeatures::Text(Vocabulary::fit(cells, options.documents_min, most))
            }
            ColumnKind::Number => {
                let values: Vec<f64> = rows.iter().filter_map(|row| number(&row[index])).collect();
                ColumnFeatures::Number(NumberBins::fit(&values, options.bins_max))
            }
            ColumnKind::Category => {
                let cells = rows.iter().map(|row| text(&row[index]));
                // A category of one row says nothing about others, unless there are few rows.
                let rows_min = if rows.len() < 1_000 { 1 } else { 2 };
                ColumnFeatures::Category(CategoryValues::fit(cells, rows_min))
            }
        });
        Self::assemble(fitted.collect())
    }

    /// The space of these columns.
    #[must_use]
    pub fn assemble(columns: Vec<ColumnFeatures>) -> Self {
        let mut offsets = Vec::with_capacity(columns.len());
        let mut len = 0usize;
        for column in &columns {
            offsets.push(len as u32);
            len += column.len();
        }
        Self { columns, offsets, len }
    }

    /// Number of features.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[ColumnFeatures] {
        &self.columns
    }

    /// The features of a column.
    #[must_use]
    pub fn range(&self, column: usize) -> std::ops::Range<usize> {
        let start = self.offsets[column] as usize;
        start..start + self.columns[column].len()
    }

    /// Memory it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let column = |column: &ColumnFeatures| match column {
            ColumnFeatures::Text(vocabulary) => vocabulary.bytes(),
            ColumnFeatures::Number(bins) => bins.edges.len() * 4,
            ColumnFeatures::Category(values) => {
                values.values.iter().map(|value| value.len() + 24).sum()
            }
        };
        self.columns.iter().map(column).sum()
    }

    /// Checks that a row has a cell of the right kind for every column.
    ///
    /// # Errors
    /// [`NeuralError::Input`] naming the column; `index` is the row's place in its batch.
    pub fn check(
        &self,
        names: &[ModelColumn],
        row: &ModelRow,
        index: usize,
    ) -> Result<(), NeuralError> {
        let refuse = |detail: String| Err(NeuralError::Input { row: index, detail });
        if row.len() != self.columns.len() {
            return refuse(format!("{} cells, the model reads {}", row.len(), self.columns.len()));
        }
        for ((cell, column), name) in row.iter().zip(&self.columns).zip(names) {
            let name = &name.name;
            match (cell, column) {
                (ModelValue::Missing, _)
                | (ModelValue::Text(_), ColumnFeatures::Text(_) | ColumnFeatures::Category(_)) => {}
                (ModelValue::Number(value), ColumnFeatures::Number(_)) if value.is_finite() => {}
                (ModelValue::Number(_), ColumnFeatures::Number(_)) => {
                    return refuse(format!("column `{name}` is not a finite number"));
                }
                (ModelValue::Number(_), _) => {
                    return refuse(format!("column `{name}` is a number, the model reads text"));
                }
                (ModelValue::Text(_), ColumnFeatures::Number(_)) => {
                    return refuse(format!("column `{name}` is text, the model reads a number"));
                }
            }
        }
        Ok(())
    }

    /// The features of a checked row, for the first layer as trained (`accumulated` false) or with
    /// its number columns summed up (true, see [`FeatureSpace::accumulate`]).
    #[must_use]
    pub fn encode(&self, row: &ModelRow, accumulated: bool) -> EncodedRow {
        let mut encoded = EncodedRow::default();
        let mut unseen = 0.0;
        for ((cell, column), &offset) in row.iter().zip(&self.columns).zip(&self.offsets) {
            let target = (&mut encoded.features, &mut encoded.weights);
            match column {
                ColumnFeatures::Text(vocabulary) => {
                    let cell = text(cell).unwrap_or_default();
                    let Coverage { total, unseen: new } = vocabulary.encode(cell, offset, target);
                    // A text without any n-gram is as unknown as one of unknown n-grams.
                    unseen += if total == 0 { 1.0 } else { new as f32 / total as f32 };
                }
                ColumnFeatures::Number(bins) => {
                    let value = number(cell);
                    let push = |feature: usize, weight: f32| {
                        target.0.push(offset + feature as u32);
                        target.1.push(weight);
                    };
                    if accumulated {
                        bins.encode_accumulated(value, push);
                    } else {
                        bins.encode(value, push);
                    }
                    unseen += f32::from(u8::from(value.is_some_and(|v| bins.is_outside(v))));
                }
                ColumnFeatures::Category(values) => {
                    target.0.push(offset + values.feature(text(cell)) as u32);
                    target.1.push(1.0);
                    unseen += f32::from(u8::from(values.is_unknown(text(cell))));
                }
            }
        }
        encoded.unseen = unseen / self.columns.len().max(1) as f32;
        encoded
    }

    /// The features of each number column.
    #[must_use]
    pub fn number_ranges(&self) -> Vec<std::ops::Range<usize>> {
        let is_number = |index: &usize| matches!(self.columns[*index], ColumnFeatures::Number(_));
        (0..self.columns.len()).filter(is_number).map(|index| self.range(index)).collect()
    }

    /// The features of each text column.
    #[must_use]
    pub fn text_ranges(&self) -> Vec<std::ops::Range<usize>> {
        let is_text = |index: &usize| matches!(self.columns[*index], ColumnFeatures::Text(_));
        (0..self.columns.len()).filter(is_text).map(|index| self.range(index)).collect()
    }

    /// Sums up the rows of number columns in a first layer (`len() * width`, row-major).
    pub fn accumulate(&self, table: &mut [f32], width: usize) {
        for (index, column) in self.columns.iter().enumerate() {
            if let ColumnFeatures::Number(bins) = column {
                let range = self.range(index);
                bins.accumulate(&mut table[range.start * width..range.end * width], width);
            }
        }
    }
}

/// The text of a cell.
pub fn text(cell: &ModelValue) -> Option<&str> {
    match cell {
        ModelValue::Text(text) => Some(text),
        ModelValue::Missing | ModelValue::Number(_) => None,
    }
}

/// The number of a cell.
pub fn number(cell: &ModelValue) -> Option<f64> {
    match cell {
        ModelValue::Number(number) => Some(*number),
        ModelValue::Missing | ModelValue::Text(_) => None,
    }
}
