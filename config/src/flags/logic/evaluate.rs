//! Evaluation of the compiled tree.
//!
//! Reads borrow from the rule and the context; only operations that make texts or lists allocate.
//! Work is counted in steps: an evaluation that exceeds its steps ends with an error, whatever the
//! rule and the context are.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::{Map, Value as Json};

use super::coerce::{
    loosely_equal, order, parse_float, push_joined, strictly_equal, substring, to_number, to_text,
    truthy,
};
use super::datum::{Datum, List, MADE_DEPTH_MAX, Number, Object, Segment, follow, segments};
use super::node::{Arithmetic, Comparison, Each, Node, VersionTest};
use crate::flags::context::{EvaluationContext, TARGETING_KEY, deeper_than};
use crate::flags::fractional::{Split, Weight, weight_of};
use crate::flags::version::Version;

/// The most steps one evaluation may take.
pub const STEPS_MAX: usize = 200_000;

/// Why an evaluation ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogicError {
    /// It took more than [`STEPS_MAX`] steps.
    #[error("the evaluation takes more than {STEPS_MAX} steps")]
    TooCostly,
    /// It made lists or objects that nest too deep.
    #[error("the evaluation makes lists deeper than {MADE_DEPTH_MAX} levels")]
    TooDeep,
    /// It met a `$ref` that names nothing.
    #[error("$ref names {0:?}, which no evaluator or segment is called")]
    Unresolved(String),
}

type Outcome<'a> = Result<Datum<'a>, LogicError>;

/// What a whole evaluation reads.
#[derive(Debug, Clone, Copy)]
pub enum Root<'a> {
    /// A flag's context.
    Flag {
        /// The key of the flag.
        key: &'a str,
        /// Whom it is for.
        context: &'a EvaluationContext<'a>,
        /// When, in seconds since the epoch.
        timestamp: i64,
    },
    /// Plain data.
    Data(&'a Json),
}

/// What `var` reads here.
#[derive(Clone, Copy)]
enum Scope<'s, 'a> {
    Root,
    Item(&'s Datum<'a>),
    Reduction { current: &'s Datum<'a>, accumulator: &'s Datum<'a> },
}

/// One evaluation.
pub struct Evaluator<'a> {
    root: Root<'a>,
    steps_left: usize,
    whole: Option<Rc<Map<String, Json>>>,
}

impl<'a> Evaluator<'a> {
    /// An evaluation that has not started.
    pub const fn new(root: Root<'a>) -> Self {
        Self { root, steps_left: STEPS_MAX, whole: None }
    }

