//! A set that is made from another is the set that would be made of everything anew.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use verdict_config::flags::{FlagSet, FlagSource, FlagSources, FlagUpdate, ofrep};
use verdict_config::{Faults, TimestampMs};

use super::{context, told};

/// The objects, as bodies by name.
#[derive(Debug, Clone, Default)]
struct Objects {
    flags: BTreeMap<String, Json>,
    segments: BTreeMap<String, Json>,
    files: BTreeMap<String, Json>,
}

impl Objects {
    fn of(&mut self, source: FlagSource) -> &mut BTreeMap<String, Json> {
        match source {
            FlagSource::Flag => &mut self.flags,
            FlagSource::Segment => &mut self.segments,
            FlagSource::File => &mut self.files,
        }
    }

    fn compile(&self) -> Result<FlagSet, Faults> {
        FlagSet::compile(&FlagSources::new(&self.flags, &self.segments, &self.files))
    }

    fn update(&self, before: &FlagSet, changes: &[Change]) -> Result<FlagSet, Faults> {
        let body = |source: FlagSource, name: &str| {
            let objects = match source {
                FlagSource::Flag => &self.flags,
                FlagSource::Segment => &self.segments,
                FlagSource::File => &self.files,
            };
            objects.get(name).cloned().map(Cow::Owned)
        };
        let of = |wanted: FlagSource| -> BTreeSet<&str> {
            let named = changes.iter().filter(|change| change.source == wanted);
            named.map(|change| change.name.as_str()).collect()
        };
        let (flags, segments) = (of(FlagSource::Flag), of(FlagSource::Segment));
        let files = of(FlagSource::File);
        before.update(&FlagUpdate { flags, segments, files, body: &body })
    }
}

#[derive(Debug, Clone)]
struct Change {
    source: FlagSource,
    name: String,
    /// None: it is deleted.
    body: Option<Json>,
}

