//! `decide`: a file of records through a flow, offline against a catalogue or by a node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value as Json, json};
use verdict_config::definition::FlowDefinition;
use verdict_config::{Field, FieldType};

use super::client::{Client, segment};
use super::connect::Target;
use super::data::{self, Records};
use super::{EXIT_FAULTS, EXIT_OK, Failure, Outcome};
use crate::output::{HEAD, Output};
use crate::reasons;

mod columns;
mod measure;
mod offline;

use columns::ColumnUse;

pub const DECIDE_HELP: &str = "Examples:
  verdict decide --catalogue ./catalogue --flow message --data messages.csv --out decided.csv
  verdict decide --flow payment --data payments.jsonl --url http://127.0.0.1:7700 --out decided.jsonl
  verdict decide --catalogue ./catalogue --flow spam --data held-out.csv --label label --json";

/// Records that one request to a node carries.
const BATCH: usize = 200;

/// Arguments of `decide`.
#[derive(Debug, Args)]
pub struct DecideArgs {
    /// The flow.
    #[arg(long, value_name = "NAME")]
    flow: String,
    /// Records: CSV with a header line, or JSON lines (.jsonl, .ndjson, .json).
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// File that the records are written to, with their decisions.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Column of the true label; measures are printed.
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// The label that risk stands for, where the flow does not classify.
    #[arg(long, value_name = "LABEL", requires = "label")]
    positive: Option<String>,
    /// Column of the unit.
    #[arg(long, value_name = "COLUMN")]
    unit: Option<String>,
    /// Column of the time that a record is decided as of.
    #[arg(long, value_name = "COLUMN")]
    as_of: Option<String>,
    /// Catalogue folder to decide by, without a node.
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    catalogue: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// A decision, or the problem in its place.
pub(super) type Decided = Result<Json, Json>;

/// The decisions of a file's records, and what the flow read of it.
pub(super) struct DecidedFile {
    /// One a record, in their order.
    pub decided: Vec<Decided>,
    /// Which columns were read.
    pub columns: ColumnUse,
    /// How many alternatives each decision names at most.
    pub alternatives: usize,
    /// How many of them are the flow's own; more are named where measures need them.
    pub shown_alternatives: Option<usize>,
}

impl DecidedFile {
    /// Leaves of each decision what the flow names by itself.
    fn cut_alternatives(&mut self) {
        let Some(most) = self.shown_alternatives else { return };
        for decision in self.decided.iter_mut().flatten() {
            if let Some(named) = decision["classification"]["alternatives"].as_array_mut() {
                named.truncate(most);
            }
        }
    }
}

/// Decides every record of a file.
pub fn decide(arguments: &DecideArgs, output: &Output) -> Outcome {
    if let Some(out) = &arguments.out {
        data::check_out_file(out, output.is_json())?;
    }
    let records = data::read_records(&arguments.data)?;
    let given = [&arguments.label, &arguments.unit, &arguments.as_of];
    columns::check_named(&records, given.into_iter().flatten(), &arguments.data)?;
    let names = records.added_columns(COLUMNS)?;
    let mut file = match &arguments.catalogue {
        Some(catalogue) => offline::decide(catalogue, arguments, &records, output)?,
        None => by_node(&arguments.target.connect()?, arguments, &records, output)?,
    };
    file.columns.note(output);
    let measures = arguments
        .label
        .as_ref()
        .map(|label| measure::measure(&records, &file, label, arguments.positive.as_deref()));
    file.cut_alternatives();
    let DecidedFile { decided, columns, .. } = file;
    if let Some(out) = &arguments.out {
        write(out, &records, &decided, &names)?;
    }
    let summary = summary(&decided);
    for note in measures.iter().flat_map(|measures| &measures.notes) {
        output.warn(note);
    }
    let measures = measures.map(|measures| measures.json);
    let failed = decided.iter().filter(|decided| decided.is_err()).count();
    if output.is_json() {
        let mut json = as_json(&summary, measures.as_ref(), arguments);
        json["columns"] = columns.json();
        output.json(&json);
    } else {
        tell(&summary, measures.as_ref(), arguments, output);
    }
    if let Some(problem) = decided.iter().find_map(|decided| decided.as_ref().err()) {
        let noun = if failed == 1 { "record was" } else { "records were" };
        output.warn(format!("{failed} {noun} not decided; the first: {}", problem_text(problem)));
    }
    Ok(if failed == 0 { EXIT_OK } else { EXIT_FAULTS })
}

/// The request body of one record.
fn request(flow: &FlowDefinition, arguments: &DecideArgs, row: &Map<String, Json>) -> Json {
    let mut input = Map::new();
    for (name, field) in &flow.fields {
        let value = row.get(name).map_or(Json::Null, |value| typed(field, value));
        if !value.is_null() {
            input.insert(name.clone(), value);
        }
    }
    let mut body = json!({ "input": input });
    let given = [("unit", &arguments.unit), ("as_of", &arguments.as_of)];
    for (key, column) in given {
        let value = column.as_ref().and_then(|column| row.get(column));
        if let Some(value) = value.filter(|value| !value.is_null()) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            body[key] = Json::from(text);
        }
    }
    body
}

