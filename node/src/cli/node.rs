//! `dev`, `node`, `check-config`: commands around one node process.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};
use verdict_config::settings::{Role, Settings};

use super::{EXIT_OK, Failure, Outcome, data};
use crate::folder_sync::Synced;
use crate::output::{FAINT, GOOD, HEAD, Output, WARN};
use crate::process::{self, NodeError, NodeStart, Told};
use crate::{demo_files, logging, settings};

pub const SETTINGS_HELP: &str =
    "Every setting can be given in the file, in the environment and with --set, \
later ones win:
  [http] address = \"127.0.0.1:7700\"      in the file
  VERDICT_HTTP_ADDRESS=127.0.0.1:7700    in the environment
  --set http.address=127.0.0.1:7700      on the command line

Example: verdict node --config node.toml";

const DEMO_FLOW: &str = "merchant_onboarding";

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Catalogue folder to serve and watch; ./verdict-dev/catalogue with the demo if absent.
    #[arg(long, value_name = "DIR")]
    catalogue: Option<PathBuf>,
    /// Folder of the node's state.
    #[arg(long, value_name = "DIR", default_value = "verdict-dev")]
    dir: PathBuf,
    /// A setting, for example http.address=127.0.0.1:8800.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    assignments: Vec<String>,
}

/// Arguments of `node` and `check-config`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Settings file (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A setting, for example http.address=127.0.0.1:8800.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    assignments: Vec<String>,
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn load(arguments: &NodeArgs) -> Result<Settings, Failure> {
    load_file(&arguments.config, &arguments.assignments)
}

/// The settings of a file, with the environment.
pub fn load_file(config: &Path, assignments: &[String]) -> Result<Settings, Failure> {
    settings::load(settings::Sources {
        file: Some(config),
        environment: environment(),
        assignments,
        ..settings::Sources::default()
    })
    .map_err(Failure::Faults)
}

/// Checks a settings file.
pub fn check_config(arguments: &NodeArgs, output: &Output) -> Outcome {
    let settings = load(arguments)?;
    let shown = settings::redacted(&settings);
    if output.is_json() {
        output.json(&shown);
        return Ok(EXIT_OK);
    }
    output.say(format!("{} {}", arguments.config.display(), output.styled(GOOD, "is valid")));
    let mut rows = Vec::new();
    for (section, members) in shown.as_object().into_iter().flatten() {
        match members.as_object() {
            Some(members) => rows.extend(
                members
                    .iter()
                    .map(|(key, value)| vec![format!("{section}.{key}"), value.to_string()]),
            ),
            None => rows.push(vec![section.clone(), members.to_string()]),
        }
    }
    output.table(&["setting", "value"], rows);
    Ok(EXIT_OK)
}

/// Runs a node from a settings file.
pub fn node(arguments: &NodeArgs, output: &Output) -> Outcome {
    let settings = load(arguments)?;
    logging::start(&settings.log).map_err(Failure::new)?;
    tracing::info!(settings = %settings::redacted(&settings), "effective settings");
    let output = output.clone();
    run(NodeStart { settings, keys: Vec::new(), folder_key: None }, move |told| {
        tell_log(&told, &output)
    })
}

/// A node of a cluster tells its log; only faults of the folder are also for people.
fn tell_log(told: &Told, output: &Output) {
    match told {
        Told::Ready { address, tls, flows, revision, .. } => {
            tracing::info!(%address, tls, flows = flows.len(), revision, "ready");
            if output.is_json() {
                let url = format!("{}://{address}", if *tls { "https" } else { "http" });
                let names: Vec<&str> = flows.iter().map(|(name, _)| name.as_str()).collect();
                output.json(&json!({ "url": url, "revision": revision, "flows": names }));
            }
        }
        Told::Draining => tracing::info!("draining"),
        Told::Folder(Synced::Refused(faults)) => {
            tracing::warn!(
                faults = faults.len(),
                "the catalogue folder has faults; the last good state serves on"
            );
            output.faults(faults);
        }
        Told::Folder(Synced::Applied { revision, changes }) => {
            tracing::info!(revision, changes = changes.len(), "saves were applied");
        }
        Told::Folder(Synced::Written { files }) => {
            tracing::info!(files = files.len(), "changes were written to the folder");
        }
        Told::Folder(Synced::Corrected { revision }) => {
            tracing::info!(revision, "the catalogue folder has no faults any more");
        }
        Told::Folder(Synced::Unchanged) => {}
    }
}

