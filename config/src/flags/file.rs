//! flagd files as catalogue objects, and back.
//!
//! A file becomes one `flag` object for each flag, its body as it stands in the file, and one
//! `setting` object `flag-file.STEM`:
//!
//! ```json
//! {"form": "object", "document": {"$schema": "…", "flags": ["a", "b"], "$evaluators": {…}}}
//! ```
//!
//! `document` is the file with the flags' keys, in order, in the place of the flags; `form` says
//! whether they stood in an object or in a list. So nothing is lost but spaces and the spelling of
//! numbers and escapes, and `$evaluators` and `metadata` stay with the flags of their file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::compile::SetCompiler;
use super::json::parse_strict;
use super::schema::{Place, check_rule};
use super::set::{FlagSet, FlagSource, FlagUpdate};
use super::trail::Trail;
use crate::{Code, Fault, Faults};

/// The largest flagd file in bytes.
pub const FLAG_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The prefix of a file's setting.
pub const FLAG_FILE_SETTING_PREFIX: &str = "flag-file.";

/// A flagd file in parts.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagFile {
    /// The body of the setting `flag-file.STEM`.
    pub setting: Json,
    /// Keys and bodies of its flags, in the file's order.
    pub flags: Vec<(String, Json)>,
}

/// Reads a flagd file strictly: its text, its form, every flag, every shared condition. What refers
/// to objects outside the file (segments, prerequisites) is checked with the whole catalogue.
///
/// # Errors
/// Every fault, with a path into the file (`flags.my-flag.targeting.if[0]`); for text that is no
/// JSON one fault with line and column.
pub fn parse_file(bytes: &[u8]) -> Result<FlagFile, Faults> {
    if bytes.len() > FLAG_FILE_BYTES_MAX {
        let message = format!("a flag file has at most {FLAG_FILE_BYTES_MAX} bytes");
        return Err(vec![Fault::new(Code::LimitExceeded, "", message)]);
    }
    let text = crate::catalogue::text_of(bytes).map_err(|fault| vec![fault])?;
    let document = parse_strict(text.as_bytes()).map_err(|fault| vec![fault.into()])?;
    let file = split_file(document)?;
    let flags: BTreeMap<&str, &Json> =
        file.flags.iter().map(|(key, body)| (key.as_str(), body)).collect();
    let body = |source: FlagSource, name: &str| match source {
        FlagSource::Flag => flags.get(name).map(|body| Cow::Borrowed(*body)),
        FlagSource::Segment => None,
        FlagSource::File => Some(Cow::Borrowed(&file.setting)),
    };
    let update = FlagUpdate {
        flags: flags.keys().copied().collect(),
        segments: BTreeSet::new(),
        files: BTreeSet::from([""]),
        body: &body,
    };
    let faults = SetCompiler::new(&FlagSet::default(), &update).within_files();
    if faults.is_empty() {
        return Ok(file);
    }
    let is_list = FileSetting::read(&file.setting).is_list;
    let places = file.flags.iter().enumerate().map(|(at, (key, _))| {
        let place = if is_list { format!("flags[{at}]") } else { format!("flags.{key}") };
        (key.as_str(), place)
    });
    let places: BTreeMap<&str, String> = places.collect();
    Err(faults.into_iter().map(|fault| into_file_path(fault, &places)).collect())
}

/// What [`relax_document`] found in a flagd file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Relaxed {
    /// What flagd's schema refuses and flagd serves, with paths into the file.
    pub findings: Faults,
    /// Whether anything was marked.
    pub is_changed: bool,
}

/// Marks what flagd's schema refuses, and flagd serves all the same, with `"strict": false`: such flags,
/// and the file if its `$evaluators` are such. Everything else stays as it is written.
pub fn relax_document(document: &mut Json) -> Relaxed {
    let mut relaxed = Relaxed::default();
    let Some(fields) = document.as_object_mut() else { return relaxed };
    let mut evaluators = Vec::new();
    for (name, rule) in fields.get("$evaluators").and_then(Json::as_object).into_iter().flatten() {
        let form = check_rule(rule, Place::Shared, &Trail::start(&format!("$evaluators.{name}")));
        evaluators.extend(form.beyond_schema);
    }
    if !evaluators.is_empty() {
        relaxed.is_changed |= fields.get("strict") != Some(&Json::Bool(false));
        fields.insert("strict".to_owned(), Json::Bool(false));
    }
    relaxed.findings.extend(evaluators);
    let flags: Box<dyn Iterator<Item = (String, &mut Json)>> = match fields.get_mut("flags") {
        Some(Json::Object(flags)) => {
            Box::new(flags.iter_mut().map(|(key, flag)| (format!("flags.{key}"), flag)))
        }
        Some(Json::Array(flags)) => Box::new(
            flags.iter_mut().enumerate().map(|(index, flag)| (format!("flags[{index}]"), flag)),
        ),
        _ => return relaxed,
    };
    for (place, flag) in flags {
        let found = relax_flag(flag, &place);
        relaxed.is_changed |= found.is_changed;
        relaxed.findings.extend(found.findings);
    }
    relaxed
}

