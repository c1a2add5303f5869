//! The stages of a decision: which ran, and what came of them.

use super::Explainer;
use super::shapes::{StageStatus, StageTrace};
use crate::session::ModelRole;

fn trace(stage: &str, status: StageStatus, detail: &str) -> StageTrace {
    StageTrace { stage: stage.into(), status, detail: detail.to_owned() }
}

impl Explainer<'_> {
    pub(super) fn stages(&self) -> Vec<StageTrace> {
        let mut stages = vec![trace("validate", StageStatus::Ran, "the input fits the schema")];
        let given = &self.session.given;
        if !given.stages.flow {
            stages.push(trace("flow", StageStatus::Off, "a flag switched the flow off"));
            return stages;
        }
        let settled = self.session.is_settled();
        let failed = matches!(self.session.rules, Some(Err(_)) | None);
        let flow = self.flow();
        if !flow.definition.rules.is_empty() {
            stages.push(match (given.stages.rules, failed, settled) {
                (false, ..) => trace("rules", StageStatus::Off, "a flag switched the rules off"),
                (true, true, _) => trace("rules", StageStatus::Failed, "the rules did not run"),
                (true, false, true) => {
                    trace("rules", StageStatus::Settled, "a rule settled the decision at block")
                }
                (true, false, false) => trace("rules", StageStatus::Ran, "the rules ran"),
            });
        }
        if flow.classify.is_some() {
            stages.push(self.classify_rules_stage(failed));
            stages.push(self.model_stage(0, given.stages.classify_model, settled));
        }
        for stage in 1..=flow.risks.len() {
            stages.push(self.model_stage(stage, given.stages.models, settled));
        }
        stages.push(match given.stages.score {
            true => trace("score", StageStatus::Ran, "points were summed to a score"),
            false => trace("score", StageStatus::Off, "a flag switched the score off"),
        });
        stages.push(match (given.stages.abstain, settled) {
            (false, _) => trace("abstain", StageStatus::Off, "a flag switched abstention off"),
            (true, true) => trace("abstain", StageStatus::NotNeeded, "the decision was settled"),
            (true, false) if self.assessment.abstained.is_empty() => {
                trace("abstain", StageStatus::Ran, "there was no reason to abstain")
            }
            (true, false) => trace("abstain", StageStatus::Ran, "the flow abstained"),
        });
        stages
    }

    fn classify_rules_stage(&self, failed: bool) -> StageTrace {
        let name = "classify_rules";
        if !self.session.given.stages.classify_rules {
            return trace(name, StageStatus::Off, "a flag switched classification by rules off");
        }
        if failed {
            return trace(name, StageStatus::Failed, "the rules did not run");
        }
        let candidates = self.session.rule_candidates();
        match candidates.first() {
            None => trace(name, StageStatus::Ran, "no rule named a label"),
            Some(best) if self.session.is_accepted(&candidates) => trace(
                name,
                StageStatus::Settled,
                &format!(
                    "{} named {} with confidence {}: accepted",
                    best.source, best.label, best.confidence
                ),
            ),
            Some(best) => trace(
                name,
                StageStatus::Ran,
                &format!(
                    "{} named {} with confidence {}: not enough",
                    best.source, best.label, best.confidence
                ),
            ),
        }
    }

    fn model_stage(&self, stage: usize, on: bool, settled: bool) -> StageTrace {
        let name = self.flow().stage_name(stage);
        if !on {
            return trace(&name, StageStatus::Off, "a flag switched it off");
        }
        let counting: Vec<String> = self
            .session
            .uses
            .iter()
            .filter(|used| used.stage == stage && used.role != ModelRole::Shadow)
            .map(|used| match self.session.output(used) {
                Ok((model, _)) => format!("{} {} answered", used.role.as_str(), model.label),
                Err(failure) => {
                    let detail = used.detail.as_ref().map_or(String::new(), |d| format!(" ({d})"));
                    format!("{} {}: {}{detail}", used.role.as_str(), used.name, failure.as_str())
                }
            })
            .collect();
        match (counting.is_empty(), self.session.stage_failed(stage)) {
            (true, _) if settled => trace(
                &name,
                StageStatus::NotNeeded,
                "the decision was settled; models ran in shadow",
            ),
            (true, _) => trace(&name, StageStatus::NotNeeded, "no model was needed"),
            (false, true) => trace(&name, StageStatus::Failed, &counting.join("; ")),
            (false, false) => trace(&name, StageStatus::Ran, &counting.join("; ")),
        }
    }
}