    /// The value of a node.
    pub fn run(&mut self, node: &'a Node) -> Outcome<'a> {
        self.eval(node, Scope::Root)
    }

    fn charge(&mut self, steps: usize) -> Result<(), LogicError> {
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(LogicError::TooCostly)?;
        Ok(())
    }

    fn eval(&mut self, node: &'a Node, scope: Scope<'_, 'a>) -> Outcome<'a> {
        self.charge(1)?;
        match node {
            Node::Constant(value) => Ok(value.into()),
            Node::List(items) => {
                let items = self.eval_all(items, scope)?;
                self.list(items)
            }
            Node::FlagKey => Ok(match (scope, self.root) {
                (Scope::Root, Root::Flag { key, .. }) => Datum::Text(Cow::Borrowed(key)),
                _ => self.read(&segments("$flagd.flagKey"), scope)?.unwrap_or(Datum::Null),
            }),
            Node::Timestamp => Ok(match (scope, self.root) {
                (Scope::Root, Root::Flag { timestamp, .. }) => {
                    Datum::Number(Number::Int(timestamp))
                }
                _ => self.read(&segments("$flagd.timestamp"), scope)?.unwrap_or(Datum::Null),
            }),
            Node::Var { path, default } => match self.read(path, scope)? {
                Some(value) => Ok(value),
                None => self.eval_or_null(default.as_deref(), scope),
            },
            Node::VarComputed { path, default } => {
                let path = self.eval(path, scope)?;
                let path = if path.is_null() { Box::default() } else { segments(&to_text(&path)) };
                match self.read(&path, scope)? {
                    Some(value) => Ok(value),
                    None => self.eval_or_null(default.as_deref(), scope),
                }
            }
            Node::Missing(keys) => {
                let keys = self.eval_keys(keys, scope)?;
                let missing = self.missing(&keys, scope)?;
                self.list(missing)
            }
            Node::MissingSome(arguments) => self.missing_some(arguments, scope),
            Node::If(branches) => self.eval_if(branches, scope),
            Node::And(items) => self.eval_until(items, scope, false),
            Node::Or(items) => self.eval_until(items, scope, true),
            Node::Truth(item, negated) => {
                Ok(Datum::Bool(truthy(&self.eval(item, scope)?) != *negated))
            }
            Node::Equal { strict, negated, sides } => {
                let (a, b) = (self.eval(&sides[0], scope)?, self.eval(&sides[1], scope)?);
                self.charge(a.weight().min(b.weight()))?;
                let equal = if *strict { strictly_equal(&a, &b) } else { loosely_equal(&a, &b) };
                Ok(Datum::Bool(equal != *negated))
            }
            Node::Order(comparison, sides) => self.eval_order(*comparison, sides, scope),
            Node::Arithmetic(operation, items) => self.eval_arithmetic(*operation, items, scope),
            Node::In(sides) => {
                let (a, b) = (self.eval(&sides[0], scope)?, self.eval(&sides[1], scope)?);
                self.charge(b.weight())?;
                Ok(Datum::Bool(contains(&b, &a)))
            }
            Node::InTexts(item, texts) => Ok(Datum::Bool(match self.eval(item, scope)? {
                Datum::Text(text) => texts.contains(text.as_ref()),
                Datum::Null
                | Datum::Bool(_)
                | Datum::Number(_)
                | Datum::List(_)
                | Datum::Object(_) => false,
            })),
            Node::Cat(items) => self.eval_cat(items, scope),
            Node::Substring(arguments) => self.eval_substring(arguments, scope),
            Node::Merge(items) => self.eval_merge(items, scope),
            Node::Each(each, arguments) => self.eval_each(*each, arguments, scope),
            Node::Reduce(arguments) => self.eval_reduce(arguments, scope),
            Node::Affix(at_start, arguments) => self.eval_affix(*at_start, arguments, scope),
            Node::Version(test) => self.eval_version(test, scope),
            Node::Fractional(split) => self.eval_split(split, scope),
            Node::Shared(node) => self.eval(node, scope),
            Node::Unresolved(name) => Err(LogicError::Unresolved(name.to_string())),
        }
    }

    fn eval_all(
        &mut self,
        items: &'a [Node],
        scope: Scope<'_, 'a>,
    ) -> Result<Vec<Datum<'a>>, LogicError> {
        items.iter().map(|item| self.eval(item, scope)).collect()
    }

    fn eval_or_null(&mut self, node: Option<&'a Node>, scope: Scope<'_, 'a>) -> Outcome<'a> {
        node.map_or(Ok(Datum::Null), |node| self.eval(node, scope))
    }

    fn list(&mut self, items: Vec<Datum<'a>>) -> Outcome<'a> {
        self.charge(items.len())?;
        List::made(items).map(Datum::List).ok_or(LogicError::TooDeep)
    }

    fn read(
        &mut self,
        path: &[Segment],
        scope: Scope<'_, 'a>,
    ) -> Result<Option<Datum<'a>>, LogicError> {
        match scope {
            Scope::Root => self.read_root(path),
            Scope::Item(item) => {
                self.charge(item.copy_cost())?;
                Ok(descend(item.clone(), path))
            }
            Scope::Reduction { current, accumulator } => match path.split_first() {
                Some((first, rest)) => {
                    let start = match &*first.name {
                        "current" => current,
                        "accumulator" => accumulator,
                        _ => return Ok(None),
                    };
                    self.charge(start.copy_cost())?;
                    Ok(descend(start.clone(), rest))
                }
                None => {
                    let mut whole = Map::new();
                    self.charge(2)?;
                    whole.insert("current".to_owned(), current.to_json());
                    whole.insert("accumulator".to_owned(), accumulator.to_json());
                    let whole = Json::Object(whole);
                    self.charge(count(&whole))?;
                    if deeper_than(&whole, MADE_DEPTH_MAX) {
                        return Err(LogicError::TooDeep);
                    }
                    Ok(Some(made(whole)))
                }
            },
        }
    }

    fn read_root(&mut self, path: &[Segment]) -> Result<Option<Datum<'a>>, LogicError> {
        let (key, context, timestamp) = match self.root {
            Root::Data(data) => return Ok(follow(data, path).map(Datum::from)),
            Root::Flag { key, context, timestamp } => (key, context, timestamp),
        };
        let Some((first, rest)) = path.split_first() else {
            let whole = self.whole(key, context, timestamp)?;
            return Ok(Some(Datum::Object(Object::Made(whole))));
        };
        match &*first.name {
            "$flagd" => {
                let properties = made(flagd_properties(key, timestamp));
                Ok(descend(properties, rest))
            }
            TARGETING_KEY => {
                let value = context.targeting_key().map(|key| Datum::Text(Cow::Borrowed(key)));
                Ok(if rest.is_empty() { value } else { None })
            }
            name => {
                let value = context.attributes().get(name);
                Ok(value.and_then(|value| follow(value, rest)).map(Datum::from))
            }
        }
    }

    /// The whole context as one object; rarely asked for, made once.
    fn whole(
        &mut self,
        key: &str,
        context: &EvaluationContext<'_>,
        timestamp: i64,
    ) -> Result<Rc<Map<String, Json>>, LogicError> {
        if let Some(whole) = &self.whole {
            return Ok(Rc::clone(whole));
        }
        let mut whole = context.attributes().clone();
        if let Some(targeting_key) = context.targeting_key() {
            whole.insert(TARGETING_KEY.to_owned(), targeting_key.into());
        }
        whole.insert("$flagd".to_owned(), flagd_properties(key, timestamp));
        let whole = Rc::new(whole);
        self.whole = Some(Rc::clone(&whole));
        Ok(whole)
    }

    /// Arguments of `missing`: names, or one list of names.
    fn eval_keys(
        &mut self,
        keys: &'a [Node],
        scope: Scope<'_, 'a>,
    ) -> Result<Vec<Datum<'a>>, LogicError> {
        let mut keys = self.eval_all(keys, scope)?;
        if let Some(Datum::List(items)) = keys.first() {
            self.charge(items.len())?;
            keys = items.iter().collect();
        }
        Ok(keys)
    }

