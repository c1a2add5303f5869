//! The first stage: typed facts, the unit, and every flag that the flow reads, resolved once.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use smallvec::SmallVec;
use verdict_config::flags::{ErrorCode, EvaluationContext, FlagSet, Resolution};
use verdict_config::schema::Decimals;
use verdict_config::{Code, Facts, FieldType, TimestampMs, Value};
use verdict_rules::RuleMask;

use super::{BeginOptions, Planned, Session, Snooze, WindowQuery, Windows};
use crate::canonical;
use crate::decision::ExperimentArm;
use crate::flow::{CompiledFlow, SwitchFlags};
use crate::record::{DecisionRecord, RequestMark};
use crate::replay::ReplayError;
use crate::request::{DecideRequest, RequestRejected};

/// What a decision is made from, fixed for its whole life; shared with the rules worker.
#[derive(Debug)]
pub(crate) struct Given {
    pub flow: Arc<CompiledFlow>,
    pub id: Arc<str>,
    pub revision: u64,
    pub as_of: TimestampMs,
    pub received_at: TimestampMs,
    pub test: bool,
    pub request: Option<RequestMark>,
    pub unit: Option<Arc<str>>,
    /// The unit is the value of a sensitive field.
    pub unit_sensitive: bool,
    pub input_open: Vec<u8>,
    /// Empty where the request told nothing sensitive.
    pub input_sensitive: Vec<u8>,
    pub facts: Facts,
    pub flags: Vec<ResolvedFlag>,
    pub experiment: Option<ExperimentArm>,
    pub stages: Stages,
    /// Rules that a flag switched off, by set.
    pub disabled: SmallVec<[RuleMask; 2]>,
    /// Rules that are snoozed, by set.
    pub snoozed: SmallVec<[RuleMask; 2]>,
}

/// A flag as it resolved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResolvedFlag {
    pub found: bool,
    pub variant: Option<Arc<str>>,
    pub value: FlagValue,
}

/// A flag's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FlagValue {
    None,
    Bool(bool),
    Other(Json),
}

/// Which stages run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stages {
    pub flow: bool,
    pub rules: bool,
    pub classify_rules: bool,
    pub classify_model: bool,
    pub models: bool,
    pub score: bool,
    pub abstain: bool,
    pub shadow: bool,
}

impl Stages {
    fn new(switches: &SwitchFlags, flags: &[ResolvedFlag]) -> Self {
        let on = |position: Option<usize>| {
            let flag = position.and_then(|position| flags.get(position));
            flag.is_none_or(|flag| flag.value != FlagValue::Bool(false))
        };
        Self {
            flow: on(switches.flow),
            rules: on(switches.rules),
            classify_rules: on(switches.classify_rules),
            classify_model: on(switches.classify_model),
            models: on(switches.models),
            score: on(switches.score),
            abstain: on(switches.abstain),
            shadow: on(switches.shadow),
        }
    }
}

impl ResolvedFlag {
    fn new(resolution: &Resolution<'_>) -> Self {
        let not_found =
            |error: &verdict_config::flags::ResolutionError| error.code == ErrorCode::FlagNotFound;
        Self {
            found: !resolution.error.as_ref().is_some_and(not_found),
            variant: resolution.variant.map(Arc::from),
            value: match resolution.value {
                None | Some(Json::Null) => FlagValue::None,
                Some(Json::Bool(value)) => FlagValue::Bool(*value),
                Some(value) => FlagValue::Other(value.clone()),
            },
        }
    }
}

impl CompiledFlow {
    /// Begins a decision: types the input and resolves the flow's flags.
    ///
    /// # Errors
    /// Every fault of the input.
    pub fn begin(self: &Arc<Self>, options: BeginOptions<'_>) -> Result<Session, RequestRejected> {
        self.begin_by(options, |flags, key, context, as_of| flags.evaluate(key, context, as_of))
    }

