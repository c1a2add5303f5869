//! Assignments as flagd's clients of today compute them; the numbers come from running them.
//!
//! v1: PyPI `openfeature-provider-flagd` 0.2.2. v2: npm `@openfeature/flagd-core` 4.0.1.
//! v3: PyPI `openfeature-flagd-core` 2.0.0. Users are `user-0` to `user-199`, the flag is `split`,
//! weights are 10, 20, 30, 40.

use serde_json::{Value as Json, json};
use verdict_config::TimestampMs;
use verdict_config::flags::{Reason, murmur3};

use super::{compile, context};

#[test]
fn murmur3_gives_the_reference_values() {
    let cases = [
        ("", 0),
        ("a", 1_009_084_850),
        ("ab", 2_613_040_991),
        ("abc", 3_017_643_002),
        ("abcd", 1_139_631_978),
        ("abcde", 3_902_511_862),
        ("hello, world", 345_750_399),
        ("user-1", 4_171_401_059),
        ("The quick brown fox jumps over the lazy dog", 776_992_547),
        ("Sulisław Świętopełk", 1_275_813_716),
        ("日本語", 2_779_017_879),
    ];
    for (text, expected) in cases {
        assert_eq!(murmur3(text.as_bytes()), expected, "{text}");
        // In pieces of every size it is the same hash.
        for size in 1..6 {
            let mut hash = verdict_config::flags::Murmur3::new();
            text.as_bytes().chunks(size).for_each(|piece| hash.write(piece));
            assert_eq!(hash.finish(), expected, "{text} in pieces of {size}");
        }
    }
}

const V1: &str = "dadcdcdadcacbdcacacdcbadddcbcdcccddbdbabcddddcdcdccccdccbbadadcbddbcdcdbdadcbbcbddaddabccdbdbcddddacadbddbbbcddddcbbddaccdbddbdbddcddddcdccdddaccdacccdddbbbcadbccddbddcdcbcacbccbdbcddcbacbcddddcdcccdb";
const V1_KEYED: &str = "cabccccdacdddcbcdcdbbbddbcbbaadbdcbcbccdcccacbccabcddddddbddbcdcdcdcdadddcbdccbbaddcddcabcddccbcddccdddccdbacddcadcddbcaddddcdbccdacabcabdcdbbccbcabacbdcbddabadcbdcbcbdbdcdcdccbadbddcddccadcdcabbbadcc";
const V2: &str = "ddcbcbcdcbdddcbdbdbcbadcccddbdbddccadbaddcdcdbcbcddddcbbdbacacbdccbdcbcdcdcddbbadcadcadbdcddadccdcdbdddccdddddccdbadccadbcdddddaccbdcccbddbcccdddcadbdcccddddacbbdddbccdcbabdbddbdcbbccdddbdbccdcdcbbddd";
const V2_KEYED: &str = "bddbdddcdbcccbddddcaddddddddadcdcbadabdcbbdddddbdddcccccddccbbcdcbcbcdcccbddbddddccbccbabdccdbdbccbdcccddcadddcbacdccdbdcccdbcbddcaddadadcdcbdddddababdddbccaddcbdcdabdcacdcbddbdddddcbccdbdcdcdabdaacbb";
const V3: &str = "ccdccdccdcdbdaabdddccaccdbdcdcbcddcccdcbdbdddcbdcdbbdbcddbdbddbcddddcdddccddcddbdabdcbbdddbcbcbbcdcdadccbcdadccbdcbaccbcddccdcbdcdccbdddddcdaddddadcddddcbbdcdcbddccdddddddcabcddcdcadcccddccbaadbbcddac";
const V3_KEYED: &str = "ccadcdadccdbcddbbbbcdbccddbccdccbcabaddbdddcbcdbdcdddcbaccccdddadadaccdbdccddbcddddcdadcddcddcccdcdcddcbddddddccccdbbcdbddccbcdcdddbddacddabcccaddbcddadbbbdcdcbbdcdacddddddbcabdddbdccccbccdcacadbccbcd";

fn flag(version: &str, key: Option<Json>) -> Json {
    let mut split: Vec<Json> = key.into_iter().collect();
    split.extend([json!(["a", 10]), json!(["b", 20]), json!(["c", 30]), json!(["d", 40])]);
    json!({
        "state": "ENABLED",
        "variants": {"a": "a", "b": "b", "c": "c", "d": "d"},
        "hashVersion": version,
        "targeting": {"fractional": split}
    })
}

#[test]
fn each_version_assigns_as_its_clients_do() {
    for (version, unkeyed, keyed) in
        [("v1", V1, V1_KEYED), ("v2", V2, V2_KEYED), ("v3", V3, V3_KEYED)]
    {
        let id = json!({"var": "id"});
        let set = compile(json!({"split": flag(version, None), "keyed": flag(version, Some(id))}));
        let mut given = (String::new(), String::new());
        for user in 0..200 {
            let key = format!("user-{user}");
            let context = context(json!({"targetingKey": key, "id": key}));
            for (flag, given) in [("split", &mut given.0), ("keyed", &mut given.1)] {
                let resolution = set.evaluate(flag, &context, TimestampMs(0));
                assert_eq!(resolution.reason, Reason::TargetingMatch);
                given.push_str(resolution.as_text().unwrap());
            }
        }
        assert_eq!((given.0.as_str(), given.1.as_str()), (unkeyed, keyed), "{version}");
    }
}

#[test]
fn the_default_version_is_v2() {
    let mut unpinned = flag("v2", None);
    unpinned.as_object_mut().unwrap().remove("hashVersion");
    let set = compile(json!({"split": unpinned}));
    let given: String = (0..200)
        .map(|user| {
            let context = context(json!({"targetingKey": format!("user-{user}")}));
            set.evaluate("split", &context, TimestampMs(0)).as_text().unwrap()
        })
        .collect();
    assert_eq!(given, V2);
}

#[test]
fn v3_splits_by_values_of_any_type_and_the_others_by_texts_only() {
    let cases = [
        (json!(1), "d"),
        (json!(1.0), "d"),
        (json!(1.5), "a"),
        (json!(-7), "b"),
        (json!(true), "b"),
        (json!(false), "a"),
        (json!({"id": 5}), "a"),
        (json!({"z": 1, "a": 2}), "c"),
        (json!(1e20), "d"),
        (json!(""), "b"),
        (json!("ü"), "d"),
    ];
    let id = || Some(json!({"var": "id"}));
    let set =
        compile(json!({"v1": flag("v1", id()), "v2": flag("v2", id()), "v3": flag("v3", id())}));
    for (key, expected) in cases {
        let context = context(json!({"targetingKey": "u", "id": key}));
        let given = |flag| set.evaluate(flag, &context, TimestampMs(0));
        assert_eq!(given("v3").as_text(), Some(expected), "{key}");
        if !key.is_string() {
            for flag in ["v1", "v2"] {
                assert_eq!((given(flag).as_text(), given(flag).reason), (None, Reason::Default));
            }
        }
    }
    let nothing = context(json!({"targetingKey": "u"}));
    assert_eq!(set.evaluate("v3", &nothing, TimestampMs(0)).reason, Reason::Default);
}
