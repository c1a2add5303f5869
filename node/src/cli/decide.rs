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

mod measure;
mod offline;

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

/// Decides every record of a file.
pub fn decide(arguments: &DecideArgs, output: &Output) -> Outcome {
    let records = data::read_records(&arguments.data)?;
    let decided = match &arguments.catalogue {
        Some(catalogue) => offline::decide(catalogue, arguments, &records, output)?,
        None => by_node(&arguments.target.connect()?, arguments, &records, output)?,
    };
    if let Some(out) = &arguments.out {
        write(out, &records, &decided)?;
    }
    let summary = summary(&decided);
    let measures = arguments
        .label
        .as_ref()
        .map(|label| measure::measure(&records, &decided, label, arguments.positive.as_deref()))
        .transpose()?;
    let failed = decided.iter().filter(|decided| decided.is_err()).count();
    if output.is_json() {
        output.json(&as_json(&summary, measures.as_ref(), arguments));
    } else {
        tell(&summary, measures.as_ref(), arguments, output);
        let first = decided.iter().find_map(|decided| decided.as_ref().err());
        if let Some(problem) = first {
            let noun = if failed == 1 { "record was" } else { "records were" };
            output
                .note(format!("{failed} {noun} not decided; the first: {}", problem_text(problem)));
        }
    }
    Ok(if failed == 0 { EXIT_OK } else { EXIT_FAULTS })
}

/// The request body of one record.
fn request(flow: &FlowDefinition, arguments: &DecideArgs, row: &Map<String, Json>) -> Json {
    let mut input = Map::new();
    for (name, field) in &flow.fields {
        if let Some(value) = row.get(name).filter(|value| !value.is_null()) {
            input.insert(name.clone(), typed(field, value));
        }
    }
    let mut body = json!({ "input": input });
    let columns = [("unit", &arguments.unit), ("as_of", &arguments.as_of)];
    for (key, column) in columns {
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
        FieldType::Symbol | FieldType::String => value.clone(),
    }
}

fn by_node(
    client: &Client,
    arguments: &DecideArgs,
    records: &Records,
    output: &Output,
) -> Result<Vec<Decided>, Failure> {
    let flow = segment(&arguments.flow);
    let object = client.get(&format!("/v1/objects/flow/{flow}"))?;
    let definition: FlowDefinition =
        serde_json::from_value(object["body"].clone()).map_err(anyhow::Error::from)?;
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
    Ok(decided)
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

fn write(out: &Path, records: &Records, decided: &[Decided]) -> Result<(), Failure> {
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
    for (row, decided) in written.rows.iter_mut().zip(decided) {
        row.extend(cells(decided));
    }
    let new = COLUMNS.iter().filter(|column| !records.columns.iter().any(|have| have == *column));
    written.columns.extend(new.map(|&column| column.to_owned()));
    data::write_records(out, &written)
}

/// What a CSV file shows of a decision.
fn cells(decided: &Decided) -> Map<String, Json> {
    let mut cells = Map::new();
    let mut put = |key: &str, value: Json| {
        cells.insert(key.to_owned(), value);
    };
    match decided {
        Ok(decision) => {
            let class = &decision["classification"];
            let (predicted, score) = if class.is_null() {
                let score = decision["risk"]["score"].as_f64();
                (
                    decision["outcome"].clone(),
                    score.map_or(Json::Null, |score| json!(score / 1000.0)),
                )
            } else {
                (class["label"].clone(), class["confidence"].clone())
            };
            let reasons: Vec<&str> = decision["reasons"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|reason| reason["code"].as_str())
                .collect();
            put("predicted", predicted);
            put("score", score);
            put("outcome", decision["outcome"].clone());
            put("risk_score", decision["risk"]["score"].clone());
            put("risk_level", decision["risk"]["level"].clone());
            put("reasons", reasons.join(" ").into());
            put("decision_id", decision["decision_id"].clone());
        }
        Err(problem) => put("problem", problem_text(problem).into()),
    }
    cells
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
    let told =
        if faults.is_empty() { text(problem, "detail").to_owned() } else { faults.join("; ") };
    format!("{} {told}", text(problem, "code"))
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
        let names: Vec<&str> = measures.keys().map(String::as_str).collect();
        let shown = |value: &Json| match value.as_f64() {
            Some(number) if value.is_f64() => format!("{number:.4}"),
            _ if value.is_null() => "-".to_owned(),
            _ => value.to_string(),
        };
        output.table(&names, vec![measures.values().map(shown).collect()]);
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
        check(FieldType::Set, "a; b|c", json!(["a", "b", "c"]));
    }
}
