//! `check` and `test`: a catalogue folder without a node.

mod coverage;
mod models;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};
use verdict_actors::catalogue::{
    CatalogueObjects, CheckReport, ObjectFault, ObjectFinding, check_catalogue_with_models,
};
use verdict_config::catalogue::{CatalogueText, read_files};
use verdict_config::{Code, Fault, Faults};
use verdict_rules::RuleLimits;

use super::{EXIT_FAULTS, EXIT_OK, Failure, Outcome};
use crate::catalogue_dir;
use crate::output::{BAD, GOOD, Output, WARN};
use models::FolderModels;

/// Arguments of `check` and `test`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The catalogue folder.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Arguments of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    folder: CheckArgs,
    /// Name the rules, table rows, flag variants and model stages that no test reaches.
    #[arg(long)]
    coverage: bool,
}

/// Reads and compiles a folder, and runs the tests of its rules and flows.
fn inspect(
    arguments: &CheckArgs,
    output: &Output,
) -> Result<(CatalogueText, CheckReport), Failure> {
    let files =
        catalogue_dir::read_dir(&arguments.dir).map_err(|error| Failure::new(error.to_string()))?;
    let text = read_files(&files).map_err(Failure::Faults)?;
    let models = FolderModels::new(files);
    let bar = output.progress(0, "compiling");
    let mut objects = CatalogueObjects::from(&text);
    // The check itself knows no clock; flags expire by this time.
    objects.at_ms = crate::http::now().0;
    let report = check_catalogue_with_models(&objects, None, RuleLimits::default(), &models);
    bar.finish_and_clear();
    Ok((text, report))
}

fn located(text: &CatalogueText, faults: &[ObjectFault]) -> Faults {
    faults.iter().map(|fault| text.locate(&fault.object, fault.fault.clone())).collect()
}

/// A finding as a fault, which is what texts can place.
fn place_of(text: &CatalogueText, finding: &ObjectFinding) -> Fault {
    let fault = Fault::new(Code::InvalidValue, finding.path.as_str(), finding.message.as_str());
    text.locate(&finding.object, fault)
}

/// A finding about a file that is no object, as JSON.
fn of_file(remark: &Fault) -> Json {
    json!({
        "object": null, "kind": "file", "path": "", "message": remark.message,
        "file": remark.file, "line": remark.line, "column": remark.column,
    })
}

/// A finding as JSON, with file, line and column where they are known.
fn placed(text: &CatalogueText, finding: &ObjectFinding) -> Json {
    let place = place_of(text, finding);
    json!({
        "object": finding.object, "kind": finding.kind, "path": finding.path,
        "message": finding.message, "file": place.file, "line": place.line,
        "column": place.column,
    })
}

/// Checks a folder: every fault with file, line and column.
pub fn check(arguments: &CheckArgs, output: &Output) -> Outcome {
    let (text, report) = inspect(arguments, output)?;
    let faults = located(&text, &report.blocking());
    if output.is_json() {
        let of_files = text.remarks.iter().map(of_file);
        let findings: Vec<Json> =
            of_files.chain(report.findings.iter().map(|finding| placed(&text, finding))).collect();
        output.json(&json!({
            "objects": report.objects, "rules": report.rules, "faults": faults,
            "findings": findings,
            "tests": { "run": report.tests_run(), "failed": report.tests_failed() },
        }));
        return Ok(if faults.is_empty() { EXIT_OK } else { EXIT_FAULTS });
    }
    for remark in &text.remarks {
        output.say(format!("{} {remark}", output.styled(WARN, "file")));
    }
    for finding in &report.findings {
        let place = place_of(&text, finding);
        let file = place.file.unwrap_or_else(|| finding.object.to_string());
        let (line, column) = (place.line.unwrap_or(1), place.column.unwrap_or(1));
        let kind = output.styled(WARN, &finding.kind);
        output.say(format!("{file}:{line}:{column}: {kind} {}", finding.message));
    }
    if !faults.is_empty() {
        return Err(Failure::Faults(faults));
    }
    output.say(format!(
        "{}: {} objects, {} rules, {} tests passed, {} findings.",
        output.styled(GOOD, "No faults"),
        report.objects,
        report.rules,
        report.tests_run(),
        report.findings.len() + text.remarks.len(),
    ));
    Ok(EXIT_OK)
}

/// Runs the tests of rules and flows.
pub fn test(arguments: &TestArgs, output: &Output) -> Outcome {
    let (text, report) = inspect(&arguments.folder, output)?;
    let never_hit = report.never_hit();
    let (run, failed) = (report.tests_run(), report.tests_failed());
    let covered = report.rules.saturating_sub(never_hit.len());
    if output.is_json() {
        let mut told = json!({
            "run": run, "passed": run - failed, "failed": failed,
            "rules": report.rules, "rules_hit": covered, "never_hit": never_hit,
            "rule_sets": report.tests, "flows": report.flow_tests,
            "faults": located(&text, &report.faults),
        });
        if arguments.coverage {
            told["unreached"] = coverage::unreached_json(&report);
        }
        output.json(&told);
    } else {
        tell_tests(&text, &report, output);
        if arguments.coverage {
            coverage::tell_unreached(&report, output);
        }
    }
    if !report.faults.is_empty() {
        return Err(Failure::Faults(located(&text, &report.faults)));
    }
    Ok(if failed == 0 { EXIT_OK } else { EXIT_FAULTS })
}

fn tell_tests(text: &CatalogueText, report: &CheckReport, output: &Output) {
    let failures: Vec<ObjectFault> = report
        .blocking()
        .into_iter()
        .filter(|fault| matches!(fault.fault.code, Code::RuleTestFailed | Code::FlowTestFailed))
        .collect();
    output.faults(&located(text, &failures));
    let mut rows = Vec::new();
    for tests in &report.tests {
        let passed = tests.report.passed();
        let failed = tests.report.results.len() - passed;
        let hit = tests.report.rules.saturating_sub(tests.report.never_hit.len());
        rows.push(vec![
            tests.rule_set.clone(),
            passed.to_string(),
            if failed == 0 { "0".to_owned() } else { output.styled(BAD, &failed.to_string()) },
            format!("{hit} of {}", tests.report.rules),
        ]);
    }
    if rows.is_empty() && report.flow_tests.is_empty() {
        output.say("There are no rules here.");
        return;
    }
    output.table(&["rule set", "passed", "failed", "rules hit"], rows);
    tell_flow_tests(report, output);
    let never_hit = report.never_hit();
    if !never_hit.is_empty() {
        output.say(format!("{} {}", output.styled(WARN, "No test hits"), never_hit.join(", ")));
    }
    let (run, failed) = (report.tests_run(), report.tests_failed());
    let style = if failed == 0 { GOOD } else { BAD };
    let text = format!("{} of {run} tests passed", run - failed);
    output.say(output.styled(style, &text));
}

fn tell_flow_tests(report: &CheckReport, output: &Output) {
    let rows: Vec<Vec<String>> = report
        .flow_tests
        .iter()
        .filter(|tests| !tests.report.results.is_empty())
        .map(|tests| {
            let passed = tests.report.passed();
            let failed = tests.report.results.len() - passed;
            let style = |count: usize| output.styled(BAD, &count.to_string());
            let failed = if failed == 0 { "0".to_owned() } else { style(failed) };
            vec![tests.flow.clone(), passed.to_string(), failed]
        })
        .collect();
    if !rows.is_empty() {
        output.table(&["flow", "passed", "failed"], rows);
    }
}
