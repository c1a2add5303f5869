//! Who and what a flag is evaluated for.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

/// The name of the targeting key in flagd's and OFREP's contexts.
pub const TARGETING_KEY: &str = "targetingKey";

/// The deepest nesting of objects and arrays in a context.
pub const CONTEXT_DEPTH_MAX: usize = 64;

/// Whom a flag is evaluated for: the targeting key (the unit that splits are sticky to), attributes
/// that targeting reads, and the region of the node that evaluates. Borrows where it can.
#[derive(Debug, Clone, Default)]
pub struct EvaluationContext<'c> {
    targeting_key: Option<Cow<'c, str>>,
    attributes: Cow<'c, Map<String, Json>>,
    region: Option<Cow<'c, str>>,
}

/// Why a JSON value is no context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// It is not an object.
    #[error("the context must be an object")]
    NotAnObject,
    /// Its targeting key is not a text.
    #[error("targetingKey must be a string")]
    TargetingKey,
    /// It nests deeper than [`CONTEXT_DEPTH_MAX`].
    #[error("the context nests deeper than {CONTEXT_DEPTH_MAX} levels")]
    TooDeep,
}

impl<'c> EvaluationContext<'c> {
    /// A context without key and attributes.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A context of a targeting key and attributes. An attribute called `targetingKey` is hidden by
    /// the key.
    #[must_use]
    pub fn new(targeting_key: Option<&'c str>, attributes: &'c Map<String, Json>) -> Self {
        Self {
            targeting_key: targeting_key.map(Cow::Borrowed),
            attributes: Cow::Borrowed(attributes),
            region: None,
        }
    }

    /// A context as OFREP writes it: one object with `targetingKey` among its attributes. `null` is
    /// the empty context; a null or empty key is no key.
    ///
    /// # Errors
    /// [`ContextError`].
    pub fn from_json(context: Json) -> Result<EvaluationContext<'static>, ContextError> {
        let mut attributes = match context {
            Json::Null => Map::new(),
            Json::Object(attributes) => attributes,
            Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                return Err(ContextError::NotAnObject);
            }
        };
        let targeting_key = match attributes.shift_remove(TARGETING_KEY) {
            None | Some(Json::Null) => None,
            Some(Json::String(key)) if key.is_empty() => None,
            Some(Json::String(key)) => Some(Cow::Owned(key)),
            Some(Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_)) => {
                return Err(ContextError::TargetingKey);
            }
        };
        if attributes.values().any(|value| deeper_than(value, CONTEXT_DEPTH_MAX - 1)) {
            return Err(ContextError::TooDeep);
        }
        Ok(EvaluationContext { targeting_key, attributes: Cow::Owned(attributes), region: None })
    }

    /// The same context on a node of a region.
    #[must_use]
    pub fn in_region(mut self, region: Option<impl Into<Cow<'c, str>>>) -> Self {
        self.region = region.map(Into::into);
        self
    }

    /// The unit that splits are sticky to; never empty.
    #[must_use]
    pub fn targeting_key(&self) -> Option<&str> {
        self.targeting_key.as_deref().filter(|key| !key.is_empty())
    }

    /// What targeting reads.
    #[must_use]
    pub fn attributes(&self) -> &Map<String, Json> {
        &self.attributes
    }

    /// The region of the node that evaluates.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The unit of a split: the attribute at a path, or without one the targeting key.
    pub(super) fn unit(&self, by: Option<&str>) -> Option<Cow<'_, str>> {
        let path = match by {
            None | Some(TARGETING_KEY) => return self.targeting_key().map(Cow::Borrowed),
            Some(path) => path,
        };
        let mut parts = path.split('.');
        let mut value = self.attributes.get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        match value {
            Json::String(text) if !text.is_empty() => Some(Cow::Borrowed(text)),
            Json::Number(number) => Some(Cow::Owned(number.to_string())),
            Json::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
            Json::Null | Json::String(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }
}

/// Whether a value nests deeper than a number of levels; a scalar has none.
pub(super) fn deeper_than(value: &Json, levels: usize) -> bool {
    match value {
        Json::Array(items) => levels == 0 || items.iter().any(|item| deeper_than(item, levels - 1)),
        Json::Object(fields) => {
            levels == 0 || fields.values().any(|field| deeper_than(field, levels - 1))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}
