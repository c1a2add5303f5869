//! Parts of a catalogue that no test reaches: rules, rows of tables, variants of flags, stages of models.

use serde_json::{Value as Json, json};
use verdict_actors::catalogue::{CheckReport, FlowTests};

use crate::output::{GOOD, Output, WARN};

/// Everything that no test reaches, by flow.
pub fn unreached_json(report: &CheckReport) -> Json {
    let of_flow = |tests: &FlowTests| {
        let missed = &tests.unreached;
        let rules = missed.rules.iter();
        let rows = missed.rows.iter();
        let variants = missed.variants.iter();
        json!({
            "flow": tests.flow,
            "rules": rules.map(|(set, rule)| format!("{set}/{rule}")).collect::<Vec<_>>(),
            "table_rows": rows.map(|(table, row)| json!({ "table": table, "row": row })).collect::<Vec<_>>(),
            "flag_variants": variants.map(|(flag, variant)| json!({ "flag": flag, "variant": variant })).collect::<Vec<_>>(),
            "model_stages": missed.stages,
        })
    };
    report.flow_tests.iter().map(of_flow).collect()
}

/// Shows everything that no test reaches.
pub fn tell_unreached(report: &CheckReport, output: &Output) {
    let mut rows = Vec::new();
    for FlowTests { flow, unreached, .. } in &report.flow_tests {
        let mut row =
            |what: &str, name: String| rows.push(vec![flow.clone(), what.to_owned(), name]);
        for (set, rule) in &unreached.rules {
            row("rule", format!("{set}/{rule}"));
        }
        for (table, number) in &unreached.rows {
            row("table row", format!("{table} {number}"));
        }
        for (flag, variant) in &unreached.variants {
            row("flag variant", format!("{flag}={variant}"));
        }
        for stage in &unreached.stages {
            row("model stage", stage.clone());
        }
    }
    if rows.is_empty() {
        output.say(output.styled(GOOD, "Tests reach everything."));
        return;
    }
    output.say(output.styled(WARN, &format!("{} parts are reached by no test:", rows.len())));
    output.table(&["flow", "part", "name"], rows);
}
