//! Request bodies: read within limits, checked before any parser sees them.
//!
//! The depth of nesting is counted over the bytes before serde runs, so that 10,000 brackets cost
//! one pass and no recursion. The bytes are also proven to be UTF-8 here, once.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Version, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use verdict_config::plain::plain_json_error;
use verdict_config::settings::HttpSettings;
use verdict_config::{Code, Fault};

use super::problem::{Answer, Problem};

/// How long a body that is too large is still read.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Bodies up to this many bytes are read before their request is looked at.
const SMALL_BYTES_MAX: u64 = 16 * 1024;

/// Waits until the small body of an HTTP/1 request has come, and puts it back into the request.
///
/// A connection whose request is answered before its body was read cannot be used again and is
/// closed, which a client with a pool learns only when its next request fails. Refusals and routes
/// that take no body would do that to whoever sends head and body one after the other.
///
/// # Errors
/// [`Code::RequestInvalid`] when the client stopped sending, [`Code::DeadlineExceeded`] when the body
/// did not come within `wait`.
pub async fn small_first(request: Request, wait: Duration) -> Answer<Request> {
    let one_after_the_other = request.version() < Version::HTTP_2;
    let length = announced(request.headers()).unwrap_or_default();
    if !one_after_the_other || !(1..=SMALL_BYTES_MAX).contains(&length) {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    let Ok(collected) = tokio::time::timeout(wait, body.collect()).await else {
        let detail = format!("The body of {length} bytes did not come within {wait:?}.");
        return Err(Problem::new(Code::DeadlineExceeded, detail));
    };
    let body = collected.map_err(|_| ended_early())?.to_bytes();
    Ok(Request::from_parts(head, Body::from(body)))
}

fn ended_early() -> Problem {
    Problem::new(Code::RequestInvalid, "The body ended before it was complete.")
}

/// Reads a body of at most `bytes_max` bytes.
///
/// # Errors
/// [`Code::BodyTooLarge`], or [`Code::RequestInvalid`] when the client stopped sending.
pub async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Answer<Bytes> {
    let too_large = || {
        Problem::new(Code::BodyTooLarge, format!("The body may have at most {bytes_max} bytes."))
    };
    if announced(headers).is_some_and(|length| length > bytes_max as u64) {
        drain(body, bytes_max).await;
        return Err(too_large());
    }
    let mut body = body;
    match Limited::new(&mut body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            drain(body, bytes_max).await;
            Err(too_large())
        }
        Err(_) => Err(ended_early()),
    }
}

/// Hands a body on as it comes, at most `bytes_max` bytes. Where the receiver has seen enough, the
/// rest is read and dropped for a moment, so that the client reads why.
///
/// # Errors
/// As [`read`].
pub async fn stream(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    to: tokio::sync::mpsc::Sender<Bytes>,
) -> Answer<()> {
    let too_large = || {
        Problem::new(Code::BodyTooLarge, format!("The body may have at most {bytes_max} bytes."))
    };
    if announced(headers).is_some_and(|length| length > bytes_max as u64) {
        drain(body, bytes_max).await;
        return Err(too_large());
    }
    let mut body = body;
    let mut limited = Limited::new(&mut body, bytes_max);
    while let Some(frame) = limited.frame().await {
        match frame {
            Ok(frame) => {
                let Ok(bytes) = frame.into_data() else { continue };
                if to.send(bytes).await.is_err() {
                    drain(body, bytes_max).await;
                    return Ok(());
                }
            }
            Err(error) if error.is::<LengthLimitError>() => {
                drain(body, bytes_max).await;
                return Err(too_large());
            }
            Err(_) => return Err(ended_early()),
        }
    }
    Ok(())
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads on for a moment: a client that still sends when the connection is closed would see a reset
/// and not the answer.
async fn drain(body: Body, bytes_max: usize) {
    let mut rest = Limited::new(body, bytes_max.saturating_mul(4));
    let read = async { while let Some(Ok(_)) = rest.frame().await {} };
    let _ = tokio::time::timeout(DRAIN_MAX, read).await;
}

/// Refuses media types that are not `application/json` (or end in `+json`). A missing type passes:
/// many clients send none.
///
/// # Errors
/// [`Code::MediaTypeUnsupported`].
pub fn require_json(headers: &HeaderMap) -> Answer<()> {
    match media_type(headers) {
        None => Ok(()),
        Some(kind) if is_json(&kind) => Ok(()),
        Some(kind) => {
            let detail = format!("{kind} is not supported here; send application/json.");
            Err(Problem::new(Code::MediaTypeUnsupported, detail))
        }
    }
}

/// Refuses bodies of changes that do not say that they are JSON: a web page can send one without a
/// type and without asking first.
///
/// # Errors
/// [`Code::MediaTypeUnsupported`].
pub fn require_declared_json(headers: &HeaderMap) -> Answer<()> {
    if media_type(headers).is_none() {
        let detail = "A change needs the header Content-Type: application/json.";
        return Err(Problem::new(Code::MediaTypeUnsupported, detail));
    }
    require_json(headers)
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// The media type without its parameters, in lower case.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!kind.is_empty()).then_some(kind)
}

/// Checks that the bytes are UTF-8 and nest arrays and objects at most `depth_max` deep.
///
/// # Errors
/// [`Code::InputNotJson`] with the place.
pub fn check_text(bytes: &[u8], depth_max: usize) -> Answer<&str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let detail = format!("The body is not UTF-8: byte {} is wrong.", error.valid_up_to());
        Problem::new(Code::InputNotJson, detail)
    })?;
    check_depth(bytes, depth_max)?;
    Ok(text)
}

