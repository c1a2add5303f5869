//! A state that is compiled from another one is the state that would be compiled of everything anew,
//! whatever changed between the two, rollbacks included.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use verdict_actors::catalogue::{CatalogueObjects, Compilation, CompileOptions, compile};
use verdict_actors::serving::ServingState;
use verdict_config::{ObjectKind, TimestampMs};
use verdict_consensus::{
    Author, Catalogue, Change, ChangeSet, Command, Limits, NoValidation, Propose, apply,
    plan_rollback,
};
use verdict_rules::RuleLimits;

#[derive(Debug, Clone)]
enum Step {
    Change(Vec<Change>),
    /// Back by so many revisions.
    Rollback(u64),
}

fn put(kind: ObjectKind, name: &str, body: &Json) -> Change {
    Change::put(kind, name, body.to_string())
}

fn rule_set(name: u8, kind: u8) -> Json {
    let when = match kind {
        0 => "amount > 5",
        1 => "listed(\"l0\", country)",
        2 => "keywords(\"l1\", country)",
        _ => "missing_field > 1",
    };
    json!({"rule_set": format!("r{name}"), "flow": "pay",
        "rules": [{"id": "only", "when": when, "then": {"points": 5}, "flag": "f0"}]})
}

fn flow(sets: u8, string: bool) -> Json {
    let sets: Vec<_> =
        (0..2).filter(|set| sets & (1 << set) != 0).map(|s| format!("r{s}")).collect();
    json!({"flow": "pay", "rules": sets, "switches": {"score": "f1"}, "fields": {
        "amount": {"type": if string { "string" } else { "int" }},
        "country": {"type": "string"}}})
}

fn flag(kind: u8) -> Json {
    let mut flag = json!({"state": "ENABLED", "variants": {"on": true, "off": false},
        "defaultVariant": "on"});
    match kind {
        0 => {}
        1 => flag["segments"] = json!({"any": ["s0"]}),
        2 => flag["prerequisites"] = json!([{"flag": "f0", "variant": "on"}]),
        _ => flag["off"] = json!("off"),
    }
    flag
}

fn change() -> impl Strategy<Value = Change> {
    let list = |at: u8, entries: &[&str]| {
        let entries: Vec<_> = entries.iter().map(|value| json!({"value": value})).collect();
        put(ObjectKind::List, &format!("l{at}"), &json!({"entries": entries}))
    };
    let some = prop_oneof![
        4 => (0..4_u8, 0..4_u8).prop_map(|(name, kind)| {
            put(ObjectKind::Flag, &format!("f{name}"), &flag(kind))
        }),
        1 => any::<bool>().prop_map(|nl| {
            let body = json!({"==": [{"var": "country"}, if nl { "NL" } else { "DE" }]});
            put(ObjectKind::Segment, "s0", &body)
        }),
        2 => (0..2_u8, any::<bool>()).prop_map(move |(at, two)| {
            list(at, if two { &["nl", "de"] } else { &["nl"] })
        }),
        3 => (0..2_u8, prop_oneof![9 => 0..3_u8, 1 => Just(3_u8)]).prop_map(|(name, kind)| {
            put(ObjectKind::RuleSet, &format!("r{name}"), &rule_set(name, kind))
        }),
        2 => (0..4_u8, prop::bool::weighted(0.1)).prop_map(|(sets, string)| {
            put(ObjectKind::Flow, "pay", &flow(sets, string))
        }),
        2 => (0..3_u8, 0..2_u8, any::<bool>()).prop_map(|(name, set, mine)| {
            let body = json!({"flow": if mine { "pay" } else { "other" }, "rule": "only",
                "rule_set": format!("r{set}"), "salt": "0a".repeat(16), "comment": "case 7",
                "unit_hash": "0b".repeat(32), "until": TimestampMs(1_000)});
            put(ObjectKind::Setting, &format!("snooze-{name}"), &body)
        }),
        1 => Just(put(ObjectKind::Setting, "snooze-9", &json!(["of another time"]))),
        1 => Just(put(ObjectKind::Experiment, "e", &json!({"any": 1}))),
    ];
    (some, prop::bool::weighted(0.15)).prop_map(|(change, delete)| {
        if delete { Change::delete(change.kind, change.name) } else { change }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop::collection::vec(change(), 1..4).prop_map(Step::Change),
        1 => (1..6_u64).prop_map(Step::Rollback),
    ]
}

/// Applied as far as form allows: catalogues that do not compile are of interest too.
fn applied(catalogue: &Catalogue, step: &Step, at: usize) -> Option<Catalogue> {
    let change_set = match step {
        Step::Change(changes) => ChangeSet::new(format!("c{at}"), "", changes.clone()),
        Step::Rollback(by) => {
            let to = catalogue.revision().saturating_sub(*by);
            plan_rollback(catalogue, format!("c{at}"), String::new(), to, &[]).ok()?
        }
    };
    let change_set = change_set.normalised().ok()?;
    let at = TimestampMs(i64::try_from(at).unwrap());
    let command = Command::Propose(Propose { change_set, author: Author::named("test"), at });
    apply(catalogue, &command, 1, &NoValidation).ok().map(|transition| transition.catalogue)
}

/// Everything that two compilations of one catalogue must agree on.
fn seen(compilation: &Compilation) -> String {
    let mut faults: Vec<_> =
        compilation.report.faults.iter().map(|fault| format!("{fault:?}")).collect();
    faults.sort();
    let Some(state) = &compilation.state else { return format!("{faults:?}") };
    let flows = state.flows.iter().map(|(name, served)| {
        let sets: Vec<_> = served.flow.rule_sets().map(|set| set.content_hash()).collect();
        format!("{name} {:?} {sets:?} {:?}", served.flow.content_hash(), served.flow.findings())
    });
    format!(
        "{} {:?} {} {:?} {:?} {:?}",
        state.revision,
        state.at,
        state.flags.content_hash(),
        state.flags.keys().collect::<Vec<_>>(),
        flows.collect::<Vec<_>>(),
        state.models,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_state_from_any_other_is_the_state_from_nothing(
        steps in prop::collection::vec((step(), any::<prop::sample::Index>()), 1..30),
        check in any::<bool>(),
    ) {
        let options = CompileOptions { limits: RuleLimits::default(), check };
        let mut catalogue = Catalogue::new(Limits::default());
        let mut states: Vec<Arc<ServingState>> = Vec::new();
        for (at, (step, base)) in steps.iter().enumerate() {
            let Some(next) = applied(&catalogue, step, at) else { continue };
            catalogue = next;
            let objects = CatalogueObjects::from(&catalogue);
            let whole = compile(&objects, None, options);
            // Mostly from the newest state, now and then from any.
            let newest = states.len().saturating_sub(1);
            let base = if at % 3 == 0 { base.index(states.len().max(1)) } else { newest };
            let updated = compile(&objects, states.get(base).map(|state| &**state), options);
            prop_assert_eq!(seen(&updated), seen(&whole));
            if check {
                prop_assert_eq!(&updated.report.tests, &whole.report.tests);
            }
            states.extend(updated.state.map(Arc::new));
        }
    }
}
