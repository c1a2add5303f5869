//! The demo catalogue: its rules compile, their own tests pass, and every rule is hit by one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use verdict_config::catalogue::{Body, CatalogueText, read_body, read_files};
use verdict_config::definition::{
    FlowDefinition, ListDefinition, RuleSetDefinition, TableDefinition,
};
use verdict_config::{ObjectKind, Schema};
use verdict_rules::{DerivedFacts, Environment, FindingKind, RuleLimits, compile};

#[derive(Default)]
struct Demo {
    text: CatalogueText,
    flows: BTreeMap<String, FlowDefinition>,
    rule_sets: BTreeMap<String, RuleSetDefinition>,
    lists: BTreeMap<String, Arc<ListDefinition>>,
    tables: BTreeMap<String, Arc<TableDefinition>>,
    flags: BTreeSet<String>,
}

fn files(folder: &Path, root: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.ends_with("models") {
            continue;
        }
        if path.is_dir() {
            self::files(&path, root, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

fn demo() -> Demo {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../node/demo"));
    let mut texts = BTreeMap::new();
    files(root, root, &mut texts);
    let text = read_files(&texts).unwrap_or_else(|faults| {
        panic!("{}", faults.iter().map(|fault| format!("{fault}\n")).collect::<String>())
    });
    let mut demo = Demo::default();
    for (id, object) in &text.objects {
        let name = id.name.as_str().to_owned();
        match read_body(id.kind, id.name.as_str(), &object.body) {
            Ok(Body::List(list)) => {
                demo.lists.insert(name, Arc::new(list));
            }
            Ok(Body::Table(table)) => {
                demo.tables.insert(name, Arc::new(table));
            }
            Ok(Body::RuleSet(set)) => {
                demo.rule_sets.insert(name, *set);
            }
            Ok(Body::Flow(flow)) => {
                demo.flows.insert(name, *flow);
            }
            Ok(_) if id.kind == ObjectKind::Flag => {
                demo.flags.insert(name);
            }
            Ok(_) => {}
            Err(faults) => panic!("{id}: {faults:?}"),
        }
    }
    demo.text = text;
    demo
}

#[test]
fn every_rule_compiles_and_passes_its_tests() {
    let demo = demo();
    let mut told = String::new();
    let (mut rules, mut categories, mut severities) = (0, BTreeSet::new(), BTreeSet::new());
    for (name, definition) in &demo.rule_sets {
        let flow = &demo.flows[&definition.flow];
        let environment = Environment {
            schema: &Schema::new(&flow.fields),
            derived: &DerivedFacts::of_flow(
                flow.models.keys().map(String::as_str),
                flow.classify.is_some(),
            ),
            lists: &demo.lists,
            tables: &demo.tables,
            limits: RuleLimits::default(),
        };
        let set = match compile(definition, &environment) {
            Ok(set) => set,
            Err(faults) => {
                told.extend(faults.iter().map(|fault| format!("{name}: {fault}\n")));
                continue;
            }
        };
        let report = set.run_tests(definition);
        told.extend(report.faults().iter().map(|fault| format!("{name}: {fault}\n")));
        if !report.never_hit.is_empty() {
            told.push_str(&format!("{name}: no test hits {:?}\n", report.never_hit));
        }
        for finding in set.findings() {
            // Tables of risk need no row for what carries none.
            if finding.kind != FindingKind::TableGap {
                told.push_str(&format!("{name}: {finding:?}\n"));
            }
        }
        rules += definition.rules.len();
        for rule in &definition.rules {
            categories.extend(rule.category);
            severities.extend(rule.severity);
            if let Some(flag) = &rule.flag
                && !demo.flags.contains(flag)
            {
                told.push_str(&format!("{name}: there is no flag {flag}\n"));
            }
        }
    }
    assert!(told.is_empty(), "\n{told}");
    assert!(rules >= 80, "{rules} rules");
    assert_eq!((categories.len(), severities.len()), (6, 4));
}

#[test]
fn nothing_lies_about_unused() {
    let demo = demo();
    let rules: String =
        demo.rule_sets.values().map(|set| serde_json::to_string(set).unwrap()).collect();
    let flows: String =
        demo.flows.values().map(|flow| serde_json::to_string(flow).unwrap()).collect();
    for name in demo.lists.keys() {
        assert!(rules.contains(&format!("\\\"{name}\\\"")), "no rule reads the list {name}");
    }
    for name in demo.tables.keys() {
        let used = rules.contains(&format!("{name}\\\"")) || rules.contains(&format!("\"{name}\""));
        assert!(used || flows.contains(&format!("\"{name}\"")), "nobody reads the table {name}");
    }
    for name in demo.rule_sets.keys() {
        assert!(flows.contains(&format!("\"{name}\"")), "no flow runs the rule set {name}");
    }
}
