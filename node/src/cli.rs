//! The command line: arguments as typed, and which command runs.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, and faults were found (`check`, `test`,
//! `check-config`, rows that `decide` could not decide).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::env::{CompleteEnv, Shells};
use verdict_config::{Fault, Faults};

use crate::output::{Colour, Output};

mod admin;
mod check;
mod client;
mod cluster;
mod connect;
mod data;
mod decide;
mod explanation;
mod import;
mod names;
mod node;
mod objects;
mod recovery;
mod train;

/// Everything went well.
pub const EXIT_OK: u8 = 0;
/// It could not be done.
pub const EXIT_FAILED: u8 = 1;
/// It was done and found faults.
pub const EXIT_FAULTS: u8 = 3;

/// The variable by which a shell says that it completes.
const COMPLETE: &str = "COMPLETE";

const EXIT_CODES: &str =
    "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, and faults were found.";

/// Decides merchants, payments and messages by rules, models and flags, and says why.
#[derive(Debug, Parser)]
#[command(name = "verdict", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Print results as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// When to colour.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node on this machine with everything embedded.
    #[command(after_help = "Example: verdict dev --catalogue ./catalogue")]
    Dev(node::DevArgs),
    /// Start a node from a settings file.
    #[command(after_help = node::SETTINGS_HELP)]
    Node(node::NodeArgs),
    /// Check a settings file and print the effective settings.
    #[command(after_help = "Example: verdict check-config --config node.toml")]
    CheckConfig(node::NodeArgs),
    /// Check a catalogue folder: every fault with file, line and column.
    #[command(after_help = "Example: verdict check ./catalogue")]
    Check(check::CheckArgs),
    /// Run the tests that stand beside the rules, and show which rules no test hits.
    #[command(after_help = "Example: verdict test ./catalogue")]
    Test(check::TestArgs),
    /// Train a model from a CSV file.
    #[command(after_help = train::TRAIN_HELP)]
    Train(train::TrainArgs),
    /// Measure a model on labelled rows.
    #[command(
        after_help = "Example: verdict eval --model ./model --data held-out.csv --label label --json"
    )]
    Eval(train::EvalArgs),
    /// Score rows: adds the columns `predicted` and `score`.
    #[command(
        after_help = "Example: verdict predict --model ./model --data rows.csv --out scored.csv"
    )]
    Predict(train::PredictArgs),
    /// Decide a file of records, offline against a catalogue or by a node.
    #[command(after_help = decide::DECIDE_HELP)]
    Decide(decide::DecideArgs),
    /// Models of a node.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Bring a node to the state of a catalogue folder, in one change set.
    #[command(after_help = "Example: verdict apply ./catalogue --why \"stricter gambling rules\"")]
    Apply(objects::ApplyArgs),
    /// Write a node's catalogue as a folder.
    #[command(after_help = "Example: verdict export ./catalogue")]
    Export(objects::ExportArgs),
    /// Bring files of other systems into a catalogue folder or a node.
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Explain a decision: the values read, the rules that hit, and why others did not.
    #[command(after_help = "Example: verdict explain 01K0V3Z6J8Q2M5X4T7B9C1D3E5")]
    Explain(objects::ExplainArgs),
    /// A cluster on this machine.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Fetch a backup of everything that a node's cluster agreed, with the models.
    #[command(after_help = "Example: verdict backup verdict-2026-11-24.tar")]
    Backup(recovery::BackupArgs),
    /// Begin a new cluster from a backup; the node of the settings must have no state.
    #[command(after_help = "Example: verdict restore verdict-2026-11-24.tar --config node.toml")]
    Restore(recovery::RestoreArgs),
    /// Begin a new cluster with what one node has, when the majority is lost for good.
    #[command(after_help = recovery::RECOVER_HELP)]
    Recover(recovery::RecoverArgs),
    /// What operators do: status, audit, flags, rules, models, rollback, keys, members.
    #[command(after_help = "Example: verdict admin status")]
    Admin(Box<admin::AdminArgs>),
    /// The same as `verdict admin status`: the nodes, what they serve, and how they are.
    #[command(after_help = "Example: verdict status --json")]
    Status(admin::AdminTarget),
    /// Write the generated data that the demo's models are trained on, and print how they are.
    #[command(after_help = "Example: verdict demo-data ./demo-data")]
    DemoData(Folder),
    /// Print completions for a shell: they complete commands, and names of the cluster's objects.
    #[command(after_help = "Example: verdict completions bash > /etc/bash_completion.d/verdict")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page a command.
    #[command(after_help = "Example: verdict man --out ./man")]
    Man {
        /// Folder for one page a command.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Print the description of the HTTP API.
    #[command(after_help = "Example: verdict openapi > openapi.json")]
    Openapi,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Put a model folder into a node.
    #[command(after_help = "Example: verdict model push ./model --name industry")]
    Push(objects::PushArgs),
}

