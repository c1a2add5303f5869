//! Models that flags can name and that do not fit the flow which asks for them.
//!
//! They are findings, because what the catalogue holds already goes on: the answer then says
//! `model_unfit`. Where the flag can give the model, the next change of the flow, the flag, the model
//! or the alias is refused.

use std::sync::Arc;

use verdict_config::{Code, ObjectId, ObjectKind, Refusal};
use verdict_decisions::ModelMisfit;

use super::{Compiler, flags, id_of};
use crate::catalogue::ObjectFinding;

impl Compiler<'_> {
    /// Whether anything has changed that can make a model fit no more.
    fn reaches_misfits(&self) -> bool {
        let Some(previous) = self.previous else { return true };
        if !Arc::ptr_eq(&previous.flows, &self.flows) {
            return true;
        }
        self.changed.iter().any(|object| match object.key.kind {
            ObjectKind::Flag => {
                let key = object.key.name.as_str();
                self.flows.values().any(|served| served.flow.chooses_model_by(key))
            }
            // A segment or the evaluators of a file may stand in any flag's targeting.
            _ => flags::is_for_flags(object.key),
        })
    }

    /// Finds the models that flags name and that do not fit, or takes over what was found before.
    pub(super) fn find_misfits(&mut self) {
        let Some(flag_set) = self.flags.clone() else { return };
        if !self.reaches_misfits() {
            if let Some(previous) = self.previous {
                self.misfits = Arc::clone(&previous.misfits);
            }
        } else {
            let mut found = Vec::new();
            for (name, served) in self.flows.iter() {
                let Some(flow) = id_of(ObjectKind::Flow, name) else { continue };
                let misfits = served.flow.model_misfits(&flag_set);
                found.extend(misfits.into_iter().map(|misfit| self.finding_of(&flow, misfit)));
            }
            self.misfits = found.into();
        }
        self.report.findings.extend(self.misfits.iter().cloned());
    }

    fn finding_of(&self, flow: &ObjectId, misfit: ModelMisfit) -> ObjectFinding {
        let ModelMisfit { path, flag, model, message, counts, .. } = misfit;
        let mut concerned = vec![flow.clone()];
        concerned.extend(id_of(ObjectKind::Flag, &flag));
        if let Some(name) = &model {
            let target = self.models.get(name.as_ref()).map(|model| model.name.as_str());
            concerned.extend(id_of(ObjectKind::Model, target.unwrap_or(name)));
            concerned.extend(id_of(ObjectKind::Alias, name));
        }
        let finding = ObjectFinding::new(flow.clone(), "model_misfit", path, message);
        let refusal = counts.then(|| Refusal::of(Code::ModelInput, concerned));
        ObjectFinding { refusal, ..finding }
    }
}
