//! The answers of models that a test gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;
use verdict_config::definition::FlowTest;
use verdict_config::model::{ModelOutput, ModelTask};

use crate::flow::CompiledFlow;
use crate::parts::ModelInterface;
use crate::session::{ModelCall, ModelFailure};

/// What stands in the place of a kernel where a test gives the scores.
const KERNEL: &str = "test";

/// The failures that a test can give in the place of an answer.
const FAILURES: [ModelFailure; 4] =
    [ModelFailure::Absent, ModelFailure::Overloaded, ModelFailure::TimedOut, ModelFailure::Failed];

/// Answers by the content hash of the model.
pub(super) struct GivenAnswers<'a> {
    by_hash: BTreeMap<Arc<str>, (Arc<ModelInterface>, &'a Json)>,
}

/// An answer, or why what the test says is none.
type Answer = Result<Result<ModelOutput, ModelFailure>, String>;

impl<'a> GivenAnswers<'a> {
    /// Reads the answers of a test, by any name that reaches a model.
    pub(super) fn read(
        flow: &CompiledFlow,
        test: &'a FlowTest,
        failures: &mut Vec<String>,
    ) -> Self {
        let mut by_hash = BTreeMap::new();
        for (name, answer) in &test.models {
            let fallback = flow.fallback.as_ref().and_then(|fallback| fallback.model.as_ref());
            let fallback = fallback.filter(|model| model.interface.name == *name);
            match flow.models.get(name).or(fallback) {
                Some(model) => {
                    let interface = Arc::clone(&model.interface);
                    by_hash.insert(Arc::clone(&interface.content_hash), (interface, answer));
                }
                None if flow.misfits.contains_key(name) => {
                    failures.push(format!("models.{name}: the model does not fit the flow"));
                }
                None => failures.push(format!("models.{name}: there is no such model")),
            }
        }
        Self { by_hash }
    }

    /// The answer to a call, where the test gives one.
    pub(super) fn to(&self, flow: &CompiledFlow, call: &ModelCall) -> Option<Answer> {
        let (interface, answer) = self.by_hash.get(&call.content_hash)?;
        Some(output(flow, interface, call, answer))
    }
}

fn output(
    flow: &CompiledFlow,
    interface: &ModelInterface,
    call: &ModelCall,
    answer: &Json,
) -> Answer {
    let wrong = |what: String| Err(format!("models.{}: {what}", call.model));
    let scores: Vec<f64> = match answer {
        Json::String(name) => {
            let found = FAILURES.into_iter().find(|failure| failure.as_str() == name);
            let names = FAILURES.map(ModelFailure::as_str).join(", ");
            return match found {
                Some(failure) => Ok(Err(failure)),
                None => wrong(format!("{name:?} is no failure; there are {names}")),
            };
        }
        Json::Number(number) => {
            of_label(flow, interface, call, number.as_f64().unwrap_or(f64::NAN))?
        }
        Json::Object(shares) => {
            let mut scores = vec![0.0; interface.labels.len()];
            for (label, share) in shares {
                let place = interface.labels.iter().position(|known| known.as_ref() == label);
                match (place, share.as_f64()) {
                    (Some(place), Some(share)) => scores[place] = share,
                    (None, _) => return wrong(format!("the model has no label {label:?}")),
                    (_, None) => return wrong(format!("{label}: a probability is a number")),
                }
            }
            scores
        }
        Json::Null | Json::Bool(_) | Json::Array(_) => {
            let what = "say a probability, a probability for each label, or a failure";
            return wrong(what.to_owned());
        }
    };
    if scores.iter().any(|share| !(0.0..=1.0).contains(share)) {
        return wrong("a probability is a number from 0 to 1".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, reason = "a probability")]
    let scores = scores.into_iter().map(|share| share as f32).collect();
    Ok(Ok(ModelOutput { scores, ood_distance: None, kernel: KERNEL.to_owned() }))
}

/// The scores of a model that gives a probability to the label that the stage reads; the other labels
/// share the rest.
fn of_label(
    flow: &CompiledFlow,
    interface: &ModelInterface,
    call: &ModelCall,
    share: f64,
) -> Result<Vec<f64>, String> {
    if interface.task == ModelTask::Anomaly {
        return Ok(vec![share]);
    }
    let risk = flow.risks.iter().find(|risk| risk.fact == call.stage);
    let label = risk.and_then(|risk| risk.label.as_deref().or(interface.positive_label.as_deref()));
    let place =
        label.and_then(|label| interface.labels.iter().position(|known| known.as_ref() == label));
    let Some(place) = place else {
        return Err(format!("models.{}: say a probability for each label", call.model));
    };
    #[expect(clippy::cast_precision_loss, reason = "labels are few")]
    let rest = (1.0 - share) / interface.labels.len().saturating_sub(1).max(1) as f64;
    let mut scores = vec![rest; interface.labels.len()];
    scores[place] = share;
    Ok(scores)
}
