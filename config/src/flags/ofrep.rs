//! Bodies, statuses and ETags of the OpenFeature Remote Evaluation Protocol (0.3.0), as pure
//! functions: an HTTP handler reads the request, calls one of them and writes the answer.
//!
//! What real clients need beyond the protocol's text: `variant` is always there, numbers of a float
//! flag always have a fraction (`10.0`), and every error body has `key`, `errorCode` and
//! `errorDetails`. Without a value (a disabled flag, no default variant) `value` is absent, which
//! tells the client to use its own default.

use serde_json::Value as Json;

use super::canonical::{PartsHash, write_canonical, write_text};
use super::compiled::CompiledFlag;
use super::context::{ContextError, EvaluationContext};
use super::json::parse_strict;
use super::resolution::{ErrorCode, Resolution, ResolutionError};
use super::set::FlagSet;
use crate::TimestampMs;

/// An answer: what the handler writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status: 200, 304, 400 or 404.
    pub status: u16,
    /// The JSON body; empty for 304.
    pub body: String,
    /// The `ETag` header, quotes included; bulk answers of sets that do not read the time have one.
    pub etag: Option<String>,
}

/// What a bulk evaluation's answer depends on besides flags and context.
#[derive(Debug, Clone, Copy, Default)]
pub struct BulkOptions<'o> {
    /// Whose key asked, in a form that differs where what they may see differs.
    pub auth_scope: &'o str,
    /// The request's `If-None-Match`.
    pub if_none_match: Option<&'o str>,
    /// The request's query parameter `flagConfigEtag`, from an event.
    pub flag_config_etag: Option<&'o str>,
    /// `eventStreams` of the answer: a list as the protocol has it.
    pub event_streams: Option<&'o Json>,
    /// Whether the node is out of touch with its cluster: the flags may be old.
    pub stale: bool,
}

/// The key of metadata that says `true` where the flags may be old.
pub const STALE_KEY: &str = "verdict.stale";

/// The version of the assignment that ETags vouch for: raise it when equal flags and contexts may
/// give other results than before.
const EVALUATION_VERSION: &[u8] = b"ofrep 1 murmur3 v1 v2 v3";

/// The context of a request body. Lenient: an empty body, `{}` and a null context are the empty
/// context.
///
/// # Errors
/// What to answer with [`failure`], status 400.
pub fn parse_request(body: &[u8]) -> Result<EvaluationContext<'static>, ResolutionError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(EvaluationContext::empty());
    }
    let fault = |detail: String| ResolutionError::new(ErrorCode::ParseError, detail);
    let request = parse_strict(body).map_err(|error| fault(format!("no JSON: {error}")))?;
    let Json::Object(mut request) = request else {
        return Err(fault("the body must be an object with \"context\"".to_owned()));
    };
    let context = request.shift_remove("context").unwrap_or_default();
    EvaluationContext::from_json(context).map_err(|error| {
        let code = match error {
            ContextError::NotAnObject | ContextError::TargetingKey | ContextError::TooDeep => {
                ErrorCode::InvalidContext
            }
        };
        ResolutionError::new(code, error.to_string())
    })
}

/// `POST /ofrep/v1/evaluate/flags/{key}`, at a time, by a node that may be out of touch.
#[must_use]
pub fn evaluate_one(
    set: &FlagSet,
    key: &str,
    context: &EvaluationContext<'_>,
    (at, stale): (TimestampMs, bool),
) -> Answer {
    let Some(flag) = set.find(key) else {
        let error =
            ResolutionError::new(ErrorCode::FlagNotFound, format!("there is no flag {key:?}"));
        return failure(key, &error);
    };
    let resolution = set.evaluate_flag(flag, context, at);
    let mut body = String::with_capacity(128);
    write_resolution(&mut body, flag, &resolution, stale);
    let status = resolution.error.as_ref().map_or(200, status_of);
    Answer { status, body, etag: None }
}

/// `POST /ofrep/v1/evaluate/flags`: all flags, disabled and failing ones included, sorted by key.
///
/// The answer is 304 if the client's entity tag still stands, unless the client knows of another
/// flag configuration than this node has (`flagConfigEtag`): then it needs the body.
#[must_use]
pub fn evaluate_all(
    set: &FlagSet,
    context: &EvaluationContext<'_>,
    at: TimestampMs,
    options: &BulkOptions<'_>,
) -> Answer {
    let etag = (!set.reads_time()).then(|| entity_tag(set, context, options));
    if let (Some(etag), Some(wanted)) = (&etag, options.if_none_match) {
        let same_configuration = options
            .flag_config_etag
            .is_none_or(|known| opaque(known) == opaque(&config_tag(set, options.auth_scope)));
        if same_configuration && matches_any(wanted, etag) {
            return Answer { status: 304, body: String::new(), etag: Some(etag.clone()) };
        }
    }
    let mut body = String::with_capacity(64 + set.flags.len() * 96);
    body.push_str("{\"flags\":[");
    for (index, (_, flag)) in set.flags.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        write_resolution(&mut body, flag, &set.evaluate_flag(flag, context, at), false);
    }
    body.push(']');
    if !set.metadata().is_empty() || options.stale {
        let mut metadata = set.metadata().clone();
        if options.stale {
            metadata.insert(STALE_KEY.to_owned(), true.into());
        }
        body.push_str(",\"metadata\":");
        write_canonical(&mut body, &Json::Object(metadata));
    }
    if let Some(streams) = options.event_streams {
        body.push_str(",\"eventStreams\":");
        body.push_str(&streams.to_string());
    }
    body.push('}');
    Answer { status: 200, body, etag }
}

