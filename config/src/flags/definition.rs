//! One flag as it is written: its form, its types, and what is strange about it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::extension::{
    EXTENSION_KEYS, ExperimentRule, Extensions, Prerequisite, RolloutRule, ScheduleWindow,
    SegmentRule,
};
use super::fractional::HashVersion;
use super::schema::{Place, RuleForm, check_rule};
use super::trail::Trail;
use crate::{Code, Fault, Faults, ObjectKind, ObjectName, TimestampMs};

/// The most variants of a flag.
pub const VARIANTS_MAX: usize = 256;

/// flagd's own properties of a flag; `key` is there in the list form of a file.
const FLAGD_KEYS: [&str; 6] =
    ["key", "state", "variants", "defaultVariant", "targeting", "metadata"];

/// A flag as it is written; for the JSON Schema that editors use. Reading goes through
/// [`check_flag`], which says more about what is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlagDefinition {
    /// The flag's key, in the list form of a file only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether it is evaluated.
    pub state: FlagState,
    /// Its values by name: all bools, all strings, all numbers or all objects.
    pub variants: Map<String, Json>,
    /// What it gives where nothing chooses; no value, if absent or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_variant: Option<String>,
    /// JsonLogic that gives the name of a variant, or null for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targeting: Option<Json>,
    /// Bools, strings and numbers that go to clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Json>>,
    /// Which clients' assignment `fractional` follows.
    #[serde(default)]
    pub hash_version: HashVersion,
    /// Which contexts it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<SegmentRule>,
    /// Other flags that must resolve so first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prerequisites: Vec<Prerequisite>,
    /// Windows of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<ScheduleWindow>,
    /// An experiment's allocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentRule>,
    /// A gradual rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutRule>,
    /// Regions whose nodes evaluate it; elsewhere it gives its default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// A kill switch: while it stands, everybody gets this variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
    /// Whether its targeting must have the form of flagd's schema; it must, if absent. With `false`
    /// the flag is served as flagd serves it, and what the schema refuses is a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// Who looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it should be gone; it goes on working, and is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<TimestampMs>,
}

/// Whether a flag is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum FlagState {
    /// It is.
    Enabled,
    /// It has no value.
    Disabled,
}

/// The one type of a flag's variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagType {
    /// Bools.
    Bool,
    /// Strings.
    String,
    /// Numbers, all of them written without a fraction.
    Int,
    /// Numbers, at least one of them written with a fraction.
    Float,
    /// Objects.
    Object,
}

/// A flag's parts after checking; borrows from its body.
#[derive(Debug, Clone)]
pub struct FlagParts<'b> {
    /// Whether it is evaluated.
    pub state: FlagState,
    /// The type of its variants.
    pub flag_type: FlagType,
    /// Its values by name, in order.
    pub variants: Vec<(&'b str, &'b Json)>,
    /// What it gives where nothing chooses.
    pub default_variant: Option<&'b str>,
    /// Its targeting, if not empty.
    pub targeting: Option<&'b Json>,
    /// Whether its targeting has, or must have, the form of flagd's schema.
    pub strict: bool,
    /// Its own metadata.
    pub metadata: Option<&'b Map<String, Json>>,
    /// What is ours.
    pub extensions: Extensions,
}

/// What checking a flag by itself found.
#[derive(Debug, Clone)]
pub struct CheckedFlag<'b> {
    /// What must be corrected; with any of them there are no parts.
    pub faults: Faults,
    /// What is strange but works.
    pub warnings: Faults,
    /// The parts.
    pub parts: Option<FlagParts<'b>>,
}

/// Every fault of a flag by itself; references to other objects are checked with the whole set.
#[must_use]
pub fn validate_flag(key: &str, body: &Json) -> Faults {
    check_flag(key, body).faults
}

/// Every fault of a segment by itself: a JsonLogic condition without `$ref`, as `$evaluators` has
/// them.
#[must_use]
pub fn validate_segment(name: &str, body: &Json) -> Faults {
    check_segment(name, body, true).0
}

/// The faults of a condition, and what is strange about it but works. Without `strict` the latter has
/// what flagd's schema refuses and flagd serves.
pub(super) fn check_segment(name: &str, body: &Json, strict: bool) -> (Faults, Faults) {
    let form = check_rule(body, Place::Shared, &Trail::start("when"));
    let RuleForm { mut faults, beyond_schema, doubts: mut warnings } = form;
    if strict {
        faults.extend(beyond_schema)
    } else {
        warnings.extend(beyond_schema)
    }
    for fault in faults.iter_mut().chain(&mut warnings) {
        // The body is the condition itself, so paths start below it.
        fault.path = fault.path.trim_start_matches("when").trim_start_matches('.').to_owned();
    }
    if let Err(fault) = ObjectName::new(ObjectKind::Segment, name) {
        faults.push(fault);
    }
    (faults, warnings)
}

