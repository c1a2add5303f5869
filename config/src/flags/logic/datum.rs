//! Values during an evaluation: borrowed from the rule or the context wherever possible.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::{Map, Value as Json};

/// A number, kept as it was written so that large integers stay exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer within 64 signed bits.
    Int(i64),
    /// An integer above that.
    Large(u64),
    /// A float; the result of arithmetic, so NaN and infinities occur.
    Float(f64),
}

impl Number {
    /// The number as arithmetic sees it.
    #[expect(clippy::cast_precision_loss, reason = "JsonLogic's arithmetic is that of f64")]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Large(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// The number as an integer, if it is whole and within 64 signed bits.
    pub fn as_whole(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Large(_) => None,
            Self::Float(number) => whole(number),
        }
    }

    /// The number as JSON: whole floats as integers, NaN and infinities as null.
    pub fn to_json(self) -> Json {
        match self {
            Self::Int(number) => number.into(),
            Self::Large(number) => number.into(),
            Self::Float(number) => match whole(number) {
                Some(number) => number.into(),
                None => number.into(),
            },
        }
    }
}

/// A float as an integer, if it is whole and within 64 signed bits.
pub fn whole(number: f64) -> Option<i64> {
    // 2^63 itself is a float but no i64.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
    (number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number)).then_some(number as i64)
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        if let Some(number) = number.as_i64() {
            Self::Int(number)
        } else if let Some(number) = number.as_u64() {
            Self::Large(number)
        } else {
            Self::Float(number.as_f64().unwrap_or(f64::NAN))
        }
    }
}

/// The deepest nesting of lists and objects that operations may make.
pub const MADE_DEPTH_MAX: usize = 64;

/// A list that operations made.
#[derive(Debug)]
pub struct MadeList<'a> {
    items: Vec<Datum<'a>>,
    /// Levels of made lists in it, itself included.
    depth: usize,
}

/// A list, borrowed or made. Made lists are shared, so that an accumulator is cheap to read.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// Of the rule or the context.
    Borrowed(&'a [Json]),
    /// Made by an operation.
    Made(Rc<MadeList<'a>>),
}

impl<'a> List<'a> {
    /// A list of items; none if it would nest too deep.
    pub fn made(items: Vec<Datum<'a>>) -> Option<Self> {
        let inner = items.iter().map(Datum::made_depth).max().unwrap_or(0);
        (inner < MADE_DEPTH_MAX).then(|| Self::Made(Rc::new(MadeList { items, depth: inner + 1 })))
    }

    /// How many items.
    pub fn len(&self) -> usize {
        match self {
            Self::Borrowed(items) => items.len(),
            Self::Made(list) => list.items.len(),
        }
    }

    /// One item.
    pub fn get(&self, index: usize) -> Option<Datum<'a>> {
        match self {
            Self::Borrowed(items) => items.get(index).map(Datum::from),
            Self::Made(list) => list.items.get(index).cloned(),
        }
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Datum<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// An object, borrowed or made.
#[derive(Debug, Clone)]
pub enum Object<'a> {
    /// Of the context.
    Borrowed(&'a Map<String, Json>),
    /// Made for this evaluation.
    Made(Rc<Map<String, Json>>),
}

impl Object<'_> {
    /// Its fields.
    pub fn fields(&self) -> &Map<String, Json> {
        match self {
            Self::Borrowed(fields) => fields,
            Self::Made(fields) => fields,
        }
    }
}

/// A value during an evaluation.
#[derive(Debug, Clone)]
pub enum Datum<'a> {
    /// Null, and everything that is missing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List(List<'a>),
    /// An object.
    Object(Object<'a>),
}

impl<'a> From<&'a Json> for Datum<'a> {
    fn from(value: &'a Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(*truth),
            Json::Number(number) => Self::Number(number.into()),
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(items) => Self::List(List::Borrowed(items)),
            Json::Object(fields) => Self::Object(Object::Borrowed(fields)),
        }
    }
}

impl<'a> Datum<'a> {
    /// A float that arithmetic gave.
    pub const fn float(number: f64) -> Self {
        Self::Number(Number::Float(number))
    }

    /// A JSON value that nothing else holds. Its depth is that of parsed JSON, or was checked.
    fn owned(value: Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(truth),
            Json::Number(number) => Self::Number((&number).into()),
            Json::String(text) => Self::Text(Cow::Owned(text)),
            Json::Array(items) => {
                let items: Vec<_> = items.into_iter().map(Self::owned).collect();
                let depth = 1 + items.iter().map(Self::made_depth).max().unwrap_or(0);
                Self::List(List::Made(Rc::new(MadeList { items, depth })))
            }
            Json::Object(fields) => Self::Object(Object::Made(Rc::new(fields))),
        }
    }

    fn made_depth(&self) -> usize {
        match self {
            Self::List(List::Made(list)) => list.depth,
            // Made objects are at most MADE_DEPTH_MAX deep on their own and hold no made lists.
            Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Object(_) => 0,
        }
    }

    /// How much work looking at the whole value is, in steps.
    pub fn weight(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 1,
            Self::Text(text) => 1 + text.len() / 16,
            Self::List(items) => 1 + items.len(),
            Self::Object(object) => 1 + object.fields().len(),
        }
    }

    /// How much work a clone is, in steps: only texts that were made are copied.
    pub fn copy_cost(&self) -> usize {
        match self {
            Self::Text(Cow::Owned(text)) => text.len() / 16,
            Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Object(_) => 0,
        }
    }

    /// The value as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(truth) => (*truth).into(),
            Self::Number(number) => number.to_json(),
            Self::Text(text) => text.as_ref().into(),
            Self::List(List::Borrowed(items)) => Json::Array(items.to_vec()),
            Self::List(List::Made(list)) => list.items.iter().map(Datum::to_json).collect(),
            Self::Object(object) => Json::Object(object.fields().clone()),
        }
    }

    /// Whether it is null.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The member of an object or the item of a list that a segment of a path names.
    pub fn member(&self, segment: &Segment) -> Option<Datum<'a>> {
        match self {
            Self::Object(Object::Borrowed(fields)) => field(fields, &segment.name).map(Datum::from),
            Self::Object(Object::Made(fields)) => {
                fields.get(&*segment.name).cloned().map(Datum::owned)
            }
            Self::List(items) => items.get(segment.index?),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => None,
        }
    }
}

/// One step of a path: a key of an object, or the position in a list that the same digits name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The key.
    pub name: Box<str>,
    /// The position, if the key is digits.
    pub index: Option<usize>,
}

/// Splits `a.b.1` into its steps; the empty path has none and means the whole.
pub fn segments(path: &str) -> Box<[Segment]> {
    if path.is_empty() {
        return Box::default();
    }
    path.split('.')
        .map(|name| Segment {
            name: name.into(),
            index: name
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| name.parse().ok())
                .flatten(),
        })
        .collect()
}

/// The field of an object. Contexts are small: a look at every key beats hashing this one.
pub fn field<'a>(fields: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    const SCANNED_MAX: usize = 16;
    if fields.len() <= SCANNED_MAX {
        fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    } else {
        fields.get(name)
    }
}

/// Follows a path through borrowed JSON.
pub fn follow<'a>(mut value: &'a Json, path: &[Segment]) -> Option<&'a Json> {
    for segment in path {
        value = match value {
            Json::Object(fields) => field(fields, &segment.name)?,
            Json::Array(items) => items.get(segment.index?)?,
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => return None,
        };
    }
    Some(value)
}
