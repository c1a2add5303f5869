//! A flow with its parts, written as JSON, and a driver that plays the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use verdict_config::definition::{
    FlowDefinition, ListDefinition, SnoozeDefinition, TableDefinition, hash_unit,
};
use verdict_config::flags::{FlagSet, FlagSources};
use verdict_config::model::{ColumnKind, ModelColumn, ModelOutput, ModelTask};
use verdict_config::{TimestampMs, Value};
use verdict_decisions::canonical::hex;
use verdict_decisions::request::DecideRequest;
use verdict_decisions::{
    BeginOptions, CompiledFlow, Decided, FlowError, FlowParts, ModelCall, ModelFailure,
    ModelInterface, RuleSetPart, RulesFailure, Session, Snooze,
};
use verdict_rules::{RuleLimits, Scratch};

/// 2026-01-15T12:00:00Z.
pub const NOW: TimestampMs = TimestampMs(1_768_478_400_000);

/// A flow with everything around it.
#[derive(Default)]
pub struct World {
    pub flow: Json,
    pub rule_sets: BTreeMap<String, RuleSetPart>,
    pub lists: BTreeMap<String, Arc<ListDefinition>>,
    pub tables: BTreeMap<String, Arc<TableDefinition>>,
    pub models: BTreeMap<String, Arc<ModelInterface>>,
    pub flags: FlagSet,
    pub flag_bodies: BTreeMap<String, Json>,
    pub answers: BTreeMap<String, Result<ModelOutput, ModelFailure>>,
    pub windows: BTreeMap<String, Value>,
    pub rules_failure: Option<RulesFailure>,
    pub snoozes: Vec<Snooze>,
    pub snooze_objects: BTreeMap<String, Arc<SnoozeDefinition>>,
}

impl World {
    /// A flow of a definition, without parts.
    pub fn new(flow: Json) -> Self {
        Self { flow, ..Self::default() }
    }

    /// Adds a rule set; `rules` is the array of its rules.
    pub fn rules(mut self, name: &str, rules: Json) -> Self {
        let flow = self.flow["flow"].clone();
        let definition = json!({"rule_set": name, "flow": flow, "rules": rules});
        let definition = serde_json::from_value(definition).unwrap();
        let part = RuleSetPart { definition: Arc::new(definition), revision: 12, compiled: None };
        self.rule_sets.insert(name.to_owned(), part);
        self
    }

    /// Adds a list of plain values.
    pub fn list(mut self, name: &str, values: &[&str]) -> Self {
        let entries: Vec<Json> = values.iter().map(|value| json!({"value": value})).collect();
        self.lists.insert(name.to_owned(), from_json(json!({"entries": entries})));
        self
    }

    /// Adds a list of entries.
    pub fn list_entries(mut self, name: &str, entries: Json) -> Self {
        self.lists.insert(name.to_owned(), from_json(json!({"entries": entries})));
        self
    }

    /// Adds an object that snoozes a rule of the set `risk`.
    pub fn snooze(mut self, name: &str, rule: &str, unit: &str, until: TimestampMs) -> Self {
        let (salt, flow) = ("0a".repeat(16), self.flow["flow"].as_str().unwrap().to_owned());
        let unit_hash = hex(&hash_unit(&salt, &flow, unit));
        let (rule_set, rule, comment) = ("risk".into(), rule.to_owned(), "case 7".into());
        let snooze = SnoozeDefinition { flow, rule_set, rule, salt, unit_hash, until, comment };
        self.snooze_objects.insert(name.to_owned(), Arc::new(snooze));
        self
    }

    /// Adds a table.
    pub fn table(mut self, name: &str, columns: Json, rows: Json) -> Self {
        let table = from_json(json!({"columns": columns, "rows": rows}));
        self.tables.insert(name.to_owned(), table);
        self
    }

    /// Adds a flag with one variant that it always gives.
    pub fn flag(mut self, key: &str, value: Json) -> Self {
        let body =
            json!({"state": "ENABLED", "variants": {"this": value}, "defaultVariant": "this"});
        self.flag_bodies.insert(key.to_owned(), body);
        self.compile_flags()
    }

    /// Adds a flag as flagd writes it.
    pub fn flag_body(mut self, key: &str, body: Json) -> Self {
        self.flag_bodies.insert(key.to_owned(), body);
        self.compile_flags()
    }

    fn compile_flags(mut self) -> Self {
        let (segments, files) = (BTreeMap::new(), BTreeMap::new());
        let sources = FlagSources::new(&self.flag_bodies, &segments, &files);
        self.flags = FlagSet::compile(&sources).unwrap();
        self
    }

    /// Adds a two-class model over the field `text`, which answers with this probability of `bad`.
    pub fn risk_model(self, name: &str, probability: f32) -> Self {
        self.model(name, &["good", "bad"], &[1.0 - probability, probability])
    }

    /// Adds a model over the field `text`, which answers with these scores.
    pub fn model(mut self, name: &str, labels: &[&str], scores: &[f32]) -> Self {
        let interface = ModelInterface {
            name: name.to_owned(),
            version: "7".to_owned(),
            content_hash: format!("hash-of-{name}").into(),
            task: ModelTask::Classification,
            labels: labels.iter().map(|label| Arc::from(*label)).collect(),
            positive_label: Some("bad".to_owned()),
            columns: vec![ModelColumn { name: "text".to_owned(), kind: ColumnKind::Text }],
            ood_threshold: Some(2.0),
        };
        self.models.insert(name.to_owned(), Arc::new(interface));
        self.answer(name, scores, Some(1.0))
    }

