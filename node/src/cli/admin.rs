//! `verdict admin`: what operators do, over the admin actor's RPC.
//!
//! The key is found in the folder that `verdict dev` or `scripts/cluster-up` made, or named by
//! `--key`. Every command that writes has `--dry-run`, which shows the difference.

use clap::{Args, Subcommand};
use verdict_admin::Request;

use super::{EXIT_OK, Outcome};
use crate::output::Output;

mod authority;
mod changes;
mod flags;
mod history;
mod keys;
mod lists;
mod members;
mod models;
mod operating;
mod rules;
mod session;
mod snooze;
mod transfers;

pub use changes::show_findings;
pub use session::{AdminTarget, Session};

/// Arguments of `admin`.
#[derive(Debug, Args)]
pub struct AdminArgs {
    #[command(flatten)]
    target: AdminTarget,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// The nodes: roles, regions, revision, lag, readiness; what the one that answers serves.
    #[command(after_help = "Example: verdict admin status")]
    Status,
    /// The audit: who changed what, when, why and from where, newest first.
    #[command(after_help = "Example: verdict admin log --follow")]
    Log(history::LogArgs),
    /// The history of one object, or of a kind.
    #[command(after_help = "Example: verdict admin history flag industry-model")]
    History(history::HistoryArgs),
    /// What differs between two revisions.
    #[command(after_help = "Example: verdict admin diff 12 15")]
    Diff(history::DiffArgs),
    /// Feature flags.
    #[command(subcommand)]
    Flag(flags::FlagCommand),
    /// Rule sets.
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Lists.
    #[command(subcommand)]
    List(lists::ListCommand),
    /// Flows.
    #[command(subcommand)]
    Flow(rules::FlowCommand),
    /// Models and aliases.
    #[command(subcommand)]
    Model(models::ModelCommand),
    /// Snoozes: a rule that does not count for one key until some time.
    #[command(subcommand)]
    Snooze(snooze::SnoozeCommand),
    /// Restore an older state by a new entry: of everything, of objects, or the last change undone.
    #[command(after_help = history::ROLLBACK_HELP)]
    Rollback(history::RollbackArgs),
    /// Keys of operators and of HTTP clients.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// The cluster's authority, which signs the certificates of nodes and operators.
    #[command(subcommand)]
    Authority(authority::AuthorityCommand),
    /// Members of the cluster.
    #[command(subcommand)]
    Members(members::MembersCommand),
    /// Tell the node that answers to hand its offices over, finish and end.
    #[command(after_help = "Example: verdict admin --node 127.0.0.1:7722 drain --dry-run")]
    Drain {
        /// Only show what would happen.
        #[arg(long)]
        dry_run: bool,
    },
    /// Fetch a backup of everything that the cluster agreed, with the models.
    #[command(after_help = "Example: verdict admin backup verdict-2026-11-24.tar")]
    Backup(transfers::BackupArgs),
    /// Begin a new cluster from a backup; the node of the settings must have no state. Asks no node.
    #[command(
        after_help = "Example: verdict admin restore verdict-2026-11-24.tar --config node.toml"
    )]
    Restore(super::recovery::RestoreArgs),
    /// Model folders and large objects, node by node: which has what.
    #[command(after_help = "Example: verdict admin blobs --json")]
    Blobs,
    /// The supervision tree: states, restarts, last panics, queues.
    #[command(after_help = "Example: verdict admin actors")]
    Actors,
    /// Admin requests that the node refused.
    #[command(after_help = "Example: verdict admin refusals")]
    Refusals,
    /// Explain a decision.
    #[command(after_help = "Example: verdict admin explain 01K0V3Z6J8Q2M5X4T7B9C1D3E5")]
    Explain {
        /// The decision's id.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// The clock of the node that answers: confirm that it is right where it is in doubt.
    #[command(subcommand)]
    Clock(operating::ClockCommand),
    /// Set what the node logs, for a time.
    #[command(
        after_help = "Example: verdict admin loglevel info,verdict_consensus=debug --for-s 300"
    )]
    Loglevel {
        /// Directives; those of the settings at once, if absent.
        #[arg(value_name = "DIRECTIVES")]
        directives: Option<String>,
        /// Seconds until those of the settings hold again.
        #[arg(long, value_name = "SECONDS", default_value_t = 900)]
        for_s: u64,
        /// Only show what is logged now and after.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs `verdict status`, which is `verdict admin status`.
pub fn status(target: &AdminTarget, output: &Output) -> Outcome {
    operating::status(&mut Session::open(target)?, output)
}

/// Runs one of the commands.
pub fn run(arguments: &AdminArgs, output: &Output) -> Outcome {
    use AdminCommand as C;
    if let C::Keys(keys::KeysCommand::New(new)) = &arguments.command {
        // A key is made without a node.
        return keys::new(new, output);
    }
    if let C::Keys(keys::KeysCommand::Enrolled(enrolled)) = &arguments.command {
        return keys::enrolled(enrolled, output);
    }
    if let C::Restore(restore) = &arguments.command {
        return super::recovery::restore(restore, output);
    }
    let mut session = Session::open(&arguments.target)?;
    match &arguments.command {
        C::Status => operating::status(&mut session, output),
        C::Log(log) => history::log(log, &mut session, output),
        C::History(asked) => history::history(asked, &mut session, output),
        C::Diff(diff) => history::diff(diff, &mut session, output),
        C::Flag(command) => flags::run(command, &mut session, output),
        C::Rules(command) => rules::run(command, &mut session, output),
        C::List(command) => lists::run(command, &mut session, output),
        C::Flow(command) => rules::run_flow(command, &mut session, output),
        C::Model(command) => models::run(command, &mut session, output),
        C::Snooze(command) => snooze::run(command, &mut session, output),
        C::Rollback(rollback) => history::rollback(rollback, &mut session, output),
        C::Keys(command) => keys::run(command, &mut session, output),
        C::Authority(command) => authority::run(command, &mut session, output),
        C::Members(command) => members::run(command, &mut session, output),
        C::Drain { dry_run } => operating::drain(*dry_run, &mut session, output),
        C::Restore(restore) => super::recovery::restore(restore, output),
        C::Backup(backup) => transfers::backup(backup, &mut session, output),
        C::Blobs => operating::blobs(&mut session, output),
        C::Actors => operating::actors(&mut session, output),
        C::Refusals => operating::refusals(&mut session, output),
        C::Explain { id } => {
            let answered = session.ask(&Request::Explain { id: id.clone() })?;
            if output.is_json() {
                output.json(&answered.answer);
            } else {
                super::explanation::show(&answered.answer, output);
            }
            Ok(EXIT_OK)
        }
        C::Clock(command) => operating::clock(command, &mut session, output),
        C::Loglevel { directives, for_s, dry_run } => {
            let wanted = (directives.clone(), *for_s, *dry_run);
            operating::log_level(wanted, &mut session, output)
        }
    }
}
