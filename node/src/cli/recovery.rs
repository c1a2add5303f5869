//! `backup`, `restore`, `recover`.

use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::connect::Target;
use super::{EXIT_OK, Failure, Outcome};
use crate::cluster::recovery;
use crate::output::{GOOD, Output, WARN};

pub const RECOVER_HELP: &str =
    "The node must not run. What the others had acknowledged and this node \
never got is lost. The old folder stays beside the new one; the other nodes must join again, with \
empty folders.

Example: verdict recover --config node.toml --accept-loss
         verdict recover --config node.toml --trust-leader 4";

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to write.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Settings of the node that begins the new cluster.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only read the backup, and say what would be restored.
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Settings of the node that is left.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Says that you know what is lost.
    #[arg(long)]
    accept_loss: bool,
    /// Begin no new cluster: follow this node as a leader from the next start on. For a node that was
    /// away while every voter that it knows was replaced.
    #[arg(long, value_name = "NODE", conflicts_with = "accept_loss")]
    trust_leader: Option<u64>,
}

/// Fetches a backup.
pub fn backup(arguments: &BackupArgs, output: &Output) -> Outcome {
    let client = arguments.target.connect()?;
    let mut name = arguments.file.clone().into_os_string();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let failed =
        |error: std::io::Error| Failure::new(super::data::unwritable(&arguments.file, &error));
    let mut file = File::create(&partial).map_err(failed)?;
    let bar = output.progress(0, "fetching the backup");
    let fetched = client.download("/v1/admin/backup", &mut file);
    bar.finish_and_clear();
    if fetched.is_err() {
        // A part of a backup is no backup.
        let _ = std::fs::remove_file(&partial);
    }
    let bytes = fetched?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&partial, &arguments.file).map_err(failed)?;
    if output.is_json() {
        output.json(&json!({ "file": arguments.file, "bytes": bytes }));
    } else {
        let file = arguments.file.display();
        output.say(format!("{} {file}, {bytes} bytes", output.styled(GOOD, "Wrote")));
    }
    Ok(EXIT_OK)
}

/// Begins a new cluster from a backup.
pub fn restore(arguments: &RestoreArgs, output: &Output) -> Outcome {
    let settings = super::node::load_file(&arguments.config, &[])?;
    if arguments.dry_run {
        let info = recovery::check_restore(&arguments.file, &settings).map_err(Failure::new)?;
        if output.is_json() {
            let mut told = serde_json::to_value(&info).map_err(anyhow::Error::from)?;
            told["dry_run"] = json!(true);
            output.json(&told);
        } else {
            output.say(format!(
                "Would restore revision {} of cluster {} into {}, as a new cluster.",
                info.revision, info.cluster_id, settings.node.data_dir,
            ));
        }
        return Ok(EXIT_OK);
    }
    let info = recovery::restore(&arguments.file, &settings).map_err(Failure::new)?;
    if output.is_json() {
        output.json(&info);
    } else {
        output.say(format!(
            "{} revision {} of cluster {} as a new cluster: start the node, then let others join",
            output.styled(GOOD, "Restored"),
            info.revision,
            info.cluster_id,
        ));
    }
    Ok(EXIT_OK)
}

/// Begins a new cluster with what one node has.
pub fn recover(arguments: &RecoverArgs, output: &Output) -> Outcome {
    let settings = super::node::load_file(&arguments.config, &[])?;
    if let Some(leader) = arguments.trust_leader {
        recovery::trust_leader(&settings, leader).map_err(Failure::new)?;
        if output.is_json() {
            output.json(&json!({ "trusted_leader": leader }));
        } else {
            let done = output.styled(WARN, "Named");
            output
                .say(format!("{done} node {leader}: this node follows it from its next start on"));
        }
        return Ok(EXIT_OK);
    }
    if !arguments.accept_loss {
        let text = "changes that only the lost nodes had will be gone, and every other node must join \
                    again: say --accept-loss if that is what you want";
        return Err(Failure::new(text));
    }
    let (report, before) = recovery::recover(&settings).map_err(Failure::new)?;
    if output.is_json() {
        output.json(&json!({ "report": report, "before": before }));
        return Ok(EXIT_OK);
    }
    output.say(format!(
        "{} at revision {}. Left behind: {} nodes. {} entries were not known to be committed and \
         are kept. The folder of before: {}",
        output.styled(WARN, "A new cluster begins"),
        report.revision,
        report.left_behind.len(),
        report.uncertain_entries,
        before.display(),
    ));
    Ok(EXIT_OK)
}