    /// Adds an anomaly model over the field `amount`.
    pub fn anomaly_model(mut self, name: &str, score: f32) -> Self {
        let interface = ModelInterface {
            name: name.to_owned(),
            version: "1".to_owned(),
            content_hash: format!("hash-of-{name}").into(),
            task: ModelTask::Anomaly,
            labels: Vec::new(),
            positive_label: None,
            columns: vec![ModelColumn { name: "amount".to_owned(), kind: ColumnKind::Number }],
            ood_threshold: None,
        };
        self.models.insert(name.to_owned(), Arc::new(interface));
        self.answer(name, &[score], None)
    }

    /// What a model answers.
    pub fn answer(mut self, name: &str, scores: &[f32], ood_distance: Option<f32>) -> Self {
        let output =
            ModelOutput { scores: scores.to_vec(), ood_distance, kernel: "test".to_owned() };
        self.answers.insert(name.to_owned(), Ok(output));
        self
    }

    /// A model that fails.
    pub fn fails(mut self, name: &str, failure: ModelFailure) -> Self {
        self.answers.insert(name.to_owned(), Err(failure));
        self
    }

    /// What a window answers, by the canonical text of its call.
    pub fn window(mut self, text: &str, value: Value) -> Self {
        self.windows.insert(text.to_owned(), value);
        self
    }

    /// Changes the flow's definition.
    pub fn with(mut self, key: &str, value: Json) -> Self {
        self.flow[key] = value;
        self
    }

    pub fn try_compile(&self) -> Result<CompiledFlow, FlowError> {
        let definition: FlowDefinition = serde_json::from_value(self.flow.clone()).unwrap();
        let parts = FlowParts {
            rule_sets: &self.rule_sets,
            lists: &self.lists,
            snoozes: &self.snooze_objects,
            tables: &self.tables,
            models: &self.models,
            flags: &self.flags,
            limits: RuleLimits::default(),
        };
        CompiledFlow::compile(&definition, &parts)
    }

    pub fn compile(&self) -> Arc<CompiledFlow> {
        match self.try_compile() {
            Ok(flow) => Arc::new(flow),
            Err(error) => panic!("{:#?}", error.into_faults()),
        }
    }

    /// Decides an input.
    pub fn decide(&self, input: Json) -> Decided {
        self.decide_request(request(input))
    }

    /// The answer's JSON to an input, sealed.
    pub fn answer_to(&self, input: Json) -> Json {
        let sealed = self.decide(input).seal(38, false).unwrap();
        serde_json::from_slice(&sealed.answer).unwrap()
    }

    pub fn decide_request(&self, request: DecideRequest) -> Decided {
        let mut session = self.begin(&self.compile(), request);
        self.drive(&mut session);
        session.conclude(&mut Scratch::default())
    }

    pub fn begin(&self, flow: &Arc<CompiledFlow>, request: DecideRequest) -> Session {
        let options = BeginOptions {
            request,
            flags: &self.flags,
            region: None,
            id: "01KDECISION".into(),
            received_at: NOW,
            revision: 1_234,
            snoozes: &self.snoozes,
        };
        flow.begin(options).unwrap()
    }

    /// Plays the node: windows, rules, models and fallbacks.
    pub fn drive(&self, session: &mut Session) {
        let texts: Vec<String> =
            session.window_queries().iter().map(|query| query.read.text.clone()).collect();
        let values = texts.iter().map(|text| self.windows.get(text).cloned()).collect();
        session.set_windows(values, 0);
        match self.rules_failure {
            Some(failure) => session.set_rules(Err(failure)).unwrap(),
            None => session.run_rules(&mut Scratch::default()),
        }
        loop {
            let calls = session.model_calls();
            if calls.is_empty() {
                break;
            }
            for call in calls {
                let output = self.output(&call);
                session.set_output(call.call, output);
            }
        }
    }

    fn output(&self, call: &ModelCall) -> Result<ModelOutput, ModelFailure> {
        self.answers.get(call.model.as_ref()).cloned().unwrap_or(Err(ModelFailure::Absent))
    }
}

fn from_json<T: serde::de::DeserializeOwned>(value: Json) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

pub fn request(input: Json) -> DecideRequest {
    DecideRequest { input: object(input), ..DecideRequest::default() }
}

pub fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// The fields that most flows here have.
pub fn fields() -> Json {
    json!({
        "text": {"type": "string"},
        "name": {"type": "string"},
        "country": {"type": "symbol"},
        "amount": {"type": "decimal"},
        "age_days": {"type": "int"},
        "card": {"type": "symbol"},
    })
}

/// A flow with those fields and the rule set `risk`.
pub fn flow() -> Json {
    json!({"flow": "test", "fields": fields(), "rules": ["risk"]})
}

/// A rule that hits whenever `amount` is at least 1.
pub fn rule(id: &str, category: &str, then: Json) -> Json {
    json!({"id": id, "category": category, "when": "amount >= 1", "then": then})
}
