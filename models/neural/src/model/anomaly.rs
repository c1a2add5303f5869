//! An isolation forest over numbers and categories.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use verdict_config::model::{
    ColumnKind, ModelColumn, ModelManifest, ModelOutput, ModelRow, ModelValue,
};
use verdict_stats::forest::{ForestOptions, IsolationForest};

use crate::NeuralError;
use crate::features::{number, text};
use crate::model::Contribution;

/// The kernel's name in answers and records.
pub const KERNEL: &str = "isolation_forest";

/// How a column becomes numbers that can be split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AnomalyColumn {
    /// A number; absent ones are read as the median, and said to be absent by a second value.
    Number {
        /// The median of the training data.
        typical: f32,
    },
    /// A category: its rarity, `-ln` of its share of the training rows, since order among
    /// categories means nothing. Unknown ones are the rarest.
    Category {
        /// Rarity of each category.
        rarity: BTreeMap<String, f32>,
        /// Rarity of a row without one.
        missing: f32,
        /// Rarity of a category that training never saw.
        unknown: f32,
    },
}

impl AnomalyColumn {
    const fn len(&self) -> usize {
        match self {
            Self::Number { .. } => 2,
            Self::Category { .. } => 1,
        }
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Number { typical } => typical.is_finite(),
            Self::Category { rarity, missing, unknown } => {
                rarity.values().chain([missing, unknown]).all(|value| value.is_finite())
            }
        }
    }
}

/// A forest with its columns.
#[derive(Debug, Clone)]
pub struct AnomalyModel {
    columns: Vec<AnomalyColumn>,
    forest: IsolationForest,
}