/// Marks one flag, as [`relax_document`] does. `place` begins the paths of its findings.
pub fn relax_flag(flag: &mut Json, place: &str) -> Relaxed {
    let mut findings = Vec::new();
    let Some(fields) = flag.as_object_mut() else { return Relaxed::default() };
    let mut check = |rule: &Json, place: &str| {
        let form = check_rule(rule, Place::Targeting, &Trail::start(place));
        findings.extend(form.beyond_schema);
    };
    if let Some(rule) = fields.get("targeting") {
        check(rule, &format!("{place}.targeting"));
    }
    let windows = fields.get("schedule").and_then(Json::as_array).into_iter().flatten();
    for (index, window) in windows.enumerate() {
        if let Some(rule) = window.get("targeting") {
            check(rule, &format!("{place}.schedule[{index}].targeting"));
        }
    }
    let is_marked = fields.get("strict") == Some(&Json::Bool(false));
    let is_changed = !findings.is_empty() && !is_marked;
    if is_changed {
        fields.insert("strict".to_owned(), Json::Bool(false));
    }
    Relaxed { findings, is_changed }
}

/// Splits a flagd document into the objects of the catalogue. Only its outer form is checked.
///
/// # Errors
/// Every fault of the outer form: not an object, no flags, flags in the wrong form, a key that is
/// missing or stands twice.
pub fn split_file(document: Json) -> Result<FlagFile, Faults> {
    let fault = |path: &str, code, message: &str| vec![Fault::new(code, path, message)];
    let Json::Object(mut document) = document else {
        return Err(fault("", Code::FlagInvalid, "a flag file is an object with \"flags\""));
    };
    let schema = document.get("$schema").and_then(Json::as_str).unwrap_or_default();
    let object_only = schema.rsplit('/').next() == Some("flags.json");
    let (form, flags) = match document.get_mut("flags") {
        None => return Err(fault("flags", Code::MissingKey, "must be there: the flags by key")),
        Some(Json::Object(flags)) => ("object", std::mem::take(flags).into_iter().collect()),
        Some(Json::Array(_)) if object_only => {
            let message =
                "the schema flags.json has flags in an object; for a list name flagd.json";
            return Err(fault("flags", Code::FlagInvalid, message));
        }
        Some(Json::Array(flags)) => ("list", keyed(std::mem::take(flags))?),
        Some(_) => {
            return Err(fault("flags", Code::FlagInvalid, "must be an object, or a list"));
        }
    };
    let keys = flags.iter().map(|(key, _)| Json::from(key.as_str())).collect();
    document.insert("flags".to_owned(), keys);
    let mut setting = Map::new();
    setting.insert("form".to_owned(), form.into());
    setting.insert("document".to_owned(), Json::Object(document));
    Ok(FlagFile { setting: Json::Object(setting), flags })
}

fn keyed(flags: Vec<Json>) -> Result<Vec<(String, Json)>, Faults> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    let mut keyed = Vec::with_capacity(flags.len());
    for (index, flag) in flags.into_iter().enumerate() {
        let place = format!("flags[{index}].key");
        match flag.get("key").and_then(Json::as_str).map(str::to_owned) {
            None => {
                let message = "must be there: the flag's key, a string";
                faults.push(Fault::new(Code::MissingKey, place, message));
            }
            Some(key) if !seen.insert(key.clone()) => {
                let message = format!("there is another flag {key:?} in this list");
                faults.push(Fault::new(Code::DuplicateName, place, message));
            }
            Some(key) => keyed.push((key, flag)),
        }
    }
    if faults.is_empty() { Ok(keyed) } else { Err(faults) }
}