    fn missing(
        &mut self,
        keys: &[Datum<'a>],
        scope: Scope<'_, 'a>,
    ) -> Result<Vec<Datum<'a>>, LogicError> {
        let mut missing = Vec::new();
        for key in keys {
            self.charge(key.weight())?;
            let path = if key.is_null() { Box::default() } else { segments(&to_text(key)) };
            let absent = match self.read(&path, scope)? {
                None | Some(Datum::Null) => true,
                Some(Datum::Text(text)) => text.is_empty(),
                Some(Datum::Bool(_) | Datum::Number(_) | Datum::List(_) | Datum::Object(_)) => {
                    false
                }
            };
            if absent {
                missing.push(key.clone());
            }
        }
        Ok(missing)
    }

    fn missing_some(&mut self, arguments: &'a [Node; 2], scope: Scope<'_, 'a>) -> Outcome<'a> {
        let needed = to_number(&self.eval(&arguments[0], scope)?);
        let keys = match self.eval(&arguments[1], scope)? {
            Datum::List(items) => items.iter().collect(),
            other => vec![other],
        };
        let missing = self.missing(&keys, scope)?;
        #[expect(clippy::cast_precision_loss, reason = "counts of keys")]
        let present = (keys.len() - missing.len()) as f64;
        self.list(if present >= needed { Vec::new() } else { missing })
    }

    fn eval_if(&mut self, branches: &'a [Node], scope: Scope<'_, 'a>) -> Outcome<'a> {
        let mut rest = branches;
        loop {
            match rest {
                [] => return Ok(Datum::Null),
                [last] => return self.eval(last, scope),
                [condition, then, others @ ..] => {
                    if truthy(&self.eval(condition, scope)?) {
                        return self.eval(then, scope);
                    }
                    rest = others;
                }
            }
        }
    }

    /// The first item whose truth is as wanted, else the last.
    fn eval_until(&mut self, items: &'a [Node], scope: Scope<'_, 'a>, wanted: bool) -> Outcome<'a> {
        let mut last = Datum::Null;
        for item in items {
            last = self.eval(item, scope)?;
            if truthy(&last) == wanted {
                break;
            }
        }
        Ok(last)
    }

    fn eval_order(
        &mut self,
        comparison: Comparison,
        sides: &'a [Node],
        scope: Scope<'_, 'a>,
    ) -> Outcome<'a> {
        let Some((first, rest)) = sides.split_first() else { return Ok(Datum::Bool(false)) };
        let mut left = self.eval(first, scope)?;
        let mut holds = !rest.is_empty();
        for side in rest {
            let right = self.eval(side, scope)?;
            self.charge(left.weight().min(right.weight()))?;
            holds = holds
                && order(&left, &right).is_some_and(|order| match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                });
            left = right;
        }
        Ok(Datum::Bool(holds))
    }

    fn eval_arithmetic(
        &mut self,
        operation: Arithmetic,
        items: &'a [Node],
        scope: Scope<'_, 'a>,
    ) -> Outcome<'a> {
        let mut result = match operation {
            Arithmetic::Add => 0.0,
            Arithmetic::Multiply => 1.0,
            Arithmetic::Minimum => f64::INFINITY,
            Arithmetic::Maximum => f64::NEG_INFINITY,
            Arithmetic::Subtract | Arithmetic::Divide | Arithmetic::Remainder => f64::NAN,
        };
        for (index, item) in items.iter().enumerate() {
            let value = self.eval(item, scope)?;
            self.charge(value.weight())?;
            let number = match operation {
                Arithmetic::Add | Arithmetic::Multiply => parse_float(&value),
                _ => to_number(&value),
            };
            result = match operation {
                Arithmetic::Add => result + number,
                Arithmetic::Multiply => result * number,
                // f64::min and max ignore NaN, JavaScript's do not.
                Arithmetic::Minimum | Arithmetic::Maximum if number.is_nan() => f64::NAN,
                Arithmetic::Minimum | Arithmetic::Maximum if result.is_nan() => f64::NAN,
                Arithmetic::Minimum => result.min(number),
                Arithmetic::Maximum => result.max(number),
                Arithmetic::Subtract if items.len() == 1 => -number,
                Arithmetic::Subtract | Arithmetic::Divide | Arithmetic::Remainder if index == 0 => {
                    number
                }
                Arithmetic::Subtract => result - number,
                Arithmetic::Divide => result / number,
                Arithmetic::Remainder => result % number,
            };
        }
        Ok(Datum::float(result))
    }

