//! Settings: file, environment and command line, in this order of growing weight.
//!
//! figment merges the sources and remembers where each value came from; the faults are collected
//! leaf by leaf here, because a deserializer stops at the first and an operator wants them all.
//!
//! | source | `http.address` is written as |
//! |---|---|
//! | file | `[http]` `address = "127.0.0.1:7700"` |
//! | environment | `VERDICT_HTTP_ADDRESS=127.0.0.1:7700` |
//! | command line | `--set http.address=127.0.0.1:7700` |

use std::collections::BTreeMap;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::util::nest;
use figment::value::{Dict, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::{Map, Value as Json};
use verdict_config::settings::Settings;
use verdict_config::{Code, Fault, Faults};

const ENV_PREFIX: &str = "VERDICT_";

/// Variables with our prefix that are not settings but options of commands.
pub const ENV_OTHERS: [&str; 4] =
    ["VERDICT_TESTDATA", "VERDICT_URL", "VERDICT_API_KEY", "VERDICT_LOG"];

/// Where settings come from beside the defaults.
#[derive(Debug, Default)]
pub struct Sources<'source> {
    /// Values of the program itself, weaker than every other source.
    pub base: Settings,
    /// The file.
    pub file: Option<&'source Path>,
    /// The process's environment.
    pub environment: BTreeMap<String, String>,
    /// `PATH=VALUE` from the command line.
    pub assignments: &'source [String],
}

/// Reads and checks settings.
///
/// # Errors
/// Every fault of every source: text that is no TOML, unknown keys, wrong types, values out of range.
pub fn load(sources: Sources<'_>) -> Result<Settings, Faults> {
    let mut faults = Faults::new();
    let base = serde_json::to_value(&sources.base).unwrap_or_default();
    let paths = leaf_paths(&base);
    let figment = merge(&sources, &paths, &mut faults);
    let written: Json = match figment.extract() {
        Ok(written) => written,
        Err(error) => {
            faults.extend(error.into_iter().map(|error| syntax_fault(&error, sources.file)));
            return Err(faults);
        }
    };
    let mut known = base;
    apply(&mut known, &written, &figment, &mut faults);
    match serde_json::from_value::<Settings>(known) {
        Ok(settings) => {
            faults.extend(settings.validate());
            if faults.is_empty() { Ok(settings) } else { Err(faults) }
        }
        Err(error) => {
            faults.push(Fault::new(Code::SettingsInvalid, "", error.to_string()));
            Err(faults)
        }
    }
}

fn merge(sources: &Sources<'_>, paths: &BTreeMap<String, String>, faults: &mut Faults) -> Figment {
    let mut figment = Figment::new();
    if let Some(file) = sources.file {
        if !file.is_file() {
            let message = format!("{} is not a file: name a settings file", file.display());
            faults.push(Fault::new(Code::SettingsInvalid, "", message));
        } else {
            figment = figment.merge(Toml::file_exact(file));
        }
    }
    for (name, value) in &sources.environment {
        let Some(suffix) = name.strip_prefix(ENV_PREFIX) else { continue };
        if ENV_OTHERS.contains(&name.as_str()) {
            continue;
        }
        match paths.get(suffix) {
            Some(path) => figment = figment.merge(One { path, value, source: "environment" }),
            None => faults.push(Fault::new(
                Code::SettingsInvalid,
                name.as_str(),
                "no setting has this name; `verdict node --help` says how they are named",
            )),
        }
    }
    for assignment in sources.assignments {
        match assignment.split_once('=') {
            Some((path, value)) => {
                let path = path.trim();
                figment = figment.merge(One { path, value, source: "command line" });
            }
            None => faults.push(Fault::new(
                Code::SettingsInvalid,
                assignment.as_str(),
                "write it as PATH=VALUE, for example http.address=127.0.0.1:7700",
            )),
        }
    }
    figment
}

