//! The fit of models to a flow: which models that a stage may be sent to cannot answer it, and why.
//!
//! A model that the flow names itself is checked when the flow is compiled. What a flag can name is
//! checked here, apart from the compilation, because a flag changes often and its flow does not.

use std::sync::Arc;

use verdict_config::flags::{FlagSet, VariantReach};

use super::{Choice, CompiledFlow, FlowModel, Selection};
use crate::session::CLASSIFY;

/// A model whose columns do not fit the flow's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// A sentence for each column.
    pub messages: Vec<String>,
    /// All of them, as an answer shows them.
    pub detail: Arc<str>,
}

/// The most columns that an answer names.
const COLUMNS_SHOWN: usize = 8;

impl Misfit {
    pub(crate) fn new(messages: Vec<String>) -> Self {
        let mut detail =
            messages.iter().take(COLUMNS_SHOWN).cloned().collect::<Vec<_>>().join("; ");
        if let Some(more @ 1..) = messages.len().checked_sub(COLUMNS_SHOWN) {
            detail.push_str(&format!("; and {more} columns more"));
        }
        Self { messages, detail: detail.into() }
    }
}

/// A model, or a value in the place of one, that a stage's flag names and that cannot answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelMisfit {
    /// Where in the flow the model is chosen.
    pub path: String,
    /// The flag that names it.
    pub flag: Arc<str>,
    /// The flag's variant.
    pub variant: String,
    /// The model, by the name that the variant gives; none where the value names none.
    pub model: Option<Arc<str>>,
    /// What does not fit, in a sentence that names flag, variant, model and column.
    pub message: String,
    /// Whether the flag can give the variant and the model's answer would count.
    pub counts: bool,
}

impl CompiledFlow {
    /// Whether a stage asks this flag for its model.
    #[must_use]
    pub fn chooses_model_by(&self, flag: &str) -> bool {
        self.model_flags().any(|(_, key)| &**key == flag)
    }

    /// The stages whose model a flag chooses, with the flag's key.
    fn model_flags(&self) -> impl Iterator<Item = (usize, &Arc<str>)> {
        let classify = self.classify.as_ref().and_then(|stage| stage.choice.as_ref());
        let risks = self.risks.iter().map(|risk| Some(&risk.choice));
        let choices = std::iter::once(classify).chain(risks).enumerate();
        choices.filter_map(|(stage, choice)| match choice? {
            Choice::Flag(position) => Some((stage, self.flags.get(*position)?)),
            Choice::Fixed(_) => None,
        })
    }

    /// What the variants of the flags that choose models name and what cannot answer its stage.
    #[must_use]
    pub fn model_misfits(&self, flags: &FlagSet) -> Vec<ModelMisfit> {
        let mut misfits = Vec::new();
        for (stage, flag) in self.model_flags() {
            for variant in flags.variant_reach(flag) {
                self.add_misfits(stage, (flag, &variant), &mut misfits);
            }
        }
        misfits
    }

    fn add_misfits(
        &self,
        stage: usize,
        (flag, variant): (&Arc<str>, &VariantReach<'_>),
        misfits: &mut Vec<ModelMisfit>,
    ) {
        let path = self.choice_path(stage);
        let (reachable, name) = (variant.reachable, variant.name);
        let mut add = |model: Option<&Arc<str>>, what: &str, counts: bool| {
            let use_of = if reachable { "" } else { " (which nothing can choose)" };
            misfits.push(ModelMisfit {
                path: path.clone(),
                flag: Arc::clone(flag),
                variant: name.to_owned(),
                model: model.cloned(),
                message: format!("flag {flag}, variant {name:?}{use_of}: {what}"),
                counts,
            });
        };
        let selection = match Selection::of_flag_value(variant.value) {
            Ok(selection) => selection,
            Err(messages) => {
                return messages.iter().for_each(|message| add(None, message, reachable));
            }
        };
        let members = selection.members.iter().map(|member| (&member.model, true));
        let shadows = selection.shadow.iter().map(|model| (model, false));
        for (model, counts) in members.chain(shadows) {
            let role = if counts { "" } else { " (in shadow)" };
            for problem in self.problems(model, stage) {
                add(Some(model), &format!("{problem}{role}"), counts && reachable);
            }
        }
    }

    /// What keeps a model from answering a stage, by a name that reaches it.
    fn problems(&self, name: &str, stage: usize) -> Vec<String> {
        match (self.models.get(name), self.misfits.get(name)) {
            (Some(model), _) => self.unsuited(model, stage).into_iter().collect(),
            (None, Some(misfit)) => misfit.messages.clone(),
            (None, None) => vec![format!("there is no model {name}")],
        }
    }

    /// Why a model whose columns fit cannot answer a stage.
    pub(crate) fn unsuited(&self, model: &FlowModel, stage: usize) -> Option<String> {
        match stage.checked_sub(1) {
            None => unsuited_for_classes(model),
            Some(risk) => unsuited_for_risk(model, self.risks.get(risk)?.label.as_deref()),
        }
    }

    /// Where in the definition a stage's model is chosen.
    pub(crate) fn choice_path(&self, stage: usize) -> String {
        match self.definition.models.get_index(stage.wrapping_sub(1)) {
            Some((key, _)) if stage != CLASSIFY => format!("models.{key}.model"),
            _ => "classify.model".to_owned(),
        }
    }
}

/// Why a model cannot classify.
pub(crate) fn unsuited_for_classes(model: &FlowModel) -> Option<String> {
    let name = &model.interface.name;
    (!model.classifies()).then(|| format!("model {name} finds anomalies; it has no labels"))
}

/// Why a model cannot score: it has no label whose probability is the risk.
pub(crate) fn unsuited_for_risk(model: &FlowModel, label: Option<&str>) -> Option<String> {
    let name = &model.interface.name;
    match (model.risk_position(label), label) {
        (Some(_), _) => None,
        (None, Some(label)) => Some(format!("model {name} has no label {label:?}")),
        (None, None) => Some(format!("model {name} has no positive label: name one")),
    }
}