    /// Begins a decision of a test: flags that the test names give the variants that it says, and no
    /// kill switch is applied.
    pub(crate) fn begin_test<'t>(
        self: &Arc<Self>,
        options: BeginOptions<'_>,
        pinned: impl Fn(&str) -> Option<&'t str>,
    ) -> Result<Session, RequestRejected> {
        self.begin_by(options, |flags, key, context, as_of| match pinned(key) {
            Some(variant) => flags.resolve_variant(key, variant),
            None => flags.evaluate_unswitched(key, context, as_of),
        })
    }

    fn begin_by(
        self: &Arc<Self>,
        options: BeginOptions<'_>,
        evaluate: impl for<'s> Fn(
            &'s FlagSet,
            &str,
            &EvaluationContext<'_>,
            TimestampMs,
        ) -> Resolution<'s>,
    ) -> Result<Session, RequestRejected> {
        let request = options.request;
        let input = self.exact_input(&request);
        let facts = self
            .schema
            .read(&input)
            .map_err(|faults| RequestRejected::new(Code::InputInvalid, faults))?;
        let mark = request.request_id.as_ref().map(|request_id| RequestMark {
            request_id: request_id.as_str().into(),
            // A plain hash could be guessed after its unit was erased: the journal keeps a keyed one.
            body_sha256: [0; 32],
        });
        let unit = request.unit.as_deref().map(Arc::from).or_else(|| self.unit_of(&facts));
        let as_of = request.as_of.unwrap_or(options.received_at);
        let mut context = EvaluationContext::new(unit.as_deref(), &request.input);
        if let Some(region) = options.region {
            context = context.in_region(Some(region));
        }
        let mut experiment = None;
        let mut flags = Vec::with_capacity(self.flags.len());
        for key in &self.flags {
            let resolution = evaluate(options.flags, key, &context, as_of);
            if let (None, Some(assignment)) = (&experiment, &resolution.assignment) {
                experiment = Some(ExperimentArm {
                    key: assignment.experiment.into(),
                    arm: assignment.arm.into(),
                });
            }
            flags.push(ResolvedFlag::new(&resolution));
        }
        let snoozed = self.snoozed(unit.as_deref(), as_of, options.snoozes);
        let (input_open, input_sensitive) = self.split_input(&input);
        let given = Given {
            flow: Arc::clone(self),
            id: options.id,
            revision: options.revision,
            as_of,
            received_at: options.received_at,
            test: request.test,
            request: mark,
            unit_sensitive: self.unit_slot.is_some_and(|slot| self.is_sensitive(slot)),
            unit,
            input_open,
            input_sensitive,
            facts,
            stages: Stages::new(&self.switches, &flags),
            disabled: self.disabled(&flags),
            snoozed,
            flags,
            experiment,
        };
        Ok(Session::new(given))
    }

    /// The input with the numbers of decimal fields as text where a float would lose digits of them.
    fn exact_input<'r>(&self, request: &'r DecideRequest) -> Cow<'r, Map<String, Json>> {
        let mut input = Cow::Borrowed(&request.input);
        if self.schema.decimals() == Decimals::Rounded {
            return input;
        }
        for (name, text) in &request.exact {
            let field = self.schema.slot(name).and_then(|slot| self.schema.field(slot));
            if field.is_some_and(|(_, field)| field.field_type == FieldType::Decimal) {
                input.to_mut().insert(name.clone(), text.as_ref().into());
            }
        }
        input
    }

    fn unit_of(&self, facts: &Facts) -> Option<Arc<str>> {
        match facts.get(self.unit_slot?)? {
            Value::Text(text) if !text.is_empty() => Some(text.as_ref().into()),
            Value::Int(number) => Some(number.to_string().into()),
            Value::Text(_)
            | Value::Bool(_)
            | Value::Decimal(_)
            | Value::Float(_)
            | Value::Time(_)
            | Value::Set(_) => None,
        }
    }

    /// The input in canonical form: fields that may be kept in the clear, and sensitive ones.
    fn split_input(&self, input: &Map<String, Json>) -> (Vec<u8>, Vec<u8>) {
        let sensitive =
            |name: &str| self.schema.slot(name).is_some_and(|slot| self.is_sensitive(slot));
        let mut open = Vec::with_capacity(input.len() * 32);
        if !self.has_sensitive() {
            canonical::write_object(&mut open, input.iter());
            return (open, Vec::new());
        }
        canonical::write_object(&mut open, input.iter().filter(|(name, _)| !sensitive(name)));
        let told = |(name, value): &(&String, &Json)| !value.is_null() && sensitive(name);
        let mut hidden = Vec::new();
        if input.iter().any(|member| told(&member)) {
            canonical::write_object(&mut hidden, input.iter().filter(told));
        }
        (open, hidden)
    }

    fn disabled(&self, flags: &[ResolvedFlag]) -> SmallVec<[RuleMask; 2]> {
        let mask = |set: &crate::flow::FlowSet| {
            let off = |flag: usize| {
                flags.get(flag).is_some_and(|flag| flag.value == FlagValue::Bool(false))
            };
            set.flags.iter().filter(|(_, flag)| off(*flag)).map(|(rule, _)| *rule).collect()
        };
        self.sets.iter().map(mask).collect()
    }

    fn snoozed(
        &self,
        unit: Option<&str>,
        as_of: TimestampMs,
        more: &[Snooze],
    ) -> SmallVec<[RuleMask; 2]> {
        let mut masks: SmallVec<[RuleMask; 2]> =
            self.sets.iter().map(|_| RuleMask::none()).collect();
        let Some(unit) = unit else { return masks };
        for snoozed in self.snoozes.at(&self.name, unit, as_of) {
            if let Some(mask) = masks.get_mut(snoozed.set as usize) {
                mask.insert(snoozed.rule);
            }
        }
        for snooze in more.iter().filter(|snooze| snooze.key == unit && as_of < snooze.expires) {
            if let Some((set, rule)) = self.snoozable(&snooze.rule) {
                masks[set].insert(rule);
            }
        }
        masks
    }

    fn snoozable(&self, name: &str) -> Option<(usize, u32)> {
        self.sets.iter().enumerate().find_map(|(position, set)| {
            let rule = set.rules.iter().position(|rule| rule.name.as_ref() == name)?;
            let category = set.compiled.rules().get(rule)?.category;
            // Nobody may look away from a sanctions hit.
            (category != Some(verdict_config::definition::Category::Sanctions))
                .then_some((position, u32::try_from(rule).ok()?))
        })
    }
}

