//! The strict form of targeting, as flagd's schema gives it.
//!
//! What JsonLogic would take silently is reported here: unknown operators, wrong numbers of
//! arguments, arguments of the wrong kind, unknown `$flagd` properties. Stricter than the schema in
//! two points that it leaves open by accident: an operation has exactly one operator, and lists
//! hold no unknown operators either. More lenient in one: `$ref` may stand wherever an operation
//! may.

use serde_json::{Map, Value as Json};

use super::fractional::WEIGHT_SUM_MAX;
use super::logic::LOGIC_DEPTH_MAX;
use super::trail::Trail;
use super::version::{VERSION_OPERATORS, is_full_version};
use crate::{Code, Fault, Faults};

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a flag: `$ref` is allowed.
    Targeting,
    /// In a shared condition: `$ref` is not, because references do not nest.
    Shared,
}

/// What is wrong with a rule's form.
#[derive(Debug, Clone, Default)]
pub struct RuleForm {
    /// Faults that no mode takes: the rule could not be compiled.
    pub faults: Faults,
    /// What flagd's schema refuses, while flagd serves the flag with a warning. Faults, unless the flag
    /// says `"strict": false`.
    pub beyond_schema: Faults,
    /// What the schema allows and hardly anybody means.
    pub doubts: Faults,
}

/// Checks a rule's form. `{}` is the empty rule.
pub fn check_rule(rule: &Json, place: Place, trail: &Trail<'_>) -> RuleForm {
    let mut checker = Checker { place, form: RuleForm::default() };
    match rule {
        Json::Object(fields) if fields.is_empty() => {}
        Json::Object(fields) => checker.operation(fields, trail, 0),
        _ => checker.fault(trail, "must be an object with one operator, or {}"),
    }
    checker.form
}

/// How many arguments an operator takes, and whether one may stand without brackets.
const fn arity(operator: &str) -> Option<(usize, usize, bool)> {
    const MANY: usize = usize::MAX;
    Some(match operator.as_bytes() {
        b"if" | b"or" | b"and" | b"+" | b"-" | b"max" | b"min" | b"merge" | b"cat" => {
            (1, MANY, false)
        }
        b"==" | b"===" | b"!=" | b"!==" | b">" | b">=" | b"%" | b"/" | b"map" | b"filter"
        | b"all" | b"none" | b"some" | b"in" => (2, 2, false),
        b"substr" | b"<" | b"<=" => (2, 3, false),
        b"reduce" => (3, 3, false),
        b"*" => (2, MANY, false),
        b"!" | b"!!" => (1, 1, true),
        _ => return None,
    })
}

struct Checker {
    place: Place,
    form: RuleForm,
}

impl Checker {
    /// Something that flagd's schema refuses and flagd serves.
    fn fault(&mut self, trail: &Trail<'_>, message: impl Into<String>) {
        let fault = Fault::new(Code::FlagInvalid, trail.to_string(), message);
        self.form.beyond_schema.push(fault);
    }

    /// Something that cannot be compiled.
    fn hard(&mut self, trail: &Trail<'_>, message: impl Into<String>) {
        self.form.faults.push(Fault::new(Code::FlagInvalid, trail.to_string(), message));
    }

    fn doubt(&mut self, trail: &Trail<'_>, message: impl Into<String>) {
        self.form.doubts.push(Fault::new(Code::InvalidValue, trail.to_string(), message));
    }

