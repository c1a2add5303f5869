//! The operations that take more than a line.

use std::borrow::Cow;

use super::super::coerce::{push_joined, substring, to_number, to_text};
use super::super::datum::Datum;
use super::super::node::{Arithmetic, Each, Node, VersionTest};
use super::{Evaluator, Outcome, Root, Scope};
use crate::flags::fractional::{Split, Weight, weight_of};
use crate::flags::version::Version;

impl<'a> Evaluator<'a> {
    pub(super) fn eval_arithmetic(
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
            let number = to_number(&value);
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

    pub(super) fn eval_cat(&mut self, items: &'a [Node], scope: Scope<'_, 'a>) -> Outcome<'a> {
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

    pub(super) fn eval_substring(
        &mut self,
        arguments: &'a [Node],
        scope: Scope<'_, 'a>,
    ) -> Outcome<'a> {
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

    pub(super) fn eval_merge(&mut self, items: &'a [Node], scope: Scope<'_, 'a>) -> Outcome<'a> {
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

    pub(super) fn eval_each(
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
            if each != Each::Map {
                let holds = self.holds(&arguments[1], Scope::Item(&item))?;
                match each {
                    Each::Filter if holds => kept.push(item),
                    Each::All if !holds => return Ok(Datum::Bool(false)),
                    Each::Some if holds => return Ok(Datum::Bool(true)),
                    Each::None if holds => return Ok(Datum::Bool(false)),
                    Each::Map | Each::Filter | Each::All | Each::Some | Each::None => {}
                }
                continue;
            }
            kept.push(self.eval(&arguments[1], Scope::Item(&item))?);
        }
        match each {
            Each::Map | Each::Filter => self.list(kept),
            Each::All => Ok(Datum::Bool(items.len() > 0)),
            Each::Some => Ok(Datum::Bool(false)),
            Each::None => Ok(Datum::Bool(true)),
        }
    }

    pub(super) fn eval_reduce(
        &mut self,
        arguments: &'a [Node; 3],
        scope: Scope<'_, 'a>,
    ) -> Outcome<'a> {
        let items = self.eval(&arguments[0], scope)?;
        let mut accumulator = self.eval(&arguments[2], scope)?;
        let Datum::List(items) = items else { return Ok(accumulator) };
        for item in items.iter() {
            let scope = Scope::Reduction { current: &item, accumulator: &accumulator };
            accumulator = self.eval(&arguments[1], scope)?;
        }
        Ok(accumulator)
    }

    pub(super) fn eval_affix(
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

    pub(super) fn eval_version(
        &mut self,
        test: &'a VersionTest,
        scope: Scope<'_, 'a>,
    ) -> Outcome<'a> {
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

    pub(super) fn eval_split(&mut self, split: &'a Split, scope: Scope<'_, 'a>) -> Outcome<'a> {
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

fn to_integer(value: &Datum<'_>) -> i64 {
    let number = to_number(value);
    #[expect(clippy::cast_possible_truncation, reason = "saturates; NaN is 0")]
    let number = number as i64;
    number
}