/// An error's answer. A bulk request's error has the key `""`.
#[must_use]
pub fn failure(key: &str, error: &ResolutionError) -> Answer {
    Answer { status: status_of(error), body: failure_body(key, error), etag: None }
}

/// An error's body, for statuses that are the handler's own (401, 403, 429, 500).
#[must_use]
pub fn failure_body(key: &str, error: &ResolutionError) -> String {
    let mut body = String::with_capacity(96);
    write_failure(&mut body, key, error);
    body
}

/// The entity tag of the flag configuration, without contexts: `etag` of the event
/// `refetchEvaluation`, which clients send back as `flagConfigEtag`.
#[must_use]
pub fn config_tag(set: &FlagSet, auth_scope: &str) -> String {
    let mut hash = PartsHash::default();
    hash.add(EVALUATION_VERSION);
    hash.add(set.content_hash().as_bytes());
    hash.add(auth_scope.as_bytes());
    quoted(&hash.finish())
}

/// The entity tag of a bulk answer: a hash over the flag set's content, the context in canonical
/// form, the node's region, the auth scope, the event streams and the version of the evaluation.
fn entity_tag(set: &FlagSet, context: &EvaluationContext<'_>, options: &BulkOptions<'_>) -> String {
    let mut hash = PartsHash::default();
    hash.add(EVALUATION_VERSION);
    hash.add(set.content_hash().as_bytes());
    hash.add(options.auth_scope.as_bytes());
    let mut text = String::new();
    write_canonical_attributes(&mut text, context);
    hash.add(text.as_bytes());
    add_optional(&mut hash, context.targeting_key());
    add_optional(&mut hash, context.region());
    add_optional(&mut hash, options.event_streams.map(Json::to_string).as_deref());
    if options.stale {
        hash.add(STALE_KEY.as_bytes());
    }
    quoted(&hash.finish())
}

fn write_canonical_attributes(out: &mut String, context: &EvaluationContext<'_>) {
    let mut sorted: Vec<_> = context.attributes().iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| name.as_str());
    for (name, value) in sorted {
        write_text(out, name);
        out.push(':');
        write_canonical(out, value);
        out.push(',');
    }
}

fn add_optional(hash: &mut PartsHash, part: Option<&str>) {
    hash.add(if part.is_some() { b"1" } else { b"0" });
    hash.add(part.unwrap_or_default().as_bytes());
}

fn quoted(digits: &str) -> String {
    // 128 bits are plenty for a cache.
    format!("\"{}\"", digits.get(..32).unwrap_or(digits))
}

/// An entity tag without its quotes and without the mark of a weak one.
fn opaque(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

fn matches_any(wanted: &str, etag: &str) -> bool {
    wanted.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == opaque(etag))
}

const fn status_of(error: &ResolutionError) -> u16 {
    match error.code {
        ErrorCode::FlagNotFound => 404,
        ErrorCode::ParseError
        | ErrorCode::TargetingKeyMissing
        | ErrorCode::InvalidContext
        | ErrorCode::General => 400,
    }
}

fn write_resolution(
    out: &mut String,
    flag: &CompiledFlag,
    resolution: &Resolution<'_>,
    stale: bool,
) {
    if let Some(error) = &resolution.error {
        return write_failure(out, &flag.key, error);
    }
    out.push_str("{\"key\":");
    write_text(out, &flag.key);
    out.push_str(",\"reason\":\"");
    out.push_str(resolution.reason.as_str());
    out.push_str("\",\"variant\":");
    write_text(out, resolution.variant.unwrap_or_default());
    let variant = resolution
        .variant
        .and_then(|name| flag.variants.iter().find(|variant| &*variant.name == name));
    if let Some(variant) = variant {
        out.push_str(",\"value\":");
        out.push_str(&variant.text);
    }
    match (&flag.metadata, stale) {
        (None, false) => {}
        (Some(metadata), false) => {
            out.push_str(",\"metadata\":");
            out.push_str(&metadata.text);
        }
        (metadata, true) => {
            out.push_str(",\"metadata\":{");
            write_text(out, STALE_KEY);
            out.push_str(":true");
            // A text that is not empty begins with a brace.
            match metadata.as_ref().and_then(|metadata| metadata.text.strip_prefix('{')) {
                Some(rest) => {
                    out.push(',');
                    out.push_str(rest);
                }
                None => out.push('}'),
            }
        }
    }
    out.push('}');
}

fn write_failure(out: &mut String, key: &str, error: &ResolutionError) {
    out.push_str("{\"key\":");
    write_text(out, key);
    out.push_str(",\"errorCode\":\"");
    out.push_str(error.code.as_str());
    out.push_str("\",\"errorDetails\":");
    write_text(out, &error.detail);
    out.push('}');
}