/// A folder given as the only argument.
#[derive(Debug, Args)]
pub struct Folder {
    /// The folder.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// It could not be done; a sentence says why.
    Failed(String),
    /// Faults were found; they are printed.
    Faults(Faults),
}

impl Failure {
    /// A failure with a sentence.
    pub fn new(text: impl Into<String>) -> Self {
        Self::Failed(crate::reasons::without_numbers(text.into()))
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::Faults(faults)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let by_system = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        let by_json = error.chain().find_map(|cause| cause.downcast_ref::<serde_json::Error>());
        Self::Failed(match (by_system, by_json) {
            (Some(error), _) => crate::reasons::io(error),
            (None, Some(error)) => crate::reasons::json(error),
            (None, None) => format!("{error:#}"),
        })
    }
}

/// What a command answers: its exit code.
pub type Outcome = Result<u8, Failure>;

/// Runs the program with arguments, the first of which is its name.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // A shell that completes a command line runs the program with its words behind `--`.
    let completing = CompleteEnv::with_factory(Cli::command).var(COMPLETE);
    let here = std::env::current_dir().ok();
    match completing.try_complete(arguments.clone(), here.as_deref()) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(EXIT_FAILED);
        }
    }
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; only real misuse is 2.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            if code != EXIT_OK && wants_json {
                let text = error.render().to_string();
                Output::new(true, Colour::Never).json_error(&json_error(text.trim_end(), &[]));
            }
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let output = Output::new(cli.json, cli.color);
    match dispatch(cli.command, &output) {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Failed(text)) => {
            report(&output, &text, &[]);
            ExitCode::from(EXIT_FAILED)
        }
        Err(Failure::Faults(faults)) => {
            let text = match faults.len() {
                1 => "one fault".to_owned(),
                count => format!("{count} faults"),
            };
            report(&output, &text, &faults);
            ExitCode::from(EXIT_FAULTS)
        }
    }
}

fn report(output: &Output, text: &str, faults: &[Fault]) {
    output.json_error(&json_error(text, faults));
    output.faults(faults);
    output.error(text);
}

/// What a command that fails prints as JSON.
fn json_error(text: &str, faults: &[Fault]) -> serde_json::Value {
    serde_json::json!({ "error": text, "faults": faults })
}