    fn eval_cat(&mut self, items: &'a [Node], scope: Scope<'_, 'a>) -> Outcome<'a> {
        let mut out = String::new();
        for item in items {
            let value = self.eval(item, scope)?;
            self.charge(value.weight())?;
            push_joined(&mut out, &value);
            // Texts that grow inside `reduce` are paid for by their length.
            self.charge(out.len() / 16)?;
        }
        Ok(Datum::Text(Cow::Owned(out)))
    }

    fn eval_substring(&mut self, arguments: &'a [Node], scope: Scope<'_, 'a>) -> Outcome<'a> {
        let source = self.eval_or_null(arguments.first(), scope)?;
        self.charge(source.weight())?;
        let start = to_integer(&self.eval_or_null(arguments.get(1), scope)?);
        let length = match arguments.get(2) {
            None => None,
            Some(length) => Some(to_integer(&self.eval(length, scope)?)),
        };
        Ok(Datum::Text(match source {
            Datum::Text(Cow::Borrowed(text)) => Cow::Borrowed(substring(text, start, length)),
            other => Cow::Owned(substring(&to_text(&other), start, length).to_owned()),
        }))
    }

    fn eval_merge(&mut self, items: &'a [Node], scope: Scope<'_, 'a>) -> Outcome<'a> {
        let mut merged = Vec::new();
        for item in items {
            match self.eval(item, scope)? {
                Datum::List(list) => {
                    self.charge(list.len())?;
                    merged.extend(list.iter());
                }
                other => merged.push(other),
            }
        }
        self.list(merged)
    }

    fn eval_each(
        &mut self,
        each: Each,
        arguments: &'a [Node; 2],
        scope: Scope<'_, 'a>,
    ) -> Outcome<'a> {
        let Datum::List(items) = self.eval(&arguments[0], scope)? else {
            return match each {
                Each::Map | Each::Filter => self.list(Vec::new()),
                Each::All | Each::Some => Ok(Datum::Bool(false)),
                Each::None => Ok(Datum::Bool(true)),
            };
        };
        let mut kept = Vec::new();
        for item in items.iter() {
            let value = self.eval(&arguments[1], Scope::Item(&item))?;
            match each {
                Each::Map => kept.push(value),
                Each::Filter if truthy(&value) => kept.push(item),
                Each::Filter => {}
                Each::All if !truthy(&value) => return Ok(Datum::Bool(false)),
                Each::Some if truthy(&value) => return Ok(Datum::Bool(true)),
                Each::None if truthy(&value) => return Ok(Datum::Bool(false)),
                Each::All | Each::Some | Each::None => {}
            }
        }
        match each {
            Each::Map | Each::Filter => self.list(kept),
            Each::All => Ok(Datum::Bool(items.len() > 0)),
            Each::Some => Ok(Datum::Bool(false)),
            Each::None => Ok(Datum::Bool(true)),
        }
    }

    fn eval_reduce(&mut self, arguments: &'a [Node; 3], scope: Scope<'_, 'a>) -> Outcome<'a> {
        let items = self.eval(&arguments[0], scope)?;
        let mut accumulator = self.eval(&arguments[2], scope)?;
        let Datum::List(items) = items else { return Ok(accumulator) };
        for item in items.iter() {
            let scope = Scope::Reduction { current: &item, accumulator: &accumulator };
            accumulator = self.eval(&arguments[1], scope)?;
        }
        Ok(accumulator)
    }

    fn eval_affix(
        &mut self,
        at_start: bool,
        arguments: &'a [Node],
        scope: Scope<'_, 'a>,
    ) -> Outcome<'a> {
        let [text, affix] = arguments else { return Ok(Datum::Null) };
        let (text, affix) = (self.eval(text, scope)?, self.eval(affix, scope)?);
        let (Datum::Text(text), Datum::Text(affix)) = (text, affix) else {
            return Ok(Datum::Null);
        };
        Ok(Datum::Bool(if at_start {
            text.starts_with(affix.as_ref())
        } else {
            text.ends_with(affix.as_ref())
        }))
    }

    fn eval_version(&mut self, test: &'a VersionTest, scope: Scope<'_, 'a>) -> Outcome<'a> {
        let [left, operator, right] = &*test.arguments else { return Ok(Datum::Null) };
        let Some(left) = Version::parse(&to_text(&self.eval(left, scope)?)) else {
            return Ok(Datum::Null);
        };
        let operator = self.eval(operator, scope)?;
        let parsed;
        let right = match &test.literal {
            Some(version) => version,
            None => match Version::parse(&to_text(&self.eval(right, scope)?)) {
                Some(version) => {
                    parsed = version;
                    &parsed
                }
                None => return Ok(Datum::Null),
            },
        };
        Ok(left.compare(&to_text(&operator), right).map_or(Datum::Null, Datum::Bool))
    }

    fn eval_split(&mut self, split: &'a Split, scope: Scope<'_, 'a>) -> Outcome<'a> {
        let Some(buckets) = &split.buckets else { return Ok(Datum::Null) };
        let hash = match &split.key {
            Some(key) => {
                let key = self.eval(key, scope)?;
                self.charge(key.weight())?;
                split.version.hash(&key)
            }
            None => match (scope, self.root) {
                (Scope::Root, Root::Flag { key, context, .. }) => context
                    .targeting_key()
                    .map(|targeting_key| split.version.hash_unit(key, targeting_key)),
                _ => None,
            },
        };
        let Some(hash) = hash else { return Ok(Datum::Null) };
        let mut weights = [0_i64; 16];
        let mut more = Vec::new();
        let weights = if buckets.len() <= weights.len() {
            &mut weights[..buckets.len()]
        } else {
            more.resize(buckets.len(), 0);
            &mut more[..]
        };
        for (bucket, slot) in buckets.iter().zip(weights.iter_mut()) {
            *slot = match &bucket.weight {
                Weight::Literal(weight) => *weight,
                Weight::Computed(node) => match weight_of(&self.eval(node, scope)?) {
                    Some(weight) => weight,
                    None => return Ok(Datum::Null),
                },
            };
        }
        let Some(chosen) = split.version.choose(hash, weights) else { return Ok(Datum::Null) };
        match self.eval(&buckets[chosen].variant, scope)? {
            Datum::List(_) | Datum::Object(_) => Ok(Datum::Null),
            variant => Ok(variant),
        }
    }
}

fn descend<'a>(mut value: Datum<'a>, path: &[Segment]) -> Option<Datum<'a>> {
    for segment in path {
        value = value.member(segment)?;
    }
    Some(value)
}

fn made<'a>(value: Json) -> Datum<'a> {
    match value {
        Json::Object(fields) => Datum::Object(Object::Made(Rc::new(fields))),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            Datum::Null
        }
    }
}

fn flagd_properties(key: &str, timestamp: i64) -> Json {
    let mut properties = Map::new();
    properties.insert("flagKey".to_owned(), key.into());
    properties.insert("timestamp".to_owned(), timestamp.into());
    Json::Object(properties)
}

fn count(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 1,
        Json::String(text) => 1 + text.len() / 16,
        Json::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Json::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
    }
}

fn contains(haystack: &Datum<'_>, needle: &Datum<'_>) -> bool {
    match haystack {
        Datum::Text(text) => text.contains(to_text(needle).as_ref()),
        Datum::List(items) => items.iter().any(|item| strictly_equal(&item, needle)),
        Datum::Null | Datum::Bool(_) | Datum::Number(_) | Datum::Object(_) => false,
    }
}

fn to_integer(value: &Datum<'_>) -> i64 {
    let number = to_number(value);
    #[expect(clippy::cast_possible_truncation, reason = "saturates; NaN is 0")]
    let number = number as i64;
    number
}
