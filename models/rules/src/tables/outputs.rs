//! The outputs of rows, and how those of several rows join.

use verdict_config::definition::{Effect, Outcome};
use verdict_config::{Code, Fault, Faults};

const OUTPUTS: &str = "points, outcome, reason, label, confidence, floor, cap";

/// Reads an output column into the effects of its rows; an empty cell (or `-`) says nothing.
pub fn read<'c>(
    output: &str,
    cells: impl Iterator<Item = &'c str>,
    effects: &mut [Effect],
) -> Faults {
    let mut faults = Faults::new();
    if !OUTPUTS.split(", ").any(|known| known == output) {
        let message = format!("there is no output {output:?}: outputs are then. and {OUTPUTS}");
        let path = format!("columns[then.{output}]");
        return vec![Fault::new(Code::TableInvalid, path, message)];
    }
    for (row, (text, effect)) in cells.zip(effects).enumerate() {
        if text.is_empty() || text == "-" {
            continue;
        }
        if let Err(message) = set(output, text, effect) {
            let path = format!("rows[{row}].columns[then.{output}]");
            let message = format!("row {}, column then.{output}: {message}", row + 1);
            faults.push(Fault::new(Code::TableInvalid, path, message));
        }
    }
    faults
}

fn set(output: &str, text: &str, effect: &mut Effect) -> Result<(), String> {
    match output {
        "points" => effect.points = Some(whole(text, -1_000)?),
        "floor" => effect.floor = Some(whole(text, 0)?),
        "cap" => effect.cap = Some(whole(text, 0)?),
        "outcome" => {
            let known = || Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect::<Vec<_>>();
            let outcome = Outcome::ALL.iter().find(|outcome| outcome.as_str() == text);
            let outcome =
                outcome.ok_or_else(|| format!("{text:?} is none of {}", known().join(", ")))?;
            effect.outcome = Some(*outcome);
        }
        "reason" => {
            let mut bytes = text.bytes();
            let fits = text.len() <= 64
                && bytes.next().is_some_and(|first| first.is_ascii_uppercase())
                && bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            if !fits {
                return Err(format!(
                    "{text:?} is no reason code: write capitals, digits and _ like LARGE_AMOUNT"
                ));
            }
            effect.reason = Some(text.to_owned());
        }
        "label" => effect.label = Some(text.to_owned()),
        _ => {
            let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
            effect.confidence =
                Some(number.ok_or_else(|| format!("{text:?} is no number between 0 and 1"))?);
        }
    }
    Ok(())
}

fn whole(text: &str, min: i32) -> Result<i32, String> {
    let number = text.parse::<i32>().ok().filter(|number| (min..=1_000).contains(number));
    number.ok_or_else(|| format!("{text:?} is no whole number between {min} and 1000"))
}

/// Takes from the rule's own effect what a row says nothing about.
pub fn complete(effect: &mut Effect, base: &Effect) {
    effect.points = effect.points.or(base.points);
    effect.floor = effect.floor.or(base.floor);
    effect.cap = effect.cap.or(base.cap);
    effect.outcome = effect.outcome.or(base.outcome);
    effect.allow = base.allow;
    if effect.label.is_none() {
        effect.label.clone_from(&base.label);
    }
    effect.confidence = effect.confidence.or(base.confidence);
    if effect.reason.is_none() {
        effect.reason.clone_from(&base.reason);
    }
}

/// One effect out of several: the graver outcome, the higher floor, the lower cap, the first reason,
/// the label of most confidence. `None` out of none.
pub fn join<'e>(effects: impl Iterator<Item = &'e Effect>, points: Option<i32>) -> Option<Effect> {
    let mut joined: Option<Effect> = None;
    for effect in effects {
        let Some(whole) = &mut joined else {
            joined = Some(effect.clone());
            continue;
        };
        whole.outcome = whole.outcome.max(effect.outcome);
        whole.floor = whole.floor.max(effect.floor);
        whole.cap = match (whole.cap, effect.cap) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if whole.reason.is_none() {
            whole.reason.clone_from(&effect.reason);
        }
        let sure = |effect: &Effect| effect.confidence.unwrap_or(1.0);
        if effect.label.is_some() && (whole.label.is_none() || sure(effect) > sure(whole)) {
            whole.label.clone_from(&effect.label);
            whole.confidence = effect.confidence;
        }
    }
    if let Some(whole) = &mut joined {
        whole.points = points;
    }
    joined
}