/// Checks a flag by itself.
#[must_use]
pub fn check_flag<'b>(key: &str, body: &'b Json) -> CheckedFlag<'b> {
    let mut checker = Checker::default();
    if let Err(fault) = ObjectName::new(ObjectKind::Flag, key) {
        checker.faults.push(fault);
    }
    let Json::Object(fields) = body else {
        checker.fault("", "a flag is an object");
        return CheckedFlag { faults: checker.faults, warnings: Vec::new(), parts: None };
    };
    if fields.get("key").is_some_and(|written| written.as_str() != Some(key)) {
        checker.fault("key", format!("must be {key:?}, the flag's name"));
    }
    checker.strict = match fields.get("strict") {
        None => true,
        Some(Json::Bool(strict)) => *strict,
        Some(_) => {
            // Flags of before could say anything here; nothing read it.
            let message = "is neither true nor false, so it counts as true";
            checker.warnings.push(Fault::new(Code::InvalidValue, "strict", message));
            true
        }
    };
    let state = checker.state(fields);
    let (flag_type, variants) = checker.variants(fields);
    let default_variant = checker.default_variant(fields, &variants);
    let targeting = checker.targeting(fields.get("targeting"), "targeting");
    let metadata = check_metadata(fields.get("metadata"), "metadata", &mut checker.faults);
    let (extensions, faults) = Extensions::read(fields);
    checker.faults.extend(faults);
    for (place, named) in extensions.variants() {
        checker.named_variant(&place, named, &variants);
    }
    for (index, window) in extensions.schedule.iter().enumerate() {
        checker.targeting(window.targeting.as_ref(), &format!("schedule[{index}].targeting"));
    }
    checker.warn(fields, targeting, &variants);
    let parts = match (checker.faults.is_empty(), state, flag_type) {
        (true, Some(state), Some(flag_type)) => Some(FlagParts {
            state,
            flag_type,
            variants,
            default_variant,
            targeting,
            strict: checker.strict,
            metadata,
            extensions,
        }),
        _ => None,
    };
    CheckedFlag { faults: checker.faults, warnings: checker.warnings, parts }
}

/// Checks metadata: an object of bools, strings and numbers.
pub fn check_metadata<'b>(
    metadata: Option<&'b Json>,
    place: &str,
    faults: &mut Faults,
) -> Option<&'b Map<String, Json>> {
    let Json::Object(fields) = metadata? else {
        faults.push(Fault::new(Code::FlagInvalid, place, "must be an object"));
        return None;
    };
    for (key, value) in fields {
        if !matches!(value, Json::Bool(_) | Json::String(_) | Json::Number(_)) {
            let message = "must be a bool, a string or a number";
            faults.push(Fault::new(Code::FlagInvalid, format!("{place}.{key}"), message));
        }
    }
    Some(fields)
}

#[derive(Default)]
struct Checker {
    strict: bool,
    faults: Faults,
    warnings: Faults,
}

impl Checker {
    fn fault(&mut self, place: &str, message: impl Into<String>) {
        self.faults.push(Fault::new(Code::FlagInvalid, place, message));
    }

    fn state(&mut self, fields: &Map<String, Json>) -> Option<FlagState> {
        match fields.get("state").map(Json::as_str) {
            Some(Some("ENABLED")) => return Some(FlagState::Enabled),
            Some(Some("DISABLED")) => return Some(FlagState::Disabled),
            Some(_) => self.fault("state", "must be \"ENABLED\" or \"DISABLED\""),
            None => {
                let message = "must be there: \"ENABLED\" or \"DISABLED\"";
                self.faults.push(Fault::new(Code::MissingKey, "state", message));
            }
        }
        None
    }