/// Few names, so that changes meet each other; `$ref` also names what is not there.
fn flag() -> impl Strategy<Value = Json> {
    let targeting = prop_oneof![
        Just(Json::Null),
        Just(json!({"if": [{"$ref": "s0"}, "a", "b"]})),
        Just(json!({"if": [{"$ref": "e0"}, "a", "b"]})),
        Just(json!({"if": [{"$ref": "nowhere"}, "a", "b"]})),
        Just(json!({"if": [{"<": [{"var": "$flagd.timestamp"}, 1000]}, "a", null]})),
        Just(json!({"fractional": [["a", 50], ["b", 50]]})),
        Just(json!("unknown-variant")),
    ];
    let prerequisite = (0..5_u8, any::<bool>()).prop_map(
        |(flag, a)| json!({"flag": format!("f{flag}"), "variant": if a { "a" } else { "c" }}),
    );
    let prerequisites = prop::collection::vec(prerequisite, 0..3);
    let segments = prop::collection::vec(0..3_u8, 0..2);
    let shape = (any::<bool>(), any::<bool>(), any::<bool>(), 0..3_u8, any::<bool>());
    (targeting, prerequisites, segments, shape).prop_map(
        |(targeting, prerequisites, segments, (enabled, third, own, version, expires))| {
            let mut flag = json!({
                "state": if enabled { "ENABLED" } else { "DISABLED" },
                "variants": {"a": 1, "b": 2},
                "defaultVariant": "b",
                "hashVersion": (["v1", "v2", "v3"][version as usize]),
            });
            if third {
                flag["variants"]["c"] = json!(3);
            }
            if !targeting.is_null() {
                flag["targeting"] = targeting;
            }
            // Most flags have none, or hardly any set would be whole.
            if !prerequisites.is_empty() && own {
                flag["prerequisites"] = json!(prerequisites);
            }
            if !segments.is_empty() {
                let names: Vec<_> = segments.iter().map(|name| format!("s{name}")).collect();
                flag["segments"] = json!({"any": names});
            }
            if own {
                flag["metadata"] = json!({"owner": "x"});
            }
            if expires {
                flag["expires"] = json!("1970-01-01T00:00:00.005Z");
            }
            flag
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let segment = prop_oneof![
        Just(json!({"==": [{"var": "country"}, "NL"]})),
        Just(json!({"==": [{"var": "country"}, "DE"]})),
        Just(json!({"fractional": [["x", 1], ["", 1]]})),
        Just(json!({"nonsense": 1})),
    ];
    let file = (prop::collection::btree_set(0..7_u8, 0..5), 0..4_u8).prop_map(|(keys, kind)| {
        let keys: Vec<_> = keys.iter().map(|key| format!("f{key}")).collect();
        let mut document = json!({"flags": keys});
        if kind > 0 {
            document["metadata"] = json!({"team": format!("t{kind}"), "version": "1"});
        }
        if kind > 1 {
            document["$evaluators"] = json!({"e0": {"==": [{"var": "country"}, "NL"]}});
        }
        json!({"form": "object", "document": document})
    });
    let put = prop_oneof![
        8 => (0..7_u8, flag()).prop_map(|(name, body)| (FlagSource::Flag, format!("f{name}"), body)),
        2 => (0..3_u8, segment).prop_map(|(name, body)| {
            (FlagSource::Segment, format!("s{name}"), body)
        }),
        2 => (0..2_u8, file).prop_map(|(name, body)| (FlagSource::File, format!("p{name}"), body)),
    ];
    (put, 0..6_u8).prop_map(|((source, name, body), chance)| {
        let body = (chance > 0).then_some(body);
        Change { source, name, body }
    })
}

/// Everything that can be seen of a set.
fn seen(set: &FlagSet) -> Vec<String> {
    let mut seen = vec![
        set.content_hash().to_owned(),
        format!("{:?}", set.keys().collect::<Vec<_>>()),
        format!("{:?}", set.warnings()),
        format!("{:?}", set.expired(TimestampMs(10)).collect::<BTreeSet<_>>()),
        format!("{:?}", set.metadata()),
        set.reads_time().to_string(),
    ];
    for country in ["NL", "DE"] {
        for at in [0, 2_000_000] {
            let context = context(json!({"targetingKey": "u1", "country": country}));
            let answer =
                ofrep::evaluate_all(set, &context, TimestampMs(at), &ofrep::BulkOptions::default());
            seen.push(answer.body);
            seen.push(format!("{:?}", answer.etag));
        }
    }
    for key in set.keys() {
        seen.push(format!("{key} {} {}", set.contains(key), set.flag_reads_time(key)));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn an_update_is_what_compiling_everything_gives(
        steps in prop::collection::vec(prop::collection::vec(change(), 1..5), 1..30),
    ) {
        let mut objects = Objects::default();
        let mut set = FlagSet::default();
        let mut older = Vec::new();
        for changes in steps {
            let mut next = objects.clone();
            for Change { source, name, body } in &changes {
                match body {
                    Some(body) => drop(next.of(*source).insert(name.clone(), body.clone())),
                    None => drop(next.of(*source).remove(name)),
                }
            }
            match (next.compile(), next.update(&set, &changes)) {
                (Ok(whole), Ok(updated)) => {
                    prop_assert_eq!(seen(&updated), seen(&whole));
                    older.push((set, seen(&updated)));
                    (objects, set) = (next, updated);
                }
                // What is refused leaves set and objects as they were.
                (Err(whole), Err(updated)) => prop_assert_eq!(told(&updated), told(&whole)),
                (whole, updated) => {
                    prop_assert!(false, "{:?} but {:?}", whole.err(), updated.err());
                }
            }
        }
        // Sets that others were made from have not changed: what each of them gives by the update
        // that was made of it is told by the next one's base.
        for pair in older.windows(2) {
            prop_assert_eq!(&seen(&pair[1].0), &pair[0].1);
        }
    }
}

#[test]
fn flipping_a_flag_that_others_need_leaves_them_alone_and_is_seen_by_them() {
    let mut objects = Objects::default();
    let parent = |off: Json| {
        let mut flag = json!({"state": "ENABLED", "variants": {"on": true, "off": false},
            "defaultVariant": "on"});
        if !off.is_null() {
            flag["off"] = off;
        }
        flag
    };
    objects.flags.insert("parent".into(), parent(Json::Null));
    objects.flags.insert(
        "child".into(),
        json!({"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
            "prerequisites": [{"flag": "parent", "variant": "on"}], "targeting": {"if": [true, "on"]}}),
    );
    let before = objects.compile().unwrap();
    let change = Change {
        source: FlagSource::Flag,
        name: "parent".into(),
        body: Some(parent("off".into())),
    };
    objects.flags.insert(change.name.clone(), change.body.clone().unwrap());
    let after = objects.update(&before, &[change]).unwrap();
    let child = |set: &FlagSet| set.resolve_bool("child", &context(json!({})), TimestampMs(0));
    assert_eq!((child(&before), child(&after)), (Some(true), Some(false)));
}
