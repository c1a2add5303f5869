//! Flags against the vectors of flagd and JsonLogic, and against what their clients compute.

#[path = "flags/files.rs"]
mod files;
#[path = "flags/golden.rs"]
mod golden;
#[path = "flags/incremental.rs"]
mod incremental;
#[path = "flags/lenient.rs"]
mod lenient;
#[path = "flags/ofrep.rs"]
mod ofrep;
#[path = "flags/properties.rs"]
mod properties;
#[path = "flags/reachable.rs"]
mod reachable;
#[path = "flags/semantics.rs"]
mod semantics;
#[path = "flags/vectors.rs"]
mod vectors;

use std::collections::BTreeMap;

use serde_json::Value as Json;
use verdict_config::Faults;
use verdict_config::flags::{EvaluationContext, FlagSet, FlagSources};

/// A set of an object of flags, an object of segments and one file setting's parts.
fn compile_with(
    flags: &Json,
    segments: &Json,
    files: &BTreeMap<String, Json>,
) -> Result<FlagSet, Faults> {
    let entries = |json: &Json| -> BTreeMap<String, Json> {
        json.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let (flags, segments) = (entries(flags), entries(segments));
    FlagSet::compile(&FlagSources::new(&flags, &segments, files))
}

fn compile(flags: Json) -> FlagSet {
    compile_with(&flags, &Json::Null, &BTreeMap::new()).unwrap_or_else(|faults| {
        panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

fn context(json: Json) -> EvaluationContext<'static> {
    EvaluationContext::from_json(json).unwrap()
}

/// Code and path of each fault.
fn told(faults: &Faults) -> Vec<String> {
    faults.iter().map(|fault| format!("{} {}", fault.code, fault.path)).collect()
}