impl AnomalyModel {
    /// Grows a forest on rows.
    pub fn fit(columns: &[ModelColumn], rows: &[ModelRow], seed: u64) -> Result<Self, NeuralError> {
        let mut fitted = Vec::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            let cells = rows.iter().map(|row| &row[index]);
            fitted.push(match column.kind {
                ColumnKind::Number => {
                    let mut values: Vec<f32> = cells.filter_map(number).map(narrow).collect();
                    values.sort_by(f32::total_cmp);
                    let typical = values.get(values.len() / 2).copied().unwrap_or(0.0);
                    AnomalyColumn::Number { typical }
                }
                ColumnKind::Category => rarities(cells.map(text), rows.len()),
                ColumnKind::Text => {
                    let detail = format!(
                        "an isolation forest cannot read the text column `{}`",
                        column.name
                    );
                    return Err(NeuralError::Training { detail });
                }
            });
        }
        let width: usize = fitted.iter().map(AnomalyColumn::len).sum();
        let mut values = Vec::with_capacity(rows.len() * width);
        for row in rows {
            encode(&fitted, row, &mut values);
        }
        let options = ForestOptions { trees: 200, sample: 256, seed };
        let forest = IsolationForest::fit(&values, width, options)
            .map_err(|error| NeuralError::training(error.to_string()))?;
        Ok(Self { columns: fitted, forest })
    }

    /// A model from its parts; `None` where they do not fit together.
    pub fn from_parts(columns: Vec<AnomalyColumn>, forest: IsolationForest) -> Option<Self> {
        let width: usize = columns.iter().map(AnomalyColumn::len).sum();
        let sound = width == forest.features() && columns.iter().all(AnomalyColumn::is_sound);
        sound.then_some(Self { columns, forest })
    }

    pub(crate) fn columns(&self) -> &[AnomalyColumn] {
        &self.columns
    }

    pub(crate) fn forest(&self) -> &IsolationForest {
        &self.forest
    }

    /// Memory it holds, in bytes.
    pub fn bytes(&self) -> usize {
        let column = |column: &AnomalyColumn| match column {
            AnomalyColumn::Number { .. } => 8,
            AnomalyColumn::Category { rarity, .. } => rarity.keys().map(|key| key.len() + 40).sum(),
        };
        self.forest.bytes() + self.columns.iter().map(column).sum::<usize>()
    }

    /// One score in 0 to 1 for each row.
    pub fn predict(
        &self,
        manifest: &ModelManifest,
        rows: &[ModelRow],
    ) -> Result<Vec<ModelOutput>, NeuralError> {
        let score = |(index, row): (usize, &ModelRow)| {
            let values = self.values(manifest, row, index)?;
            let refuse = || NeuralError::Input { row: index, detail: "not finite".to_owned() };
            let score = self.forest.score(&values).ok_or_else(refuse)?;
            let scores = vec![score as f32];
            Ok(ModelOutput { scores, ood_distance: None, kernel: KERNEL.to_owned() })
        };
        rows.iter().enumerate().map(score).collect()
    }

    /// What each column adds to how unusual a row is.
    pub fn explain(
        &self,
        manifest: &ModelManifest,
        row: &ModelRow,
        label: usize,
    ) -> Result<Vec<Contribution>, NeuralError> {
        let refuse = |detail: &str| NeuralError::Input { row: 0, detail: detail.to_owned() };
        if label != 0 {
            return Err(refuse("an anomaly model has one score"));
        }
        let values = self.values(manifest, row, 0)?;
        let shares = self.forest.contributions(&values).ok_or_else(|| refuse("not finite"))?;
        let mut at = 0;
        let mut contributions = Vec::with_capacity(row.len());
        for ((column, name), cell) in self.columns.iter().zip(&manifest.columns).zip(row) {
            let value: f64 = shares[at..at + column.len()].iter().sum();
            at += column.len();
            let feature = match cell {
                ModelValue::Missing => "missing".to_owned(),
                ModelValue::Text(text) => text.clone(),
                ModelValue::Number(number) => number.to_string(),
            };
            let column = name.name.clone();
            contributions.push(Contribution { column, feature, value: value as f32 });
        }
        Ok(contributions)
    }

    fn values(
        &self,
        manifest: &ModelManifest,
        row: &ModelRow,
        index: usize,
    ) -> Result<Vec<f32>, NeuralError> {
        let refuse = |detail: String| Err(NeuralError::Input { row: index, detail });
        if row.len() != self.columns.len() {
            return refuse(format!("{} cells, the model reads {}", row.len(), self.columns.len()));
        }
        for ((cell, column), name) in row.iter().zip(&self.columns).zip(&manifest.columns) {
            let fits = match (cell, column) {
                (ModelValue::Missing, _)
                | (ModelValue::Text(_), AnomalyColumn::Category { .. }) => true,
                (ModelValue::Number(number), AnomalyColumn::Number { .. }) => number.is_finite(),
                (ModelValue::Text(_) | ModelValue::Number(_), _) => false,
            };
            if !fits {
                return refuse(format!("column `{}` has a value of the wrong kind", name.name));
            }
        }
        let mut values = Vec::new();
        encode(&self.columns, row, &mut values);
        Ok(values)
    }
}

fn encode(columns: &[AnomalyColumn], row: &ModelRow, values: &mut Vec<f32>) {
    for (column, cell) in columns.iter().zip(row) {
        match column {
            AnomalyColumn::Number { typical } => {
                let number = number(cell);
                values.push(number.map_or(*typical, narrow));
                values.push(f32::from(u8::from(number.is_none())));
            }
            AnomalyColumn::Category { rarity, missing, unknown } => {
                values.push(match text(cell) {
                    None => *missing,
                    Some(text) => rarity.get(text).copied().unwrap_or(*unknown),
                });
            }
        }
    }
}

fn rarities<'a>(cells: impl Iterator<Item = Option<&'a str>>, rows: usize) -> AnomalyColumn {
    let mut counts = BTreeMap::<Option<&str>, usize>::new();
    for cell in cells {
        *counts.entry(cell).or_default() += 1;
    }
    let rarity = |count: usize| -((count as f32 + 1.0) / (rows as f32 + 1.0)).ln();
    AnomalyColumn::Category {
        missing: rarity(counts.get(&None).copied().unwrap_or(0)),
        unknown: rarity(0),
        rarity: counts
            .into_iter()
            .filter_map(|(value, count)| Some((value?.to_owned(), rarity(count))))
            .collect(),
    }
}

fn narrow(value: f64) -> f32 {
    (value as f32).clamp(f32::MIN, f32::MAX)
}
