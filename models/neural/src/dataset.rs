//! Labelled rows: columns, cells and labels, read from CSV.

mod kinds;
mod reader;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use verdict_config::csv::CsvRecord;
use verdict_config::model::{ColumnKind, ModelColumn, ModelManifest, ModelRow, ModelValue};
use verdict_config::{Code, Fault, Faults};

use reader::{Cells, fault_at};

/// Which columns, beside the texts, a model reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FeatureSelection {
    /// None: the texts alone. Without any text column the same as `All`.
    #[default]
    None,
    /// Every column that is neither the label nor one of the texts.
    All,
    /// These.
    Columns(Vec<String>),
}

/// How a CSV file becomes a [`Dataset`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatasetOptions {
    /// The label column; `None` reads rows without labels.
    pub label: Option<String>,
    /// The text columns.
    pub text: Vec<String>,
    /// The other columns.
    pub features: FeatureSelection,
    /// Kinds of columns that are known, for example from the fields of a flow. Others are inferred.
    pub kinds: BTreeMap<String, ColumnKind>,
}

/// Rows with their columns and, where known, labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    /// The columns, in the order of a row's cells.
    pub columns: Vec<ModelColumn>,
    /// The rows.
    pub rows: Vec<ModelRow>,
    /// The distinct labels, sorted.
    pub label_names: Vec<String>,
    /// The label of each row as an index into `label_names`; empty where none was read.
    pub labels: Vec<u32>,
    /// SHA-256 of the file it was read from, hex.
    pub sha256: Option<String>,
    /// Choices of the reader that could be doubted, as sentences without a full stop.
    pub notes: Vec<String>,
}

/// Distinct labels at most.
pub const LABELS_MAX: usize = 8_192;