impl Given {
    /// What a recorded decision was made from.
    pub(crate) fn of_record(
        record: &DecisionRecord,
        flow: &Arc<CompiledFlow>,
    ) -> Result<Self, ReplayError> {
        let open = &record.open;
        if open.flow != flow.name || &open.flow_hash != flow.content_hash() {
            return Err(ReplayError::WrongFlow);
        }
        let mut given = Self::of_record_on(record, flow)?;
        for (set, rule) in &open.snoozed {
            let known = flow.sets.get(*set as usize).is_some_and(|set| set.rule(*rule).is_some());
            match given.snoozed.get_mut(*set as usize).filter(|_| known) {
                Some(mask) => mask.insert(*rule),
                None => return Err(ReplayError::Damaged("an unknown rule is snoozed".to_owned())),
            }
        }
        Ok(given)
    }

    /// What a recorded decision would be made from in another version of its flow: the same input and
    /// flags, no snoozes.
    pub(crate) fn of_record_on(
        record: &DecisionRecord,
        flow: &Arc<CompiledFlow>,
    ) -> Result<Self, ReplayError> {
        let open = &record.open;
        if record.is_erased() {
            return Err(ReplayError::UnitErased);
        }
        let input = record.input().map_err(|error| ReplayError::Damaged(error.to_string()))?;
        let facts = flow.schema.read_recorded(&input).map_err(ReplayError::Input)?;
        let flags = flow.flags.iter().map(|key| ResolvedFlag::of_record(record, key));
        let flags = flags.collect::<Result<Vec<ResolvedFlag>, ReplayError>>()?;
        let (input_open, input_sensitive) = flow.split_input(&input);
        Ok(Self {
            flow: Arc::clone(flow),
            id: Arc::clone(&open.decision_id),
            revision: open.revision,
            as_of: open.as_of,
            received_at: open.received_at,
            test: open.test,
            request: open.request.clone(),
            unit: record.unit().cloned(),
            unit_sensitive: flow.unit_slot.is_some_and(|slot| flow.is_sensitive(slot)),
            input_open,
            input_sensitive,
            facts,
            stages: Stages::new(&flow.switches, &flags),
            disabled: flow.disabled(&flags),
            snoozed: flow.sets.iter().map(|_| RuleMask::none()).collect(),
            flags,
            experiment: open
                .experiment
                .as_ref()
                .map(|(key, arm)| ExperimentArm { key: Arc::clone(key), arm: Arc::clone(arm) }),
        })
    }
}

impl ResolvedFlag {
    /// A flag as it resolved then; one that the decision did not read is absent.
    fn of_record(record: &DecisionRecord, key: &Arc<str>) -> Result<Self, ReplayError> {
        let Some(flag) = record.open.flags.iter().find(|flag| flag.key == *key) else {
            return Ok(Self { found: false, variant: None, value: FlagValue::None });
        };
        let value = flag.value.as_deref().map(serde_json::from_str).transpose();
        let value = value.map_err(|error| ReplayError::Damaged(error.to_string()))?;
        Ok(Self {
            found: flag.found,
            variant: flag.variant.clone(),
            value: match value {
                None | Some(Json::Null) => FlagValue::None,
                Some(Json::Bool(value)) => FlagValue::Bool(value),
                Some(value) => FlagValue::Other(value),
            },
        })
    }
}

impl Session {
    pub(crate) fn new(given: Given) -> Self {
        let queries = if given.stages.flow { queries(&given) } else { Vec::new() };
        let windows = Windows {
            values: vec![None; given.flow.windows.len()],
            lag_ms: None,
            read: queries.is_empty(),
            partial: false,
        };
        Self {
            given: Arc::new(given),
            queries,
            windows: Arc::new(windows),
            rules: None,
            planned: Planned::Nothing,
            uses: Vec::new(),
            calls: Vec::new(),
            budget_spent: false,
        }
    }
}

fn queries(given: &Given) -> Vec<WindowQuery> {
    let windows = given.flow.windows.iter().enumerate();
    windows
        .filter_map(|(position, read)| {
            let key = given.facts.get(read.key_field)?.clone();
            Some(WindowQuery { read: Arc::clone(read), key, position })
        })
        .collect()
}