    fn variants<'b>(
        &mut self,
        fields: &'b Map<String, Json>,
    ) -> (Option<FlagType>, Vec<(&'b str, &'b Json)>) {
        let variants = match fields.get("variants") {
            Some(Json::Object(variants)) if !variants.is_empty() => variants,
            Some(Json::Object(_)) => {
                self.fault("variants", "must hold at least one variant");
                return (None, Vec::new());
            }
            Some(_) => {
                self.fault("variants", "must be an object of values by name");
                return (None, Vec::new());
            }
            None => {
                let message = "must be there: the values by name";
                self.faults.push(Fault::new(Code::MissingKey, "variants", message));
                return (None, Vec::new());
            }
        };
        if variants.len() > VARIANTS_MAX {
            let message = format!("at most {VARIANTS_MAX} variants");
            self.faults.push(Fault::new(Code::LimitExceeded, "variants", message));
        }
        let mut flag_type: Option<FlagType> = None;
        for (name, value) in variants {
            if name.is_empty() {
                self.fault("variants", "a variant's name must not be empty");
            }
            let Some(this) = type_of(value) else {
                let place = format!("variants.{name}");
                self.fault(&place, "must be a bool, a string, a number or an object");
                continue;
            };
            flag_type = match (flag_type, this) {
                (None, this) => Some(this),
                (Some(FlagType::Int), FlagType::Float) | (Some(FlagType::Float), FlagType::Int) => {
                    Some(FlagType::Float)
                }
                (Some(all), this) if all == this => Some(all),
                (Some(all), this) => {
                    let message = format!(
                        "is {}, but the variants before it are of type {}; all must be of one type",
                        this.name(),
                        all.name()
                    );
                    self.fault(&format!("variants.{name}"), message);
                    Some(all)
                }
            };
        }
        (flag_type, variants.iter().map(|(name, value)| (name.as_str(), value)).collect())
    }

    fn default_variant<'b>(
        &mut self,
        fields: &'b Map<String, Json>,
        variants: &[(&str, &Json)],
    ) -> Option<&'b str> {
        match fields.get("defaultVariant") {
            None | Some(Json::Null) => None,
            Some(Json::String(name)) if name.is_empty() => None,
            Some(Json::String(name)) => {
                self.named_variant("defaultVariant", name, variants);
                Some(name)
            }
            Some(_) => {
                self.fault("defaultVariant", "must be the name of a variant, or null");
                None
            }
        }
    }

    fn named_variant(&mut self, place: &str, named: &str, variants: &[(&str, &Json)]) {
        // Without variants their own fault says enough.
        if !variants.is_empty() && variants.iter().all(|(name, _)| *name != named) {
            let names: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
            let message = format!("{named:?} is no variant; variants are {}", names.join(", "));
            self.faults.push(Fault::new(Code::UnknownReference, place, message));
        }
    }

    fn targeting<'b>(&mut self, targeting: Option<&'b Json>, place: &str) -> Option<&'b Json> {
        let targeting = targeting?;
        let form = check_rule(targeting, Place::Targeting, &Trail::start(place));
        self.faults.extend(form.faults);
        self.warnings.extend(form.doubts);
        if self.strict {
            self.faults.extend(form.beyond_schema);
        } else {
            self.warnings.extend(form.beyond_schema);
        }
        let empty = targeting.as_object().is_some_and(Map::is_empty);
        (!empty).then_some(targeting)
    }

    fn warn(
        &mut self,
        fields: &Map<String, Json>,
        targeting: Option<&Json>,
        variants: &[(&str, &Json)],
    ) {
        for key in fields.keys() {
            let known =
                FLAGD_KEYS.contains(&key.as_str()) || EXTENSION_KEYS.contains(&key.as_str());
            if !known {
                let message = "is kept, but nothing reads it";
                self.warnings.push(Fault::new(Code::UnknownKey, key.as_str(), message));
            }
        }
        let Some(targeting) = targeting else { return };
        let mut results = Vec::new();
        collect_results(targeting, &mut results, 0);
        results.sort_unstable();
        results.dedup();
        for result in results {
            if variants.iter().all(|(name, _)| *name != result) {
                let message = format!("gives {result:?}, which is no variant: an error");
                self.warnings.push(Fault::new(Code::UnknownReference, "targeting", message));
            }
        }
    }
}

impl FlagType {
    /// The type in words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::String => "string",
            Self::Int | Self::Float => "number",
            Self::Object => "object",
        }
    }
}

fn type_of(value: &Json) -> Option<FlagType> {
    Some(match value {
        Json::Bool(_) => FlagType::Bool,
        Json::String(_) => FlagType::String,
        Json::Number(number) if number.is_f64() => FlagType::Float,
        Json::Number(_) => FlagType::Int,
        Json::Object(_) => FlagType::Object,
        Json::Null | Json::Array(_) => return None,
    })
}

/// The literal names that a rule can give as its result.
fn collect_results<'b>(rule: &'b Json, results: &mut Vec<&'b str>, depth: usize) {
    if depth > super::logic::LOGIC_DEPTH_MAX {
        return;
    }
    match rule {
        Json::String(name) => results.push(name),
        Json::Bool(true) => results.push("true"),
        Json::Bool(false) => results.push("false"),
        Json::Null | Json::Number(_) | Json::Array(_) => {}
        Json::Object(fields) => match fields.iter().next() {
            Some((operator, Json::Array(items))) if operator == "if" => {
                for (index, item) in items.iter().enumerate() {
                    let is_result = index % 2 == 1 || (index + 1 == items.len() && index > 0);
                    if is_result {
                        collect_results(item, results, depth + 1);
                    }
                }
            }
            Some((operator, Json::Array(items))) if operator == "fractional" => {
                let variants = items.iter().filter_map(|bucket| bucket.as_array()?.first());
                variants.for_each(|variant| collect_results(variant, results, depth + 1));
            }
            _ => {}
        },
    }
}
