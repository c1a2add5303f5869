//! Explanations and statuses as people read them.

use serde_json::Value as Json;

use crate::output::{BAD, FAINT, GOOD, HEAD, Output, WARN};

/// Rules whose condition is false that are shown; the rest are counted.
const MISSES_SHOWN: usize = 10;

fn text(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn items(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}

fn outcome(value: &Json, output: &Output) -> String {
    let shown = text(value);
    let style = match shown.as_str() {
        "approve" => GOOD,
        "challenge" | "review" => WARN,
        _ => BAD,
    };
    output.styled(style, &shown)
}

/// Shows a decision with its explanation.
pub fn show(answer: &Json, output: &Output) {
    let (explanation, answer) = (answer, &answer["decision"]);
    output.say(format!(
        "{} {} at revision {} as of {}",
        output.styled(HEAD, &text(&answer["flow"])),
        text(&answer["decision_id"]),
        answer["revision"],
        text(&answer["as_of"]),
    ));
    output.say(format!(
        "outcome {}  risk {} ({})",
        outcome(&answer["outcome"], output),
        text(&answer["risk"]["score"]),
        text(&answer["risk"]["level"]),
    ));
    let class = &answer["classification"];
    if !class.is_null() {
        let (label, confidence) = (text(&class["label"]), text(&class["confidence"]));
        output.say(format!("class {label} ({confidence}) by {}", text(&class["source"])));
    }
    for (title, list) in [("abstained", &answer["abstained"]), ("degraded", &answer["degraded"])] {
        let names: Vec<String> = items(list).map(text).collect();
        if !names.is_empty() {
            output.say(format!("{title} {}", output.styled(WARN, &names.join(", "))));
        }
    }
    show_reasons(answer, output);
    show_explanation(explanation, output);
    show_contributions(explanation, output);
    for outcome in items(&explanation["observed"]) {
        output.say(format!(
            "later: {} = {} at {}",
            text(&outcome["metric"]),
            text(&outcome["value"]),
            text(&outcome["at"]),
        ));
    }
}

/// What spoke for the label of each model.
fn show_contributions(explanation: &Json, output: &Output) {
    for model in items(&explanation["models"]) {
        let title = format!("{} says {}", text(&model["model"]), text(&model["label"]));
        output.say(output.styled(HEAD, &title));
        let rows: Vec<Vec<String>> = items(&model["contributions"])
            .map(|part| vec![text(&part["column"]), text(&part["feature"]), text(&part["value"])])
            .collect();
        if !rows.is_empty() {
            output.table(&["column", "feature", "speaks for it"], rows);
        }
    }
}

fn show_reasons(answer: &Json, output: &Output) {
    let rows: Vec<Vec<String>> = items(&answer["reasons"])
        .map(|reason| {
            vec![
                text(&reason["code"]),
                text(&reason["source"]),
                text(&reason["points"]),
                text(&reason["outcome"]),
                evidence(&reason["evidence"]),
            ]
        })
        .collect();
    if !rows.is_empty() {
        output.table(&["reason", "source", "points", "outcome", "evidence"], rows);
    }
}

/// What a reason rests on, without what does not apply.
fn evidence(evidence: &Json) -> String {
    let parts = evidence.as_object().into_iter().flatten().filter(|(_, value)| {
        !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
    });
    parts.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(" ")
}

fn show_explanation(explanation: &Json, output: &Output) {
    let stages: Vec<Vec<String>> = items(&explanation["stages"])
        .map(|stage| vec![text(&stage["stage"]), text(&stage["status"]), text(&stage["detail"])])
        .collect();
    output.table(&["stage", "status", "detail"], stages);
    let points = &explanation["points"];
    let parts: Vec<Vec<String>> = items(&points["parts"])
        .map(|part| {
            vec![
                text(&part["source"]),
                text(&part["points"]),
                text(&part["floor"]),
                text(&part["cap"]),
            ]
        })
        .collect();
    if !parts.is_empty() {
        output.say(format!("score: base {} and", points["base"]));
        output.table(&["source", "points", "floor", "cap"], parts);
    }
    for (title, key) in [("hit", "hits"), ("unknown", "unknown")] {
        for rule in items(&explanation[key]) {
            let reads: Vec<String> = items(&rule["reads"])
                .map(|read| format!("{}={}", text(&read["name"]), text(&read["value"])))
                .collect();
            // Clauses may share a cause.
            let mut causes: Vec<String> = Vec::new();
            for cause in items(&rule["causes"]).map(|cause| text(&cause["text"])) {
                if !causes.contains(&cause) {
                    causes.push(cause);
                }
            }
            let style = if key == "hits" { BAD } else { WARN };
            let title = output.styled(style, title);
            let id = text(&rule["id"]);
            output.say(format!("{title} {id}: {} {}", reads.join(", "), causes.join("; ")));
        }
    }
    let misses: Vec<&Json> = items(&explanation["misses"]).collect();
    for rule in misses.iter().take(MISSES_SHOWN) {
        let clause = text(&rule["failing"]["text"]);
        output.say(output.styled(FAINT, &format!("miss {}: {clause} is false", text(&rule["id"]))));
    }
    if misses.len() > MISSES_SHOWN {
        let more = misses.len() - MISSES_SHOWN;
        output.say(output.styled(FAINT, &format!("and {more} misses more (--json shows all)")));
    }
}

/// Shows what a node serves.
pub fn show_status(url: &str, status: &Json, output: &Output) {
    output.say(format!("{} {}", output.styled(HEAD, "node"), url));
    for key in ["version", "revision", "draining", "flags"] {
        if !status[key].is_null() {
            output.say(format!("  {key:<10} {}", text(&status[key])));
        }
    }
    for key in ["flows", "models"] {
        let names: Vec<String> = match &status[key] {
            Json::Array(list) => list.iter().map(text).collect(),
            Json::Object(map) => map.keys().cloned().collect(),
            _ => continue,
        };
        output.say(format!("  {key:<10} {}", names.join(", ")));
    }
    if status["stale"] == Json::Bool(true) {
        output.say(format!("  {} the cluster is out of reach", output.styled(WARN, "stale")));
    }
    show_members(&status["cluster"], output);
    let status = &status["runtime"];
    for reason in items(&status["readiness"]["reasons"]) {
        output.say(format!("  {} {}", output.styled(WARN, "not ready"), text(reason)));
    }
    for warning in items(&status["warnings"]) {
        output.say(format!("  {} {}", output.styled(WARN, "warning"), text(warning)));
    }
    if let Some(days) = status["journal"]["days_held"].as_f64() {
        let wanted = text(&status["journal"]["retention_days"]);
        output.say(format!("  {:<10} {days:.1} of {wanted} days at the present rate", "records"));
    }
    for fault in items(&status["publisher"]["faults"]) {
        let message = text(&fault["fault"]["message"]);
        output.say(format!("  {} {message}", output.styled(BAD, "fault")));
    }
    for finding in items(&status["publisher"]["findings"]) {
        let object = &finding["object"];
        let object = format!("{}/{}", text(&object["kind"]), text(&object["name"]));
        let message = format!("{object} {}: {}", text(&finding["path"]), text(&finding["message"]));
        output.say(format!("  {} {message}", output.styled(WARN, "finding")));
    }
    let mut rows = Vec::new();
    tree_rows(&status["tree"], 0, &mut rows);
    if !rows.is_empty() {
        output.table(&["actor", "state", "restarts", "queue"], rows);
    }
}

/// The members of the cluster, as the node sees them.
fn show_members(cluster: &Json, output: &Output) {
    let rows = items(&cluster["peers"]).map(|peer| {
        let (member, id) = (&peer["member"], &peer["member"]["node_id"]);
        let role = match (*id == cluster["leader"], member["voter"] == Json::Bool(true)) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        let here = if *id == cluster["node_id"] { "here" } else { "" };
        // Only the leader knows how far the others are.
        let lag = match (peer["matched_index"].as_u64(), cluster["last_index"].as_u64()) {
            (Some(matched), Some(last)) => last.saturating_sub(matched).to_string(),
            _ => String::new(),
        };
        let attributes = &member["attributes"];
        vec![
            text(id),
            role.to_owned(),
            text(&attributes["region"]),
            text(&attributes["zone"]),
            text(&attributes["http_address"]),
            lag,
            here.to_owned(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if !rows.is_empty() {
        output.table(&["node", "role", "region", "zone", "http", "entries behind", ""], rows);
    }
}

fn tree_rows(entry: &Json, depth: usize, rows: &mut Vec<Vec<String>>) {
    if let Some(name) = entry["name"].as_str() {
        rows.push(vec![
            format!("{}{name}", "  ".repeat(depth)),
            text(&entry["state"]),
            text(&entry["restarts"]),
            text(&entry["queue_depth"]),
        ]);
    }
    for child in items(&entry["children"]) {
        tree_rows(child, depth + 1, rows);
    }
}
