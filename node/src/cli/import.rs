//! `verdict import`: files of other systems as objects of the catalogue.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use verdict_config::catalogue::{FLAG_FILE_ENDING, read_files};
use verdict_config::flags::{Relaxed, file_text, parse_strict, relax_document};
use verdict_config::{Fault, Faults};

use super::connect::Target;
use super::{EXIT_OK, Failure, Outcome, data, objects};
use crate::catalogue_dir;
use crate::output::{Output, WARN};

/// Help behind the options of `import flagd`.
pub const FLAGD_HELP: &str = "\
Flags that flagd's schema refuses and flagd serves with a warning get \"strict\": false; they are served as
flagd serves them, and each is named.

Example: verdict import flagd allFlags.flagd.json --catalogue ./catalogue
         verdict import flagd allFlags.flagd.json --why \"flags of the old server\"";

/// What is imported.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// A flagd file, into a catalogue folder or a node.
    #[command(after_help = FLAGD_HELP)]
    Flagd(FlagdArgs),
}

/// Arguments of `import flagd`.
#[derive(Debug, Args)]
pub struct FlagdArgs {
    /// The flagd file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write it into this catalogue folder in place of sending it to a node.
    #[arg(long, value_name = "DIR")]
    catalogue: Option<PathBuf>,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "verdict import flagd")]
    why: String,
    #[command(flatten)]
    target: Target,
}

/// Runs an import.
pub fn run(command: &ImportCommand, output: &Output) -> Outcome {
    match command {
        ImportCommand::Flagd(arguments) => flagd(arguments, output),
    }
}

/// A file that is imported: its path in a catalogue folder, its text there, and what was found.
struct Imported {
    path: String,
    text: Vec<u8>,
    flags: usize,
    findings: Faults,
}

fn flagd(arguments: &FlagdArgs, output: &Output) -> Outcome {
    let imported = read(&arguments.file)?;
    let mut answer = json!({
        "file": arguments.file, "flags": imported.flags,
        "findings": imported.findings.iter().map(finding).collect::<Vec<_>>(),
    });
    if !output.is_json() {
        for found in &imported.findings {
            let place = format!("{}: {}", arguments.file.display(), found.path);
            output.say(format!("{} {place}: {}", output.styled(WARN, "finding"), found.message));
        }
    }
    match &arguments.catalogue {
        Some(dir) => {
            let place = dir.join(&imported.path);
            if !arguments.dry_run {
                check_folder(dir, &imported)?;
                if let Some(folder) = place.parent() {
                    std::fs::create_dir_all(folder).map_err(anyhow::Error::from)?;
                }
                data::write_bytes(&place, &imported.text)?;
            }
            answer["written"] = json!(place);
        }
        None => {
            let files = BTreeMap::from([(imported.path.clone(), imported.text.clone())]);
            let text = read_files(&files)?;
            let client = arguments.target.connect()?;
            let present = objects::fetch(&client)?;
            let changes =
                catalogue_dir::changes(&text, &present, false).map_err(anyhow::Error::from)?;
            answer["changes"] = json!(changes.len());
            if !changes.is_empty() {
                let body = json!({
                    "request_id": objects::request_id(), "why": arguments.why,
                    "dry_run": arguments.dry_run,
                    "changes": changes.iter().map(objects::change_json).collect::<Vec<_>>(),
                });
                answer["revision"] = client.post("/v1/changes", &body)?["revision"].clone();
            }
        }
    }
    show(&answer, arguments.dry_run, output);
    Ok(EXIT_OK)
}

/// The folder must be right with the file in it, or a node that follows the folder would refuse it.
fn check_folder(dir: &Path, imported: &Imported) -> Result<(), Failure> {
    if !dir.is_dir() {
        return Ok(());
    }
    let mut files =
        catalogue_dir::read_dir(dir).map_err(|error| Failure::new(error.to_string()))?;
    files.insert(imported.path.clone(), imported.text.clone());
    read_files(&files)?;
    Ok(())
}

fn read(file: &Path) -> Result<Imported, Failure> {
    let shown = file.display();
    let bytes = std::fs::read(file).map_err(|error| Failure::new(format!("{shown}: {error}")))?;
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(FLAG_FILE_ENDING).or_else(|| name.strip_suffix(".json"));
    let stem = stem.filter(|stem| !stem.is_empty() && !stem.starts_with('.')).ok_or_else(|| {
        Failure::new(format!("{shown}: a flagd file is named NAME{FLAG_FILE_ENDING} or NAME.json"))
    })?;
    let path = format!("flags/{stem}{FLAG_FILE_ENDING}");
    let placed = |faults: Faults| -> Faults {
        let place = |fault: Fault| Fault { file: Some(shown.to_string()), ..fault };
        faults.into_iter().map(place).collect()
    };
    let mut document = parse_strict(&bytes).map_err(|fault| placed(vec![fault.into()]))?;
    let Relaxed { findings, is_changed } = relax_document(&mut document);
    let text = if is_changed { file_text(&document).into_bytes() } else { bytes };
    let read = read_files(&BTreeMap::from([(path.clone(), text.clone())])).map_err(placed)?;
    let flags = read.objects.keys().filter(|id| id.kind == verdict_config::ObjectKind::Flag);
    Ok(Imported { path, flags: flags.count(), text, findings })
}

fn finding(found: &Fault) -> Json {
    json!({ "path": found.path, "code": found.code.as_str(), "message": found.message })
}

fn show(answer: &Json, dry_run: bool, output: &Output) {
    if output.is_json() {
        output.json(answer);
        return;
    }
    let (flags, would) = (&answer["flags"], if dry_run { "would be " } else { "" });
    let findings = answer["findings"].as_array().map_or(0, Vec::len);
    let what = match (answer["written"].as_str(), answer["revision"].as_u64()) {
        (Some(place), _) => format!("{would}written to {place}"),
        (None, Some(revision)) => format!("{would}applied at revision {revision}"),
        (None, None) => "unchanged: the node has them already".to_owned(),
    };
    output.say(format!("{flags} flags with {findings} findings, {what}."));
}
