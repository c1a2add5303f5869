//! A flag that has to do with no other object.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::flag::FlagCompiler;
use crate::Faults;
use crate::flags::definition::{CheckedFlag, check_flag};
use crate::flags::logic::References;

/// The faults of a flag that names no other object; `None` for one that does, which can be judged
/// only with all flags. Where no other flag names it either, these are all the faults that a set
/// with it has and one without it has not.
#[must_use]
pub fn check_alone(key: &str, body: &Json) -> Option<Faults> {
    let CheckedFlag { faults, parts, .. } = check_flag(key, body);
    let Some(parts) = parts else { return Some(faults) };
    let (key, nothing) = (Arc::from(key), References::default());
    let mut compiler = FlagCompiler {
        key: &key,
        parts: &parts,
        references: &[&nothing, &nothing],
        named: BTreeSet::new(),
        faults,
        warnings: Vec::new(),
    };
    compiler.compile(None, [0; 32]);
    let alone = compiler.named.is_empty() && parts.extensions.prerequisites.is_empty();
    alone.then_some(compiler.faults)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::flags::{FlagSet, FlagSources};

    #[test]
    fn it_finds_what_a_set_of_the_flag_finds() {
        let flag = |rest: Json| {
            let mut body = json!({
                "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "on",
            });
            body.as_object_mut().expect("an object").extend(rest.as_object().expect("one").clone());
            body
        };
        let split =
            |weight: i64| json!({ "targeting": { "fractional": [["on", weight], ["off", 50]] } });
        for (body, named) in [
            (flag(json!({})), false),
            (flag(json!({ "defaultVariant": "none" })), false),
            (flag(json!({ "variants": { "on": true, "off": 1 } })), false),
            (flag(json!({ "targeting": { "no_such_operator": [1] } })), false),
            (flag(split(50)), false),
            (flag(split(-1)), false),
            (flag(json!({ "regions": [] })), false),
            (flag(json!({ "regions": ["eu"], "off": "off" })), false),
            (json!(3), false),
            (flag(json!({ "targeting": { "$ref": "staff" } })), true),
            (flag(json!({ "segments": { "any": ["staff"] } })), true),
            (flag(json!({ "prerequisites": [{ "flag": "g", "variant": "on" }] })), true),
        ] {
            let found = check_alone("f", &body);
            assert_eq!(found.is_none(), named, "{body}: {found:?}");
            let Some(found) = found else { continue };
            let flags = BTreeMap::from([("f", &body)]);
            let whole = FlagSet::compile(&FlagSources { flags, ..FlagSources::default() });
            let whole = whole.err().unwrap_or_default().into_iter().map(|fault| {
                let path = fault.path.strip_prefix("flag/f").expect("the flag's");
                (fault.code, path.trim_start_matches('.').to_owned())
            });
            let found: Vec<_> = found.into_iter().map(|fault| (fault.code, fault.path)).collect();
            assert_eq!(found, whole.collect::<Vec<_>>(), "{body}");
        }
    }
}
