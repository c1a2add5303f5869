//! Evaluation of the compiled tree.
//!
//! Reads borrow from the rule and the context; only operations that make texts or lists allocate.
//! Work is counted in steps: an evaluation that exceeds its steps ends with an error, whatever the
//! rule and the context are.

mod conditions;
mod operations;

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::{Map, Value as Json};

use super::coerce::{to_number, to_text, truthy};
use super::datum::{Datum, List, MADE_DEPTH_MAX, Number, Object, Segment, field, follow, segments};
use super::node::Node;
use crate::flags::context::{EvaluationContext, TARGETING_KEY, deeper_than};

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
    /// It met a `$ref` that names nothing; or an unknown operator, in a flag that is not strict.
    #[error("no operator, evaluator or segment is called {0:?}")]
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

    /// The value of a node. What most operands are is read here, without a call.
    #[inline]
    fn eval(&mut self, node: &'a Node, scope: Scope<'_, 'a>) -> Outcome<'a> {
        self.charge(1)?;
        match node {
            Node::Constant(value) => Ok(value.into()),
            Node::Var { path, default: None } => {
                self.read(path, scope).map(|value| value.unwrap_or(Datum::Null))
            }
            operation => self.eval_operation(operation, scope),
        }
    }

    fn eval_operation(&mut self, node: &'a Node, scope: Scope<'_, 'a>) -> Outcome<'a> {
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
                Some(value) if !value.is_null() => Ok(value),
                _ => self.eval_or_null(default.as_deref(), scope),
            },
            Node::VarComputed { path, default } => {
                let path = self.eval(path, scope)?;
                self.charge(path.weight())?;
                let path = if path.is_null() { Box::default() } else { segments(&to_text(&path)) };
                match self.read(&path, scope)? {
                    Some(value) if !value.is_null() => Ok(value),
                    _ => self.eval_or_null(default.as_deref(), scope),
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
            Node::Truth(..)
            | Node::Equal { .. }
            | Node::Order(..)
            | Node::In(_)
            | Node::InTexts(..) => self.test(node, scope).map(Datum::Bool),
            Node::Arithmetic(operation, items) => self.eval_arithmetic(*operation, items, scope),
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
                let value = field(context.attributes(), name);
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
                    if self.holds(condition, scope)? {
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