/// One value by its dotted path; the value is read as figment reads variables: as a number, truth
/// value, array or table where it is some, else as text.
struct One<'value> {
    path: &'value str,
    value: &'value str,
    source: &'static str,
}

impl Provider for One<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source)
    }

    fn data(&self) -> Result<figment::value::Map<Profile, Dict>, figment::Error> {
        let value: Value = self.value.parse().unwrap_or_else(|never| match never {});
        let dict = nest(self.path, value).into_dict().unwrap_or_default();
        Ok([(Profile::Default, dict)].into())
    }
}

/// Leaves of the settings by the name that the environment gives them: `HTTP_ADDRESS`.
fn leaf_paths(base: &Json) -> BTreeMap<String, String> {
    let mut paths = BTreeMap::new();
    for (section, members) in base.as_object().into_iter().flatten() {
        match members.as_object() {
            None => {
                paths.insert(section.to_uppercase(), section.clone());
            }
            Some(members) => paths.extend(members.keys().map(|key| {
                (format!("{section}_{key}").to_uppercase(), format!("{section}.{key}"))
            })),
        }
    }
    paths
}

/// Puts what was written over what is known, leaf by leaf; a leaf that does not fit is told and left
/// as it was, so that the next fault is found too.
fn apply(known: &mut Json, written: &Json, figment: &Figment, faults: &mut Faults) {
    let empty = Map::new();
    for (section, value) in written.as_object().unwrap_or(&empty) {
        let names = known.as_object().map(|known| known.keys().cloned().collect::<Vec<_>>());
        let Some(current) = known.get(section).cloned() else {
            faults.push(unknown(section, &names.unwrap_or_default(), figment));
            continue;
        };
        let (Some(members), Some(current)) = (value.as_object(), current.as_object()) else {
            place(known, &[section], value, figment, faults);
            continue;
        };
        for (key, value) in members {
            if current.contains_key(key) {
                place(known, &[section, key], value, figment, faults);
            } else {
                let names: Vec<String> = current.keys().cloned().collect();
                faults.push(unknown(&format!("{section}.{key}"), &names, figment));
            }
        }
    }
}

/// Tries one leaf on its own.
fn place(known: &mut Json, path: &[&str], value: &Json, figment: &Figment, faults: &mut Faults) {
    let mut tried = known.clone();
    let mut slot = &mut tried;
    for key in path {
        slot = &mut slot[*key];
    }
    *slot = value.clone();
    let text = tried.to_string();
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    match serde_path_to_error::deserialize::<_, Settings>(&mut deserializer) {
        Ok(_) => *known = tried,
        Err(error) => {
            let at = error.path().to_string();
            let at = if at == "." { path.join(".") } else { at };
            let message = error.into_inner().to_string();
            // The position is one in our own rendering and would mislead.
            let message = message.split(" at line ").next().unwrap_or_default();
            let message = verdict_config::plain::plain_message(message);
            faults.push(sourced(
                &path.join("."),
                figment,
                Fault::new(Code::SettingsInvalid, at, message),
            ));
        }
    }
}

fn unknown(path: &str, names: &[String], figment: &Figment) -> Fault {
    let key = path.rsplit('.').next().unwrap_or(path);
    let near = verdict_config::spelling::nearest(key, names.iter().map(String::as_str));
    let known = names.join(", ");
    let message = match near {
        Some(near) => {
            format!("there is no such setting; did you mean {near}? The settings here are {known}")
        }
        None => format!("there is no such setting; the settings here are {known}"),
    };
    sourced(path, figment, Fault::new(Code::SettingsInvalid, path, message))
}

/// Adds which source a value came from.
fn sourced(path: &str, figment: &Figment, mut fault: Fault) -> Fault {
    if let Some(metadata) = figment.find_metadata(path) {
        match metadata.source.as_ref().and_then(|source| source.file_path()) {
            Some(file) => fault.file = Some(file.display().to_string()),
            None => fault.message = format!("{} (from the {})", fault.message, metadata.name),
        }
    }
    fault
}

