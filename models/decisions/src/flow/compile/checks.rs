//! What can be judged of a flow without its parts.

use verdict_config::definition::{FlowDefinition, Level, LevelThresholds, Outcome};
use verdict_config::name::is_plain_name;
use verdict_config::{Code, Fault, Faults, Field, FieldType};

use crate::flow::FlowFinding;
use crate::score::SCORE_MAX;
use crate::testing;

/// The most fields of a flow.
const FIELDS_MAX: usize = 512;
/// The most rule sets, models and segments of a flow, each.
const PARTS_MAX: usize = 64;

/// Collects every fault and finding of a definition.
pub(super) fn check(
    definition: &FlowDefinition,
    faults: &mut Faults,
    findings: &mut Vec<FlowFinding>,
) {
    let mut check = Check { faults, findings };
    check.name(definition);
    check.fields(definition);
    check.unit(definition);
    check.classify(definition);
    check.models(definition);
    check.score(definition);
    check.sizes(definition);
    check.faults.extend(testing::check_sizes(&definition.tests));
}

struct Check<'a> {
    faults: &'a mut Faults,
    findings: &'a mut Vec<FlowFinding>,
}

impl Check<'_> {
    fn fault(&mut self, code: Code, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault::new(code, path, message));
    }

    fn name(&mut self, definition: &FlowDefinition) {
        if !is_plain_name(&definition.flow) {
            let message =
                format!("{:?} is no name. {}", definition.flow, Code::InvalidName.advice());
            self.fault(Code::InvalidName, "flow", message);
        }
    }

    fn fields(&mut self, definition: &FlowDefinition) {
        if definition.fields.is_empty() {
            self.fault(Code::MissingKey, "fields", "a flow needs at least one field");
        }
        for (name, field) in &definition.fields {
            self.field(name, field);
        }
    }

    fn field(&mut self, name: &str, field: &Field) {
        let path = format!("fields.{name}");
        if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
            let message = "a field's name has 1 to 64 characters, none of them control characters";
            self.fault(Code::InvalidName, path.as_str(), message);
        } else if !is_identifier(name) {
            // Columns of training data are fields too, and are called anything.
            let message = "rules cannot read it: they name letters, digits and '_' only";
            self.findings.push(FlowFinding::new(path.clone(), message));
        }
        if matches!(name, "scores" | "classification" | "as_of") {
            let message = format!("{name} is the name of a fact that the flow makes");
            self.fault(Code::DuplicateName, path.as_str(), message);
        }
        let bounds = [field.min, field.max];
        if bounds.iter().flatten().any(|bound| !bound.is_finite()) {
            self.fault(Code::InvalidValue, path.as_str(), "min and max are finite numbers");
        }
        if let (Some(min), Some(max)) = (field.min, field.max)
            && min > max
        {
            self.fault(Code::InvalidValue, path.as_str(), format!("min {min} is above max {max}"));
        }
        let kind = field.field_type;
        let number = matches!(kind, FieldType::Int | FieldType::Decimal | FieldType::Float);
        let text = matches!(kind, FieldType::Symbol | FieldType::String | FieldType::Set);
        for (key, present, allowed) in [
            ("min", field.min.is_some(), number),
            ("max", field.max.is_some(), number),
            ("max_chars", field.max_chars.is_some(), text),
            ("symbols", field.symbols.is_some(), text),
            ("max_items", field.max_items.is_some(), kind == FieldType::Set),
        ] {
            if present && !allowed {
                let message = format!("a {} has no {key}", kind.as_str());
                self.fault(Code::InvalidValue, format!("{path}.{key}"), message);
            }
        }
        if field.symbols.as_ref().is_some_and(Vec::is_empty) {
            let message = "no symbol is allowed: name some, or leave the key out";
            self.fault(Code::InvalidValue, format!("{path}.symbols"), message);
        }
    }

    fn unit(&mut self, definition: &FlowDefinition) {
        let Some(unit) = &definition.unit else { return };
        let Some(field) = definition.fields.get(unit) else {
            let message = format!("the flow has no field {unit:?}");
            return self.fault(Code::UnknownReference, "unit", message);
        };
        if !matches!(field.field_type, FieldType::Symbol | FieldType::String | FieldType::Int) {
            let message =
                format!("a unit is a symbol, string or int, not {}", field.field_type.as_str());
            self.fault(Code::InvalidValue, "unit", message);
        }
    }

    fn classify(&mut self, definition: &FlowDefinition) {
        let Some(classify) = &definition.classify else { return };
        if classify.scheme.is_empty() || classify.scheme.len() > 64 {
            self.fault(Code::InvalidValue, "classify.scheme", "a scheme has 1 to 64 characters");
        }
        for (key, value) in [
            ("accept_from", classify.accept_from),
            ("delta", classify.delta),
            ("min_confidence", classify.min_confidence),
        ] {
            if !(0.0..=1.0).contains(&value) {
                let message = format!("{key} is a number from 0 to 1, got {value}");
                self.fault(Code::InvalidValue, format!("classify.{key}"), message);
            }
        }
    }

    fn models(&mut self, definition: &FlowDefinition) {
        for (key, model) in &definition.models {
            let path = format!("models.{key}");
            if !is_identifier(key) {
                let message =
                    "a key is written with letters, digits and '_': rules read scores.KEY";
                self.fault(Code::InvalidName, path.as_str(), message);
            }
            for (name, value) in
                [("points_per_logit", model.points_per_logit), ("offset", model.offset)]
            {
                if !value.is_finite() {
                    let message = format!("{name} is a finite number");
                    self.fault(Code::InvalidValue, format!("{path}.{name}"), message);
                }
            }
            if !(0..=SCORE_MAX).contains(&model.points_max) {
                let message = format!("points_max is 0 to {SCORE_MAX}, got {}", model.points_max);
                self.fault(Code::InvalidValue, format!("{path}.points_max"), message);
            }
            if model.reason.as_deref().is_some_and(|reason| !is_reason(reason)) {
                let message =
                    "a reason code is A-Z, 0-9 and '_', at most 64, starting with a letter";
                self.fault(Code::InvalidValue, format!("{path}.reason"), message);
            }
        }
    }

    fn score(&mut self, definition: &FlowDefinition) {
        let score = &definition.score;
        if !(0..=SCORE_MAX).contains(&score.base) {
            let message = format!("base is 0 to {SCORE_MAX}, got {}", score.base);
            self.fault(Code::InvalidValue, "score.base", message);
        }
        self.levels("score.levels", &score.levels);
        let mut names: Vec<&str> = Vec::new();
        for (position, segment) in score.segments.iter().enumerate() {
            let path = format!("score.segments[{position}]");
            self.levels(&format!("{path}.levels"), &segment.levels);
            if names.contains(&segment.name.as_str()) {
                let message = format!("two segments are named {:?}", segment.name);
                self.fault(Code::DuplicateName, format!("{path}.name"), message);
            }
            names.push(&segment.name);
        }
        let mut highest = Outcome::Approve;
        for level in Level::ALL {
            let outcome = score.outcomes.get(level).copied().unwrap_or(Outcome::Approve);
            if outcome < highest {
                let message = format!("level {level} asks for {outcome}, less than a lower level");
                self.findings.push(FlowFinding::new(format!("score.outcomes.{level}"), message));
            }
            highest = highest.max(outcome);
        }
    }

    fn levels(&mut self, path: &str, levels: &LevelThresholds) {
        let thresholds =
            [("medium", levels.medium), ("high", levels.high), ("critical", levels.critical)];
        for (name, threshold) in thresholds {
            if !(0..=SCORE_MAX).contains(&threshold) {
                let message = format!("a threshold is 0 to {SCORE_MAX}, got {threshold}");
                self.fault(Code::InvalidValue, format!("{path}.{name}"), message);
            }
        }
        if !thresholds.is_sorted_by_key(|(_, threshold)| *threshold) {
            let message = "thresholds ascend: medium, high, critical";
            self.fault(Code::InvalidValue, path, message);
        }
    }

    fn sizes(&mut self, definition: &FlowDefinition) {
        let classify_rules =
            definition.classify.as_ref().map_or(0, |classify| classify.rules.len());
        for (path, count, limit) in [
            ("fields", definition.fields.len(), FIELDS_MAX),
            ("rules", definition.rules.len(), PARTS_MAX),
            ("classify.rules", classify_rules, PARTS_MAX),
            ("models", definition.models.len(), PARTS_MAX),
            ("score.segments", definition.score.segments.len(), PARTS_MAX),
        ] {
            if count > limit {
                let message = format!("at most {limit}, got {count}");
                self.fault(Code::LimitExceeded, path, message);
            }
        }
    }
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && name.len() <= 64 && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_reason(reason: &str) -> bool {
    let mut bytes = reason.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_uppercase());
    first
        && reason.len() <= 64
        && bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
