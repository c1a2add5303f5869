//! What an evaluation gives: value, variant, reason, metadata, and what went wrong.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// Why a flag resolved as it did, in OpenFeature's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// Nothing about the request was looked at.
    Static,
    /// Something was looked at, and nothing chose: the default variant, or none.
    Default,
    /// Targeting or a schedule chose the variant.
    TargetingMatch,
    /// An experiment's or a rollout's allocation chose the variant.
    Split,
    /// The flag is disabled; it has no value.
    Disabled,
    /// The evaluation failed; the error says how.
    Error,
}

impl Reason {
    /// The reason as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::Default => "DEFAULT",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Split => "SPLIT",
            Self::Disabled => "DISABLED",
            Self::Error => "ERROR",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// OpenFeature's error codes, as far as an evaluation here can give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// No flag of that key.
    FlagNotFound,
    /// The request or the flag's targeting cannot be read.
    ParseError,
    /// The flag needs a targeting key and got none.
    TargetingKeyMissing,
    /// The context is not valid.
    InvalidContext,
    /// Anything else.
    General,
}

impl ErrorCode {
    /// The code as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FlagNotFound => "FLAG_NOT_FOUND",
            Self::ParseError => "PARSE_ERROR",
            Self::TargetingKeyMissing => "TARGETING_KEY_MISSING",
            Self::InvalidContext => "INVALID_CONTEXT",
            Self::General => "GENERAL",
        }
    }
}

/// Why an evaluation gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct ResolutionError {
    /// The kind of error.
    pub code: ErrorCode,
    /// What happened, in a sentence.
    pub detail: Cow<'static, str>,
}

impl ResolutionError {
    /// An error.
    pub fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// An experiment's arm that a unit was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment<'s> {
    /// The experiment's key.
    pub experiment: &'s str,
    /// The arm's name.
    pub arm: &'s str,
}

/// The result of one evaluation; it borrows from the flag set.
#[derive(Debug, Clone)]
pub struct Resolution<'s> {
    /// The variant's value; none for a disabled flag, without a default variant, and on an error.
    pub value: Option<&'s Json>,
    /// The variant's name.
    pub variant: Option<&'s str>,
    /// Why.
    pub reason: Reason,
    /// The flag set's metadata with the flag's own over it.
    pub metadata: Option<&'s Map<String, Json>>,
    /// What went wrong, if the reason is [`Reason::Error`].
    pub error: Option<ResolutionError>,
    /// The experiment's arm, if an experiment chose the variant: an exposure.
    pub assignment: Option<Assignment<'s>>,
}

impl<'s> Resolution<'s> {
    /// The value, if it is a bool.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        self.value.and_then(Json::as_bool)
    }

    /// The value, if it is a text.
    #[must_use]
    pub fn as_text(&self) -> Option<&'s str> {
        self.value.and_then(Json::as_str)
    }

    pub(super) fn failed(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            value: None,
            variant: None,
            reason: Reason::Error,
            metadata: None,
            error: Some(ResolutionError::new(code, detail)),
            assignment: None,
        }
    }
}