    fn value(&mut self, value: &Json, trail: &Trail<'_>, depth: usize) {
        if depth > LOGIC_DEPTH_MAX {
            let message = format!("rules nest at most {LOGIC_DEPTH_MAX} levels");
            self.form.faults.push(Fault::new(Code::LimitExceeded, trail.to_string(), message));
            return;
        }
        match value {
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, &trail.at(index), depth + 1);
                }
            }
            Json::Object(fields) => self.operation(fields, trail, depth),
        }
    }

    fn operation(&mut self, fields: &Map<String, Json>, trail: &Trail<'_>, depth: usize) {
        let mut entries = fields.iter();
        let (Some((operator, arguments)), None) = (entries.next(), entries.next()) else {
            return self.hard(trail, "an operation is an object with exactly one operator");
        };
        let trail = trail.key(operator);
        match operator.as_str() {
            "$ref" => self.reference(arguments, &trail),
            "var" => self.variable(arguments, &trail, depth),
            "missing" => self.names(arguments, &trail),
            "missing_some" => match arguments.as_array().map(Vec::as_slice) {
                Some([Json::Number(_), names]) => self.names(names, &trail.at(1)),
                _ => self.fault(&trail, "takes [number, [names]]"),
            },
            "starts_with" | "ends_with" => self.affix(arguments, &trail, depth),
            "sem_ver" => self.version(arguments, &trail, depth),
            "fractional" => self.fractional(arguments, &trail, depth),
            other => match arity(other) {
                Some(arity) => {
                    self.dropped(other, arguments, &trail);
                    self.time(other, arguments, &trail);
                    self.arguments(arguments, arity, &trail, depth);
                }
                None => self.fault(&trail, format!("{other:?} is no operator")),
            },
        }
    }

    fn arguments(
        &mut self,
        arguments: &Json,
        (least, most, bare): (usize, usize, bool),
        trail: &Trail<'_>,
        depth: usize,
    ) {
        match arguments {
            Json::Array(items) => {
                let fits = (least..=most).contains(&items.len()) || (bare && items.is_empty());
                if !fits {
                    let wanted = match most {
                        usize::MAX => format!("at least {least}"),
                        most if most == least => format!("{least}"),
                        most => format!("{least} to {most}"),
                    };
                    let message = format!("takes {wanted} arguments, not {}", items.len());
                    self.fault(trail, message);
                }
                self.value(arguments, trail, depth + 1);
            }
            _ if bare => self.value(arguments, trail, depth + 1),
            _ => self.fault(trail, "takes a list of arguments"),
        }
    }

    /// Arguments that the schema allows and no evaluation reads.
    fn dropped(&mut self, operator: &str, arguments: &Json, trail: &Trail<'_>) {
        if let ("-", Json::Array(items)) = (operator, arguments)
            && items.len() > 2
        {
            let message = format!(
                "takes 2 arguments and drops the {} behind them; write one \"-\" inside another",
                items.len() - 2
            );
            self.doubt(trail, message);
        }
    }

    /// Comparisons of `$flagd.timestamp` that never hold: it is a number of seconds.
    fn time(&mut self, operator: &str, arguments: &Json, trail: &Trail<'_>) {
        let compares = matches!(operator, "==" | "===" | "!=" | "!==" | "<" | "<=" | ">" | ">=");
        let Some(items) = arguments.as_array().filter(|_| compares) else { return };
        if !items.iter().any(is_timestamp) {
            return;
        }
        for (index, other) in items.iter().enumerate() {
            let problem = match other {
                Json::String(text) if text.parse::<f64>().is_err() || operator.len() == 3 => {
                    format!("$flagd.timestamp is a number of seconds, and {text:?} is a text")
                }
                Json::Number(number) if number.as_f64().is_some_and(|n| n >= MILLISECONDS_FROM) => {
                    format!("$flagd.timestamp counts seconds, and {number} looks like milliseconds")
                }
                _ => continue,
            };
            let message = format!("{problem}: write seconds since 1970, such as 1767225600");
            self.doubt(&trail.at(index), message);
        }
    }

    fn reference(&mut self, name: &Json, trail: &Trail<'_>) {
        if self.place == Place::Shared {
            self.hard(trail, "references do not nest: write the condition out");
        } else if !name.is_string() {
            self.hard(trail, "takes the name of an evaluator or segment");
        }
    }

    fn variable(&mut self, arguments: &Json, trail: &Trail<'_>, depth: usize) {
        let (path, default) = match arguments {
            Json::Array(items) => (items.first(), items.get(1)),
            path => (Some(path), None),
        };
        if let Some(beyond) = arguments.as_array().and_then(|items| items.get(2..)).map(<[_]>::len)
            && beyond > 0
        {
            let message = format!("takes a path and a default, and drops the {beyond} behind them");
            self.doubt(trail, message);
        }
        match path {
            Some(Json::String(path)) => {
                let property = path.strip_prefix("$flagd.");
                if property.is_some_and(|name| name != "timestamp" && name != "flagKey") {
                    let message = format!("{path:?}: $flagd has flagKey and timestamp");
                    self.fault(trail, message);
                }
            }
            None | Some(Json::Null | Json::Number(_)) => {}
            Some(Json::Bool(_) | Json::Array(_)) => self.fault(trail, "takes the path of a value"),
            Some(Json::Object(fields)) => self.operation(fields, trail, depth + 1),
        }
        if let Some(default) = default {
            self.value(default, &trail.at(1), depth + 1);
        }
    }

    fn names(&mut self, names: &Json, trail: &Trail<'_>) {
        match names {
            Json::Array(names) if names.iter().all(Json::is_string) => {}
            _ => self.fault(trail, "takes a list of names"),
        }
    }

    fn affix(&mut self, arguments: &Json, trail: &Trail<'_>, depth: usize) {
        let Some([text, affix]) = arguments.as_array().map(Vec::as_slice) else {
            return self.fault(trail, "takes [text, text]");
        };
        for (index, argument) in [text, affix].into_iter().enumerate() {
            match argument {
                Json::String(_) => {}
                Json::Object(fields) => self.operation(fields, &trail.at(index), depth + 1),
                _ => self.fault(&trail.at(index), "must be a text or an operation"),
            }
        }
    }

    fn version(&mut self, arguments: &Json, trail: &Trail<'_>, depth: usize) {
        let Some([left, operator, right]) = arguments.as_array().map(Vec::as_slice) else {
            return self.fault(trail, "takes [version, operator, version]");
        };
        for (index, version) in [(0, left), (2, right)] {
            let trail = trail.at(index);
            match version {
                Json::String(text) if is_full_version(text) => {}
                Json::Object(fields) if fields.contains_key("var") => {
                    self.operation(fields, &trail, depth + 1);
                }
                _ => self.fault(&trail, "must be a version like 1.2.3 or a var"),
            }
        }
        if !operator.as_str().is_some_and(|text| VERSION_OPERATORS.contains(&text)) {
            let message = format!("must be one of {}", VERSION_OPERATORS.join(" "));
            self.fault(&trail.at(1), message);
        }
    }

    fn fractional(&mut self, arguments: &Json, trail: &Trail<'_>, depth: usize) {
        let Some(items) = arguments.as_array() else {
            return self.fault(trail, "takes a list of buckets");
        };
        let buckets = match items.split_first() {
            Some((Json::Object(key), buckets)) => {
                self.operation(key, &trail.at(0), depth + 1);
                buckets
            }
            Some((Json::Array(_), _)) => items,
            Some(_) => {
                let message = "the bucketing value must be an operation, like {\"var\": \"email\"}";
                return self.fault(&trail.at(0), message);
            }
            None => &[],
        };
        if buckets.is_empty() {
            self.fault(trail, "needs at least one bucket, like [\"on\", 50]");
        }
        let first = items.len() - buckets.len();
        let mut sum = 0_i64;
        for (index, bucket) in buckets.iter().enumerate() {
            let weight = self.bucket(bucket, &trail.at(first + index), depth + 1);
            sum = sum.saturating_add(weight);
        }
        let weights = buckets.iter().map(|bucket| bucket.get(1));
        let all_zero = weights.map(|weight| weight.and_then(Json::as_f64)).all(|w| w == Some(0.0));
        if all_zero && !buckets.is_empty() {
            self.doubt(trail, "every weight is 0, so that no bucket is ever chosen");
        }
        if sum > WEIGHT_SUM_MAX {
            self.fault(trail, format!("weights sum to {sum}; at most {WEIGHT_SUM_MAX}"));
        }
    }

    /// Checks a bucket and gives its weight, as far as it is a literal.
    fn bucket(&mut self, bucket: &Json, trail: &Trail<'_>, depth: usize) -> i64 {
        let (variant, weight) = match bucket.as_array().map(Vec::as_slice) {
            Some([variant]) => (variant, None),
            Some([variant, weight]) => (variant, Some(weight)),
            _ => {
                self.fault(trail, "a bucket is [variant] or [variant, weight]");
                return 0;
            }
        };
        match variant {
            Json::Array(_) => self.fault(&trail.at(0), "a variant is no list"),
            other => self.value(other, &trail.at(0), depth + 1),
        }
        match weight {
            None => 1,
            Some(Json::Object(fields)) => {
                self.operation(fields, &trail.at(1), depth + 1);
                0
            }
            Some(Json::Number(number)) => match literal_weight(number) {
                Some(weight) => weight,
                None => {
                    let message = format!("{number} is no whole number from 0");
                    self.fault(&trail.at(1), message);
                    0
                }
            },
            Some(_) => {
                self.fault(&trail.at(1), "must be a whole number or an operation");
                0
            }
        }
    }
}

/// A number of seconds that no clock of today shows, and of milliseconds that is after 1973.
const MILLISECONDS_FROM: f64 = 1e11;

fn is_timestamp(value: &Json) -> bool {
    let path = match value.get("var") {
        Some(Json::Array(items)) => items.first(),
        path => path,
    };
    path.and_then(Json::as_str) == Some("$flagd.timestamp")
}

fn literal_weight(number: &serde_json::Number) -> Option<i64> {
    if let Some(weight) = number.as_u64() {
        return Some(i64::try_from(weight).unwrap_or(i64::MAX));
    }
    let weight = number.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "whole; saturates")]
    (weight >= 0.0 && weight.fract() == 0.0).then_some(weight as i64)
}