/// Joins a file's setting and flags to the document that [`split_file`] was given. Flags that the
/// setting does not list come last, listed flags that are gone are left out.
#[must_use]
pub fn join_file(setting: &Json, flags: &[(&str, &Json)]) -> Json {
    let setting = FileSetting::read(setting);
    let mut order: Vec<(&str, &Json)> = Vec::with_capacity(flags.len());
    let mut placed = BTreeSet::new();
    let by_key: BTreeMap<&str, &Json> = flags.iter().copied().collect();
    for key in setting.keys() {
        if let Some(body) = by_key.get(key)
            && placed.insert(key)
        {
            order.push((key, body));
        }
    }
    order.extend(flags.iter().filter(|(key, _)| placed.insert(key)));
    let flags = if setting.is_list {
        order.into_iter().map(|(key, body)| with_key(key, body)).collect()
    } else {
        Json::Object(order.into_iter().map(|(key, body)| (key.to_owned(), body.clone())).collect())
    };
    let mut document = setting.document.cloned().unwrap_or_default();
    // Replaces the list of keys where it stands.
    document.insert("flags".to_owned(), flags);
    Json::Object(document)
}

/// The text of a document as it is written to a file: two spaces a level, a newline at the end.
#[must_use]
pub fn file_text(document: &Json) -> String {
    format!("{document:#}\n")
}

fn with_key(key: &str, body: &Json) -> Json {
    match body {
        Json::Object(fields) if !fields.contains_key("key") => {
            let mut keyed = Map::new();
            keyed.insert("key".to_owned(), key.into());
            keyed.extend(fields.clone());
            Json::Object(keyed)
        }
        other => other.clone(),
    }
}

/// The setting of a flag file, read.
#[derive(Debug)]
pub(super) struct FileSetting<'c> {
    /// The file with its flags' keys in their place.
    pub document: Option<&'c Map<String, Json>>,
    /// Whether the flags stood in a list.
    is_list: bool,
    /// What is wrong with the setting.
    pub faults: Faults,
}

impl<'c> FileSetting<'c> {
    /// Reads a setting's body.
    pub fn read(setting: &'c Json) -> Self {
        let mut faults = Vec::new();
        let document = setting.get("document").and_then(Json::as_object);
        if document.is_none() {
            faults.push(Fault::new(Code::FlagInvalid, "document", "must be an object"));
        }
        let is_list = match setting.get("form").and_then(Json::as_str) {
            Some("list") => true,
            Some("object") => false,
            _ => {
                let message = "must be \"object\" or \"list\"";
                faults.push(Fault::new(Code::FlagInvalid, "form", message));
                false
            }
        };
        let keys = document.and_then(|document| document.get("flags")).and_then(Json::as_array);
        if document.is_some() && !keys.is_some_and(|keys| keys.iter().all(Json::is_string)) {
            let message = "must be the list of the file's flag keys";
            faults.push(Fault::new(Code::FlagInvalid, "document.flags", message));
        }
        Self { document, is_list, faults }
    }

    /// The keys of the file's flags, in order.
    pub fn keys(&self) -> impl Iterator<Item = &'c str> {
        let keys = self.document.and_then(|document| document.get("flags")?.as_array());
        keys.into_iter().flatten().filter_map(Json::as_str)
    }
}

/// A path of the set as a path of the file.
fn into_file_path(mut fault: Fault, places: &BTreeMap<&str, String>) -> Fault {
    if let Some(rest) = fault.path.strip_prefix("flag/") {
        // Keys may hold dots and brackets: the flag's is the longest that the path starts with.
        let ends = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        let place = places
            .iter()
            .filter_map(|(key, place)| Some((place, rest.strip_prefix(key)?)))
            .filter(|(_, rest)| ends(rest))
            .min_by_key(|(_, rest)| rest.len());
        if let Some((place, rest)) = place {
            fault.path = format!("{place}{rest}");
        }
    } else if let Some(rest) = fault.path.strip_prefix("setting/flag-file.") {
        fault.path = rest.trim_start_matches('.').to_owned();
    }
    fault
}

/// Whether a name is that of a flag file's setting, and its stem.
#[must_use]
pub fn stem_of_setting(name: &str) -> Option<&str> {
    name.strip_prefix(FLAG_FILE_SETTING_PREFIX).filter(|stem| !stem.is_empty())
}