/// A CSV cell as the field's type; what does not fit stays text, and the flow says what is wrong.
fn typed(field: &Field, value: &Json) -> Json {
    let Some(text) = value.as_str() else { return value.clone() };
    let plain = text.trim();
    match field.field_type {
        FieldType::Bool => match plain.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => true.into(),
            "false" | "0" | "no" => false.into(),
            _ => value.clone(),
        },
        FieldType::Int | FieldType::Float => {
            let number = serde_json::from_str::<serde_json::Number>(plain).ok();
            let float = || plain.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            number.or_else(float).map_or_else(|| value.clone(), Json::Number)
        }
        FieldType::Set => {
            let items = plain.split([';', '|']).map(str::trim).filter(|item| !item.is_empty());
            items.collect()
        }
        FieldType::Decimal | FieldType::Time => plain.into(),
        // A blank behind a comma is no part of a code.
        FieldType::Symbol if plain.is_empty() => Json::Null,
        FieldType::Symbol => plain.into(),
        FieldType::String => value.clone(),
    }
}

fn by_node(
    client: &Client,
    arguments: &DecideArgs,
    records: &Records,
    output: &Output,
) -> Result<DecidedFile, Failure> {
    let flow = segment(&arguments.flow);
    let object = client.get(&format!("/v1/objects/flow/{flow}"))?;
    let definition: FlowDefinition =
        serde_json::from_value(object["body"].clone()).map_err(|error| {
            let reason = reasons::json(&error);
            Failure::new(format!(
                "the node's flow {} cannot be read by this program: {reason}. Use a program of the \
                 node's version",
                arguments.flow
            ))
        })?;
    let columns = ColumnUse::check(&definition, arguments, records)?;
    let bar = output.progress(records.rows.len() as u64, "deciding");
    let mut decided = Vec::with_capacity(records.rows.len());
    for chunk in records.rows.chunks(BATCH) {
        let items: Vec<Json> =
            chunk.iter().map(|row| request(&definition, arguments, row)).collect();
        let path = format!("/v1/decisions/{flow}:batch");
        let mut answer = post_patiently(client, &path, &json!({ "items": items }))?;
        let answers = answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        if answers.len() != chunk.len() {
            return Err(Failure::new("the node answered another number of decisions"));
        }
        decided.extend(answers.into_iter().map(|answer| {
            if answer.get("decision_id").is_some() { Ok(answer) } else { Err(answer) }
        }));
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    let alternatives = alternatives(&definition);
    Ok(DecidedFile { decided, columns, alternatives, shown_alternatives: None })
}

/// How many alternatives a flow's decisions name at most.
pub(super) fn alternatives(definition: &FlowDefinition) -> usize {
    definition.classify.as_ref().map_or(0, |classify| usize::from(classify.alternatives))
}

/// A busy node is asked again, for a bounded time.
fn post_patiently(client: &Client, path: &str, body: &Json) -> Result<Json, Failure> {
    let bytes = serde_json::to_vec(body).map_err(anyhow::Error::from)?;
    for _ in 0..20 {
        let answer = client.try_send(path, "application/json", &bytes)?;
        if answer.status != 429 {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    client.post(path, body)
}

/// The columns that a CSV file gets.
const COLUMNS: [&str; 8] = [
    "predicted",
    "score",
    "outcome",
    "risk_score",
    "risk_level",
    "reasons",
    "decision_id",
    "problem",
];

fn write(
    out: &Path,
    records: &Records,
    decided: &[Decided],
    names: &[String; 8],
) -> Result<(), Failure> {
    let mut written = records.clone();
    if data::is_json_lines(out) {
        for (row, decided) in written.rows.iter_mut().zip(decided) {
            let (Ok(value) | Err(value)) = decided;
            let key = if decided.is_ok() { "decision" } else { "problem" };
            *row = Map::from_iter([
                ("record".to_owned(), Json::Object(std::mem::take(row))),
                (key.to_owned(), value.clone()),
            ]);
        }
        return data::write_records(out, &written);
    }
    for (row, decided) in written.rows.iter_mut().zip(decided) {
        row.extend(names.iter().cloned().zip(cells(decided)));
    }
    written.columns.extend(names.iter().cloned());
    data::write_records(out, &written)
}

/// What a CSV file shows of a decision, in the order of [`COLUMNS`].
fn cells(decided: &Decided) -> [Json; 8] {
    let decision = match decided {
        Ok(decision) => decision,
        Err(problem) => {
            let mut cells = [const { Json::Null }; 8];
            cells[7] = problem_text(problem).into();
            return cells;
        }
    };
    let class = &decision["classification"];
    let risk = &decision["risk"];
    let (predicted, score) = if class.is_null() {
        let score = risk["score"].as_f64();
        (decision["outcome"].clone(), score.map_or(Json::Null, |score| json!(score / 1000.0)))
    } else {
        (class["label"].clone(), class["confidence"].clone())
    };
    let reasons: Vec<&str> = decision["reasons"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|reason| reason["code"].as_str())
        .collect();
    [
        predicted,
        score,
        decision["outcome"].clone(),
        risk["score"].clone(),
        risk["level"].clone(),
        reasons.join(" ").into(),
        decision["decision_id"].clone(),
        Json::Null,
    ]
}

/// A problem on one line: its code and what is wrong.
fn problem_text(problem: &Json) -> String {
    fn text<'json>(json: &'json Json, key: &str) -> &'json str {
        json[key].as_str().unwrap_or_default()
    }
    let faults = problem["faults"].as_array().into_iter().flatten();
    let faults: Vec<String> = faults
        .map(|fault| format!("{}: {}", text(fault, "path"), text(fault, "message")))
        .collect();
    let what =
        if faults.is_empty() { text(problem, "detail").to_owned() } else { faults.join("; ") };
    format!("{} {what}", text(problem, "code"))
}

/// Counts of outcomes, levels and reasons.
struct Summary {
    n: usize,
    failed: usize,
    outcomes: BTreeMap<String, u64>,
    levels: BTreeMap<String, u64>,
    reasons: BTreeMap<String, u64>,
    degraded: u64,
}

fn summary(decided: &[Decided]) -> Summary {
    let mut summary = Summary {
        n: decided.len(),
        failed: 0,
        outcomes: BTreeMap::new(),
        levels: BTreeMap::new(),
        reasons: BTreeMap::new(),
        degraded: 0,
    };
    let count = |counts: &mut BTreeMap<String, u64>, value: &Json| {
        if let Some(text) = value.as_str() {
            *counts.entry(text.to_owned()).or_default() += 1;
        }
    };
    for decided in decided {
        let Ok(decision) = decided else {
            summary.failed += 1;
            continue;
        };
        count(&mut summary.outcomes, &decision["outcome"]);
        count(&mut summary.levels, &decision["risk"]["level"]);
        for reason in decision["reasons"].as_array().into_iter().flatten() {
            count(&mut summary.reasons, &reason["code"]);
        }
        let degraded = decision["degraded"].as_array().is_some_and(|list| !list.is_empty());
        summary.degraded += u64::from(degraded);
    }
    summary
}

fn as_json(summary: &Summary, measures: Option<&Json>, arguments: &DecideArgs) -> Json {
    let mut json = json!({ "n": summary.n, "decided": summary.n - summary.failed });
    for (key, value) in measures.and_then(Json::as_object).into_iter().flatten() {
        json[key] = value.clone();
    }
    json["failed"] = summary.failed.into();
    json["outcomes"] = json!(summary.outcomes);
    json["levels"] = json!(summary.levels);
    json["reasons"] = json!(summary.reasons);
    json["degraded"] = summary.degraded.into();
    json["flow"] = arguments.flow.as_str().into();
    json["out"] = json!(arguments.out);
    json
}

fn tell(summary: &Summary, measures: Option<&Json>, arguments: &DecideArgs, output: &Output) {
    let decided = summary.n - summary.failed;
    output.say(format!(
        "{} {decided} of {} records decided",
        output.styled(HEAD, &arguments.flow),
        summary.n
    ));
    let share = |count: u64| format!("{:.1} %", 100.0 * count as f64 / decided.max(1) as f64);
    let rows = |counts: &BTreeMap<String, u64>, most: usize| {
        let mut sorted: Vec<_> = counts.iter().collect();
        sorted.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let row =
            |(name, count): (&String, &u64)| vec![name.clone(), count.to_string(), share(*count)];
        sorted.into_iter().take(most).map(row).collect::<Vec<_>>()
    };
    output.table(&["outcome", "records", "share"], rows(&summary.outcomes, 10));
    if !summary.reasons.is_empty() {
        output.table(&["reason", "records", "share"], rows(&summary.reasons, 10));
    }
    if summary.degraded > 0 {
        output.say(format!("{} decisions were degraded", summary.degraded));
    }
    if let Some(measures) = measures.and_then(Json::as_object) {
        let shown = |value: &Json| match value.as_f64() {
            Some(number) if value.is_f64() => format!("{number:.4}"),
            _ if value.is_null() => "-".to_owned(),
            _ => value.to_string(),
        };
        let plain = measures.iter().filter(|(_, value)| !value.is_object());
        let (names, cells): (Vec<&str>, Vec<String>) =
            plain.map(|(name, value)| (name.as_str(), shown(value))).unzip();
        output.table(&names, vec![cells]);
    }
    if let Some(out) = &arguments.out {
        output.say(format!("Decisions: {}", out.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field_type: FieldType, text: &str, expected: Json) {
        let field: Field = serde_json::from_value(json!({ "type": field_type.as_str() })).unwrap();
        assert_eq!(typed(&field, &Json::from(text)), expected, "{text}");
    }

    #[test]
    fn a_problem_is_told_on_one_line() {
        let fault = json!({ "path": "input.text", "code": "VD0104", "message": "expected a text" });
        let problem = json!({ "code": "VD0402", "detail": "input.text: …", "faults": [fault] });
        assert_eq!(problem_text(&problem), "VD0402 input.text: expected a text");
        let problem = json!({ "code": "VD0804", "detail": "Busy.", "faults": [] });
        assert_eq!(problem_text(&problem), "VD0804 Busy.");
    }

    #[test]
    fn cells_become_the_types_of_fields() {
        check(FieldType::Bool, "TRUE", json!(true));
        check(FieldType::Bool, "maybe", json!("maybe"));
        check(FieldType::Int, "12", json!(12));
        check(FieldType::Float, ".5", json!(0.5));
        check(FieldType::Float, "nan", json!("nan"));
        check(FieldType::Decimal, " 10.10 ", json!("10.10"));
        check(FieldType::Symbol, "0742", json!("0742"));
        check(FieldType::Symbol, " GB ", json!("GB"));
        check(FieldType::String, " GB ", json!(" GB "));
        check(FieldType::Set, "a; b|c", json!(["a", "b", "c"]));
    }
}