impl Dataset {
    /// Reads a CSV file (UTF-8, header line, RFC 4180 quotes).
    ///
    /// Kinds of columns that `options` does not give are inferred. The columns named as texts are
    /// texts. A column whose cells are numbers, or empty, or a usual word for "no value", is a number;
    /// so is one with up to 5 % of other cells, which count as absent, with a note. Digits that are
    /// codes (a leading 0, or a name such as `mcc`) are a category. Any other column is a category,
    /// unless no text was named and its cells read like sentences (three words on average, mostly
    /// distinct), which makes it a text.
    ///
    /// # Errors
    /// Every fault found (up to 100), each naming its line and column.
    pub fn from_csv(bytes: &[u8], options: &DatasetOptions) -> Result<Self, Faults> {
        let cells = Cells::read(bytes)?;
        let mut faults = Faults::new();
        let label =
            options.label.as_ref().and_then(|name| cells.column(name, "label", &mut faults));
        let texts: Vec<usize> = options
            .text
            .iter()
            .filter_map(|name| cells.column(name, "text", &mut faults))
            .collect();
        let others: Vec<usize> = match &options.features {
            FeatureSelection::None if !options.text.is_empty() => Vec::new(),
            FeatureSelection::None | FeatureSelection::All => (0..cells.names.len()).collect(),
            FeatureSelection::Columns(names) => {
                names.iter().filter_map(|name| cells.column(name, "feature", &mut faults)).collect()
            }
        };
        let mut chosen = texts.clone();
        for column in others {
            if !chosen.contains(&column) && Some(column) != label {
                chosen.push(column);
            }
        }
        if label.is_some_and(|label| chosen.contains(&label)) {
            let detail = "the label column cannot be one of the inputs";
            faults.push(Fault::new(Code::TrainingData, "label", detail));
        }
        if chosen.is_empty() && faults.is_empty() {
            let detail = "no input columns: name texts, features, or both";
            faults.push(Fault::new(Code::TrainingData, "", detail));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut notes = Vec::new();
        let mut columns = Vec::with_capacity(chosen.len());
        for column in chosen {
            let name = cells.names[column].clone();
            let kind = match options.kinds.get(&name) {
                _ if texts.contains(&column) => ColumnKind::Text,
                Some(ColumnKind::Number) => {
                    // Where too many cells are no numbers, each of them becomes a fault below.
                    if let Ok(note) = kinds::check_numbers(&cells, column) {
                        notes.extend(note);
                    }
                    ColumnKind::Number
                }
                Some(kind) => *kind,
                None => {
                    let inferred = kinds::infer(&cells, column, texts.is_empty());
                    notes.extend(inferred.note);
                    inferred.kind
                }
            };
            columns.push((column, ModelColumn { name, kind }));
        }
        let passed_over: Vec<usize> = columns
            .iter()
            .filter(|(_, model_column)| model_column.kind == ColumnKind::Number)
            .filter(|(column, _)| kinds::check_numbers(&cells, *column).is_ok())
            .map(|(column, _)| *column)
            .collect();
        let mut dataset = Self::assemble(bytes, &cells, &columns, (label, &passed_over))?;
        dataset.notes = notes;
        Ok(dataset)
    }

    /// Reads the columns of a model from a CSV file, with the kinds that the model gives them. A
    /// file without one of the columns is refused; other columns are ignored.
    ///
    /// # Errors
    /// Every fault found (up to 100), each naming its row and column.
    pub fn for_model(
        bytes: &[u8],
        manifest: &ModelManifest,
        label: Option<&str>,
    ) -> Result<Self, Faults> {
        let cells = Cells::read(bytes)?;
        let mut faults = Faults::new();
        let label = label.and_then(|name| cells.column(name, "label", &mut faults));
        let columns: Vec<(usize, ModelColumn)> = manifest
            .columns
            .iter()
            .filter_map(|column| {
                let at = cells.column(&column.name, "input", &mut faults)?;
                Some((at, column.clone()))
            })
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        Self::assemble(bytes, &cells, &columns, (label, &[]))
    }

    /// The dataset of some columns. Cells of columns in `passed_over` that are no numbers are absent;
    /// those of others are faults.
    fn assemble(
        bytes: &[u8],
        cells: &Cells,
        columns: &[(usize, ModelColumn)],
        (label, passed_over): (Option<usize>, &[usize]),
    ) -> Result<Self, Faults> {
        let mut faults = Faults::new();
        let mut rows = Vec::with_capacity(cells.records.len());
        for (index, record) in cells.records.iter().enumerate() {
            let mut row = ModelRow::with_capacity(columns.len());
            for (column, model_column) in columns {
                let text = record.get(*column).unwrap_or_default();
                if passed_over.contains(column) && !kinds::is_number(text) {
                    row.push(ModelValue::Missing);
                    continue;
                }
                match cell(text, model_column.kind) {
                    Ok(cell) => row.push(cell),
                    Err(detail) => {
                        faults.push(fault_at(cells, index, *column, &detail));
                        row.push(ModelValue::Missing);
                    }
                }
            }
            rows.push(row);
        }
        let (label_names, labels) = match label {
            Some(column) => labels(cells, column, &mut faults),
            None => (Vec::new(), Vec::new()),
        };
        faults.truncate(reader::FAULTS_MAX);
        if !faults.is_empty() {
            return Err(faults);
        }
        let columns = columns.iter().map(|(_, column)| column.clone()).collect();
        let sha256 = Some(hex::encode(Sha256::digest(bytes)));
        Ok(Self { columns, rows, label_names, labels, sha256, notes: Vec::new() })
    }

    /// The rows for which `keep` is true, with the same columns and label names.
    #[must_use]
    pub fn part(&self, mut keep: impl FnMut(usize, &ModelRow) -> bool) -> Self {
        let mut part = Self {
            columns: self.columns.clone(),
            label_names: self.label_names.clone(),
            sha256: self.sha256.clone(),
            ..Self::default()
        };
        for (index, row) in self.rows.iter().enumerate() {
            if keep(index, row) {
                part.rows.push(row.clone());
                part.labels.extend(self.labels.get(index));
            }
        }
        part
    }
}

fn cell(text: &str, kind: ColumnKind) -> Result<ModelValue, String> {
    match kind {
        ColumnKind::Text => Ok(ModelValue::Text(text.to_owned())),
        ColumnKind::Category => {
            let text = text.trim();
            Ok(if text.is_empty() {
                ModelValue::Missing
            } else {
                ModelValue::Text(text.to_owned())
            })
        }
        ColumnKind::Number => reader::number(text),
    }
}

fn labels(cells: &Cells, column: usize, faults: &mut Faults) -> (Vec<String>, Vec<u32>) {
    let mut names = BTreeMap::<&str, u32>::new();
    for (index, record) in cells.records.iter().enumerate() {
        let label = record.get(column).unwrap_or_default().trim();
        if label.is_empty() {
            let detail = "the label is empty: fill it in, or remove the row";
            faults.push(fault_at(cells, index, column, detail));
        }
        names.entry(label).or_default();
    }
    if names.len() > LABELS_MAX {
        let detail = format!(
            "column `{}` has {} distinct labels, at most {LABELS_MAX} are possible",
            cells.names[column],
            names.len()
        );
        faults.push(Fault::new(Code::TrainingData, "label", detail));
    }
    for (position, index) in names.values_mut().enumerate() {
        *index = position as u32;
    }
    let of_record = |record: &CsvRecord| {
        names.get(record.get(column).unwrap_or_default().trim()).copied().unwrap_or_default()
    };
    let labels = cells.records.iter().map(of_record).collect();
    (names.keys().map(|&name| name.to_owned()).collect(), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(label: &str, text: &[&str], features: FeatureSelection) -> DatasetOptions {
        DatasetOptions {
            label: Some(label.to_owned()),
            text: text.iter().map(|&name| name.to_owned()).collect(),
            features,
            kinds: BTreeMap::new(),
        }
    }

    fn kinds(dataset: &Dataset) -> Vec<(&str, ColumnKind)> {
        dataset.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect()
    }

    const FILE: &str = "text,size,colour,label\n\"red, cat\",1.5,red,b\ndog,,blue,a\nfox,-2e3,,b\n";

    #[test]
    fn kinds_are_inferred_and_cells_read() {
        let all = options("label", &["text"], FeatureSelection::All);
        let dataset = Dataset::from_csv(FILE.as_bytes(), &all).unwrap();
        let expected = [
            ("text", ColumnKind::Text),
            ("size", ColumnKind::Number),
            ("colour", ColumnKind::Category),
        ];
        assert_eq!(kinds(&dataset), expected);
        assert_eq!(dataset.label_names, ["a", "b"]);
        assert_eq!(dataset.labels, [1, 0, 1]);
        assert_eq!(dataset.rows[1][1], ModelValue::Missing);
        assert_eq!(
            dataset.rows[2],
            [ModelValue::Text("fox".to_owned()), ModelValue::Number(-2000.0), ModelValue::Missing]
        );
        assert_eq!(dataset.sha256.as_ref().map(String::len), Some(64));
    }

    #[test]
    fn columns_are_chosen() {
        let check = |text: &[&str], features, expected: &[&str]| {
            let dataset = Dataset::from_csv(FILE.as_bytes(), &options("label", text, features));
            let dataset = dataset.unwrap();
            let names: Vec<&str> = kinds(&dataset).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, expected);
        };
        check(&["text"], FeatureSelection::None, &["text"]);
        check(&[], FeatureSelection::None, &["text", "size", "colour"]);
        check(&["text"], FeatureSelection::Columns(vec!["colour".to_owned()]), &["text", "colour"]);
        check(&[], FeatureSelection::Columns(vec!["size".to_owned()]), &["size"]);
    }

    #[test]
    fn sentences_are_texts_when_none_is_named() {
        let mut file = String::from("body,label\n");
        for index in 0..30 {
            file.push_str(&format!("this is sentence number {index},x{}\n", index % 2));
        }
        let all = options("label", &[], FeatureSelection::All);
        let dataset = Dataset::from_csv(file.as_bytes(), &all).unwrap();
        assert_eq!(kinds(&dataset), [("body", ColumnKind::Text)]);
    }

    #[test]
    fn faults_name_row_and_column() {
        let check = |file: &[u8], place: Option<(u32, u32)>, part: &str| {
            let all = options("label", &[], FeatureSelection::All);
            let faults = Dataset::from_csv(file, &all).unwrap_err();
            let found = faults.iter().any(|fault| {
                fault.message.contains(part)
                    && place.is_none_or(|(line, column)| {
                        (fault.line, fault.column) == (Some(line), Some(column))
                    })
            });
            assert!(found, "{faults:?}");
        };
        check(b"a,b\n1,2\n", None, "label");
        check(b"a,label\n1,x\n2\n", Some((3, 1)), "1 cell");
        check(b"a,label\n1,x\n2,\n", Some((3, 3)), "empty");
        check(b"a,label\n1,x\ninf,y\n", Some((3, 1)), "finite");
        check(b"a,label\n1,x\n\xff,y\n", Some((3, 1)), "UTF-8");
        check(b"a,a,label\n1,2,x\n", None, "twice");
        check(b"a,label\n", None, "no rows");
        check(b"", None, "empty");
        check(b"label\nx\n", None, "no input columns");
    }

    #[test]
    fn known_kinds_win_over_inference() {
        let file = "mcc,amount,label\n5411,1,x\n7995,true,y\n";
        let mut all = options("label", &[], FeatureSelection::All);
        assert_eq!(
            kinds(&Dataset::from_csv(file.as_bytes(), &all).unwrap()),
            [("mcc", ColumnKind::Category), ("amount", ColumnKind::Category)]
        );
        all.kinds.insert("mcc".to_owned(), ColumnKind::Number);
        all.kinds.insert("amount".to_owned(), ColumnKind::Number);
        let dataset = Dataset::from_csv(file.as_bytes(), &all).unwrap();
        assert_eq!(kinds(&dataset), [("mcc", ColumnKind::Number), ("amount", ColumnKind::Number)]);
        assert_eq!(dataset.rows[1][1], ModelValue::Number(1.0));
        let file = "amount,label\n1,x\nmuch,y\n";
        let faults = Dataset::from_csv(file.as_bytes(), &all).unwrap_err();
        assert_eq!((faults[0].line, faults[0].column), (Some(3), Some(1)));
    }

    #[test]
    fn a_quote_that_is_never_closed_is_refused_where_it_opens() {
        let all = options("label", &[], FeatureSelection::All);
        let faults = Dataset::from_csv(b"a,label\n1,x\n\"2,y\n3,z\n", &all).unwrap_err();
        assert_eq!(faults[0].line, Some(3), "{faults:?}");
    }

    #[test]
    fn a_models_columns_are_read_with_its_kinds() {
        let all = options("label", &["text"], FeatureSelection::All);
        let columns = Dataset::from_csv(FILE.as_bytes(), &all).unwrap().columns;
        let manifest = ModelManifest {
            format: 1,
            name: "m".to_owned(),
            version: "1".to_owned(),
            task: verdict_config::model::ModelTask::Classification,
            network: "joined_mlp".to_owned(),
            labels: vec![],
            positive_label: None,
            columns,
            temperature: 1.0,
            ood_threshold: None,
            metrics: Default::default(),
            training_data_sha256: None,
            seed: 1,
            parent: None,
            licence: None,
            reference_profile: None,
        };
        let file = "colour,size,text\nred,NA,x\nred,much,x\n";
        let faults = Dataset::for_model(file.as_bytes(), &manifest, None).unwrap_err();
        assert_eq!((faults[0].line, faults[0].column), (Some(3), Some(5)));
        let file = "colour,size,text\nred,NA,x\n";
        let dataset = Dataset::for_model(file.as_bytes(), &manifest, None).unwrap();
        assert_eq!(dataset.rows[0][1], ModelValue::Missing);
        assert!(Dataset::for_model(b"size\n1\n", &manifest, Some("label")).unwrap_err().len() >= 3);
    }
}