fn run(start: NodeStart, tell: impl Fn(Told) + Send + Sync + 'static) -> Outcome {
    match process::run(start, tell) {
        Ok(()) => Ok(EXIT_OK),
        Err(NodeError::Settings(faults)) => Err(Failure::Faults(faults)),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// Runs a node with everything embedded.
pub fn dev(arguments: &DevArgs, output: &Output) -> Outcome {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let dir = absolute(&arguments.dir);
    let catalogue = match &arguments.catalogue {
        Some(folder) if !folder.is_dir() => {
            let text = format!(
                "{} is not a folder: name a catalogue folder, or leave --catalogue out for the demo",
                folder.display()
            );
            return Err(Failure::new(text));
        }
        Some(folder) => absolute(folder),
        None => dir.join("catalogue"),
    };
    if arguments.catalogue.is_none() && !catalogue.exists() {
        write_demo(&catalogue)?;
    }
    super::objects::write_schemas(&catalogue)?;
    let mut base = Settings::default();
    base.node.data_dir = dir.join("data").display().to_string();
    base.node.catalogue_dir = catalogue.display().to_string();
    base.admin.first_key_file = dir.join("operator.key").display().to_string();
    base.log.level = "warn".to_owned();
    let settings = settings::load(settings::Sources {
        base,
        environment: environment(),
        assignments: &arguments.assignments,
        file: None,
    })
    .map_err(Failure::Faults)?;
    logging::start(&settings.log).map_err(Failure::new)?;
    let key = |name: &str, file: &str| {
        process::key_file(&dir.join(file), name, Role::Operator)
            .map_err(|error| Failure::new(error.to_string()))
    };
    let (api_key, api) = key("dev", "api-key")?;
    let output = output.clone();
    let folder_key = Some(api_key.clone());
    let teller = DevTeller { output, dir, catalogue, api_key };
    run(NodeStart { settings, keys: vec![api], folder_key }, move |told| teller.tell(&told))
}

/// Writes the demo catalogue into a folder that does not exist yet: whole, or not at all.
pub fn write_demo(catalogue: &Path) -> Result<(), Failure> {
    let mut name = catalogue.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = catalogue.with_file_name(name);
    let failed = |error: std::io::Error| Failure::new(data::unwritable(catalogue, &error));
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(failed)?;
    }
    std::fs::create_dir_all(&partial).map_err(failed)?;
    for (path, bytes) in demo_files::FILES {
        data::write_bytes(&partial.join(path), bytes)?;
    }
    std::fs::rename(&partial, catalogue).map_err(failed)
}

/// Prints what a person who starts a node wants to know.
struct DevTeller {
    output: Output,
    dir: PathBuf,
    catalogue: PathBuf,
    api_key: String,
}

impl DevTeller {
    fn tell(&self, told: &Told) {
        let output = &self.output;
        match told {
            Told::Ready { .. } => self.tell_ready(told),
            Told::Draining => output.say("\nStopping: what was accepted is finished first."),
            Told::Folder(Synced::Applied { revision, changes }) => {
                output.say(format!("{} revision {revision}", output.styled(GOOD, "Applied")));
                for change in changes.iter().take(20) {
                    output.say(format!("  {change}"));
                }
                if changes.len() > 20 {
                    output.say(format!("  and {} more", changes.len() - 20));
                }
            }
            Told::Folder(Synced::Written { files }) => {
                output.say(format!("Wrote {}", files.join(", ")));
            }
            Told::Folder(Synced::Refused(faults)) => {
                output.faults(faults);
                output.say(
                    output.styled(WARN, "Nothing was applied: the last good state serves on."),
                );
            }
            Told::Folder(Synced::Corrected { revision }) => {
                output.say(format!(
                    "{}: the folder has no faults any more. It says what revision {revision} serves.",
                    output.styled(GOOD, "Corrected")
                ));
            }
            Told::Folder(Synced::Unchanged) => {}
        }
    }

    fn tell_ready(&self, told: &Told) {
        let Told::Ready { address, tls, flows, flags, models, revision } = told else { return };
        let output = &self.output;
        let url = format!("{}://{address}", if *tls { "https" } else { "http" });
        let node = json!({ "http": url, "pid": std::process::id() });
        // Commands of this folder find the node by it; without it they try the usual address.
        if let Err(Failure::Failed(text)) =
            data::write_bytes(&self.dir.join("node.json"), node.to_string().as_bytes())
        {
            output.note(text);
        }
        let names: Vec<&str> = flows.iter().map(|(name, _)| name.as_str()).collect();
        if output.is_json() {
            output.json(&json!({
                "url": url, "revision": revision, "flows": names, "flags": flags, "models": models,
                "catalogue": self.catalogue, "api_key_file": self.dir.join("api-key"),
            }));
            return;
        }
        let row = |name: &str, text: String| output.say(format!("  {name:<10} {text}"));
        output.say(format!("{} on {}", output.styled(HEAD, "Verdict"), output.styled(GOOD, &url)));
        row("flows", if names.is_empty() { "none yet".to_owned() } else { names.join(", ") });
        row("models", if models.is_empty() { "none".to_owned() } else { models.join(", ") });
        row("flags", format!("{flags} ({url}/ofrep/v1/evaluate/flags)"));
        row("catalogue", format!("{} (saves are applied)", self.catalogue.display()));
        row("API key", self.dir.join("api-key").display().to_string());
        row("state", self.dir.join("data").display().to_string());
        row("API", format!("{url}/openapi.json"));
        if let Some((flow, input)) = example(flows) {
            let body = json!({ "input": input }).to_string().replace('\'', "'\\''");
            output.say(format!("\n{}", output.styled(FAINT, "Try it:")));
            output.say(format!(
                "  curl -sS {url}/v1/decisions/{flow} -H 'X-API-Key: {}' -H 'Content-Type: application/json' -d '{body}'",
                self.api_key,
            ));
        }
        if std::io::stdout().is_terminal() {
            output.say(format!("\n{}", output.styled(FAINT, "Ctrl-C stops it.")));
        }
    }
}

/// The flow that the first line to try asks, with an input.
fn example(flows: &[(String, Json)]) -> Option<(&str, Json)> {
    let demo = flows.iter().find(|(name, input)| name == DEMO_FLOW && input.get("name").is_some());
    if demo.is_some() {
        let input = json!({
            "name": "Lucky Star Ltd",
            "description": "online sports betting and casino games",
            "country": "MT",
        });
        return Some((DEMO_FLOW, input));
    }
    flows.first().map(|(name, input)| (name.as_str(), input.clone()))
}