fn dispatch(command: Command, output: &Output) -> Outcome {
    match command {
        Command::Dev(arguments) => node::dev(&arguments, output),
        Command::Node(arguments) => node::node(&arguments, output),
        Command::CheckConfig(arguments) => node::check_config(&arguments, output),
        Command::Check(arguments) => check::check(&arguments, output),
        Command::Test(arguments) => check::test(&arguments, output),
        Command::Train(arguments) => train::train(&arguments, output),
        Command::Eval(arguments) => train::eval(&arguments, output),
        Command::Predict(arguments) => train::predict(&arguments, output),
        Command::Decide(arguments) => decide::decide(&arguments, output),
        Command::Model(ModelCommand::Push(arguments)) => objects::push(&arguments, output),
        Command::Apply(arguments) => objects::apply(&arguments, output),
        Command::Export(arguments) => objects::export(&arguments, output),
        Command::Explain(arguments) => objects::explain(&arguments, output),
        Command::Backup(arguments) => recovery::backup(&arguments, output),
        Command::Restore(arguments) => recovery::restore(&arguments, output),
        Command::Import(command) => import::run(&command, output),
        Command::Recover(arguments) => recovery::recover(&arguments, output),
        Command::Cluster(command) => cluster::run(&command, output),
        Command::Admin(arguments) => admin::run(&arguments, output),
        Command::Status(target) => admin::status(&target, output),
        Command::DemoData(folder) => demo_data(&folder, output),
        Command::Completions { shell } => {
            let script = completions(&shell.to_string())?;
            if output.is_json() {
                let shell = shell.to_string();
                output.json(&serde_json::json!({ "shell": shell, "script": script }));
            } else {
                output.raw(script.trim_end());
            }
            Ok(EXIT_OK)
        }
        Command::Man { out } => man(out, output),
        Command::Openapi => {
            output.raw(crate::http::openapi::document());
            Ok(EXIT_OK)
        }
    }
}

/// What a shell reads to complete by this program: it asks `verdict` itself, at each key.
fn completions(shell: &str) -> Result<String, Failure> {
    let shells = Shells::builtins();
    let found = shells.completer(shell);
    let found =
        found.ok_or_else(|| Failure::new(format!("there are no completions for {shell}")))?;
    let mut bytes = Vec::new();
    let written = found.write_registration(COMPLETE, "verdict", "verdict", "verdict", &mut bytes);
    written.map_err(anyhow::Error::from)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes each demo model's training data, and prints the command that makes the model of it.
fn demo_data(folder: &Folder, output: &Output) -> Outcome {
    use crate::demo::generate::{MODELS, SEED, training_set};

    let failed = |error: std::io::Error| Failure::new(data::unwritable(&folder.dir, &error));
    std::fs::create_dir_all(&folder.dir).map_err(failed)?;
    let mut told = Vec::new();
    for set in MODELS.iter().filter_map(|model| training_set(model, SEED)) {
        let data = folder.dir.join(format!("{}.csv", set.model));
        std::fs::write(&data, &set.csv).map_err(failed)?;
        let text: String = set.text.iter().map(|column| format!(" --text {column}")).collect();
        let features = match set.features {
            [] => String::new(),
            columns => format!(" --features {}", columns.join(",")),
        };
        let command = format!(
            "verdict train --data {data} --label {label}{text}{features} --network {network} \
             --seed {SEED} --name {model} --out {out}",
            data = data.display(),
            label = set.label,
            network = set.network,
            model = set.model,
            out = folder.dir.join(set.model).display(),
        );
        output.say(&command);
        told.push(serde_json::json!({ "model": set.model, "data": data, "train": command }));
    }
    if output.is_json() {
        output.json(&told);
    }
    Ok(EXIT_OK)
}

fn man(out: Option<PathBuf>, output: &Output) -> Outcome {
    let failed = |error: std::io::Error| {
        let reason = crate::reasons::io(&error);
        Failure::new(format!("the manual pages cannot be written: {reason}"))
    };
    match out {
        Some(folder) => {
            std::fs::create_dir_all(&folder).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), &folder).map_err(failed)?;
            if output.is_json() {
                output.json(&serde_json::json!({ "dir": folder }));
            }
            output.say(format!("Wrote the manual pages to {}.", folder.display()));
        }
        None => {
            let mut bytes = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut bytes).map_err(failed)?;
            let page = String::from_utf8_lossy(&bytes);
            if output.is_json() {
                output.json(&serde_json::json!({ "page": page }));
            } else {
                output.raw(page.trim_end());
            }
        }
    }
    Ok(EXIT_OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn visit(command: &clap::Command) {
            let mut own = command.get_subcommands().peekable();
            if own.peek().is_none() && command.get_name() != "help" {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{} has no example", command.get_name());
            }
            own.for_each(visit);
        }
        Cli::command().get_subcommands().for_each(visit);
    }
}