fn check_depth(bytes: &[u8], depth_max: usize) -> Answer<()> {
    let mut depth = 0usize;
    let mut in_text = false;
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    let detail = format!("The JSON nests deeper than {depth_max} at byte {at}.");
                    return Err(Problem::new(Code::InputNotJson, detail));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Parses a checked body into a type.
///
/// # Errors
/// [`Code::InputNotJson`] for text that is no JSON, [`Code::RequestInvalid`] with one fault that
/// names the path for JSON of another shape.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], depth_max: usize) -> Answer<T> {
    let text = check_text(bytes, depth_max)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        shape_problem(path, error.inner())
    })?;
    deserializer.end().map_err(|error| shape_problem(String::new(), &error))?;
    Ok(value)
}

/// A JSON body of a change, as a type.
///
/// # Errors
/// Those of [`require_declared_json`], [`read`] and [`parse`].
pub async fn json<T: DeserializeOwned>(
    request: Request,
    bytes_max: usize,
    http: &HttpSettings,
) -> Answer<T> {
    let (parts, content) = request.into_parts();
    require_declared_json(&parts.headers)?;
    let bytes = read(&parts.headers, content, bytes_max).await?;
    parse(&bytes, http.json_depth_max)
}

/// The same, where a body that is absent or `null` says nothing.
///
/// # Errors
/// As [`json`].
pub async fn json_or_default<T: DeserializeOwned + Default>(
    request: Request,
    bytes_max: usize,
    http: &HttpSettings,
) -> Answer<T> {
    let (parts, content) = request.into_parts();
    let bytes = read(&parts.headers, content, bytes_max).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    require_declared_json(&parts.headers)?;
    Ok(parse::<Option<T>>(&bytes, http.json_depth_max)?.unwrap_or_default())
}

/// An error of serde_json as a problem: broken syntax and wrong shape have codes of their own.
#[must_use]
pub fn shape_problem(path: String, error: &serde_json::Error) -> Problem {
    match error.classify() {
        serde_json::error::Category::Data => {
            let fault = Fault::new(Code::RequestInvalid, path, plain_json_error(error));
            Problem::new(Code::RequestInvalid, fault.message.clone()).with_faults(vec![fault])
        }
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            let detail = format!(
                "The body is not JSON at line {}, column {}: {}.",
                error.line(),
                error.column(),
                plain_json_error(error)
            );
            Problem::new(Code::InputNotJson, detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON_DEPTH_MAX: usize = 64;

    fn check(bytes: &[u8], expected: Result<(), Code>) {
        assert_eq!(
            check_text(bytes, JSON_DEPTH_MAX).map(|_| ()).map_err(|problem| problem.code()),
            expected
        );
    }

    #[test]
    fn text_is_checked_before_any_parser_runs() {
        check(b"{}", Ok(()));
        check("[".repeat(JSON_DEPTH_MAX).as_bytes(), Ok(()));
        check("[".repeat(10_000).as_bytes(), Err(Code::InputNotJson));
        check("{\"a\":".repeat(10_000).as_bytes(), Err(Code::InputNotJson));
        check(format!("\"{}\"", "[".repeat(10_000)).as_bytes(), Ok(()));
        check(format!("\"\\\"{}\"", "[".repeat(10_000)).as_bytes(), Ok(()));
        check(&[b'"', 0xff, 0xfe, b'"'], Err(Code::InputNotJson));
    }

    #[test]
    fn wrong_shape_names_its_path() {
        #[derive(Debug, serde::Deserialize)]
        struct Item {
            #[expect(dead_code, reason = "only its type matters")]
            number: u8,
        }
        let problem =
            parse::<Vec<Item>>(br#"[{"number":1},{"number":"x"}]"#, JSON_DEPTH_MAX).unwrap_err();
        assert_eq!(problem.code(), Code::RequestInvalid);
        assert_eq!(problem.faults()[0].path, "[1].number");
        let problem = parse::<Vec<Item>>(br#"[{"number":1}"#, JSON_DEPTH_MAX).unwrap_err();
        assert_eq!(problem.code(), Code::InputNotJson);
        let problem = parse::<u8>(b"1 2", JSON_DEPTH_MAX).unwrap_err();
        assert_eq!(problem.code(), Code::InputNotJson);
    }

    #[tokio::test]
    async fn large_bodies_are_refused() {
        let headers = HeaderMap::new();
        let read_bytes = read(&headers, Body::from(vec![b' '; 11]), 10).await;
        assert_eq!(read_bytes.unwrap_err().code(), Code::BodyTooLarge);
        let read_bytes = read(&headers, Body::from(vec![b' '; 10]), 10).await;
        assert_eq!(read_bytes.unwrap().len(), 10);
    }
}