/// A text that is no TOML, at its line and column.
fn syntax_fault(error: &figment::Error, file: Option<&Path>) -> Fault {
    let text = error.kind.to_string();
    let number = |lead: &str| {
        let digits = text.split_once(lead)?.1;
        let end = digits.find(|character: char| !character.is_ascii_digit());
        digits[..end.unwrap_or(digits.len())].parse::<u32>().ok()
    };
    // The library draws the line below its first sentence; the last line is its reason.
    let reason = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let message = format!(
        "the text cannot be read as TOML here ({reason}): write settings like \
         address = \"127.0.0.1:7700\" below [http]"
    );
    let mut fault = Fault::new(Code::SettingsInvalid, error.path.join("."), message);
    fault.file = file.map(|file| file.display().to_string());
    fault.line = number("line ");
    fault.column = number("column ");
    fault
}

/// The effective settings as JSON with what is secret left out.
#[must_use]
pub fn redacted(settings: &Settings) -> Json {
    let mut json = serde_json::to_value(settings).unwrap_or_default();
    for key in json["keys"].as_array_mut().into_iter().flatten() {
        key["sha256"] = Json::from("(redacted)");
    }
    // A token lets a node in until it is used.
    if !settings.cluster.join.is_empty() {
        json["cluster"]["join"] = Json::from("(redacted)");
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(
        text: &str,
        environment: &[(&str, &str)],
        set: &[&str],
    ) -> Result<Settings, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        std::fs::write(&file, text).unwrap();
        let assignments: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
        load(Sources {
            file: Some(&file),
            environment: environment.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
            assignments: &assignments,
            ..Sources::default()
        })
        .map_err(|faults| faults.into_iter().map(|fault| fault.path).collect())
    }

    #[test]
    fn later_sources_win() {
        let text = "[http]\naddress = \"127.0.0.1:1\"\nrequests_max = 7\n[node]\nid = 3\n";
        let settings = load_text(
            text,
            &[("VERDICT_HTTP_ADDRESS", "127.0.0.1:2"), ("VERDICT_NODE_ID", "4"), ("PATH", "/bin")],
            &["http.address=127.0.0.1:3"],
        )
        .unwrap();
        assert_eq!(settings.http.address.port(), 3);
        assert_eq!(settings.node.id, 4);
        assert_eq!(settings.http.requests_max, 7);
        assert_eq!(settings.http.batch_items_max, Settings::default().http.batch_items_max);
    }

    #[test]
    fn every_fault_of_every_source_is_told() {
        let text = "[http]\nadress = 1\nrequests_max = \"many\"\n[nodes]\nid = 3\n[node]\nid = 0\n";
        let faults =
            load_text(text, &[("VERDICT_HTTP_PORT", "1")], &["log.format=xml", "nonsense"]);
        let mut paths = faults.unwrap_err();
        paths.sort();
        let expected = [
            "VERDICT_HTTP_PORT",
            "http.adress",
            "http.requests_max",
            "log.format",
            "node.id",
            "nodes",
            "nonsense",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn text_that_is_no_toml_is_told_with_its_file() {
        assert_eq!(load_text("[http\n", &[], &[]).unwrap_err(), [""]);
    }

    #[test]
    fn a_file_that_is_not_there_is_one_fault() {
        let file = Some(Path::new("nowhere.toml"));
        let faults = load(Sources { file, ..Sources::default() }).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].message.contains("nowhere.toml"), "{faults:?}");
    }

    #[test]
    fn lists_are_read_from_the_environment() {
        let hash = "a".repeat(64);
        let keys = format!("[{{name=\"shop\",role=\"decider\",sha256=\"{hash}\"}}]");
        let settings = load_text("", &[("VERDICT_KEYS", &keys)], &[]).unwrap();
        assert_eq!(settings.keys[0].name, "shop");
        assert!(!redacted(&settings).to_string().contains(&hash));
    }
}
