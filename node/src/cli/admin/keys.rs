//! `verdict admin keys`: operators' keys and those of HTTP clients.
//!
//! An operator's private key is made where its owner works and never leaves there. A colleague
//! enrols the public key; what the cluster answers (`FILE.enrolment`) completes the owner's file.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use verdict_admin::{Enrolment, KeyFile, Request};
use verdict_config::ObjectKind;
use verdict_config::settings::Role;

use super::super::{EXIT_OK, Failure, Outcome, data, names};
use super::Session;
use super::changes::{self, WriteArgs, plain};
use super::session::{ask_passphrase, read_passphrase};
use crate::http::keys::digest;
use crate::output::{GOOD, Output};

/// Commands for keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make an operator's key on this machine. A colleague enrols what it prints.
    #[command(after_help = "Example: verdict admin keys new alice --out alice.key")]
    New(NewArgs),
    /// Enrol an operator's public key, and write what its owner needs beside it.
    #[command(after_help = ENROL_HELP)]
    Enrol(EnrolArgs),
    /// Complete an own key with what the colleague who enrolled it sent.
    #[command(after_help = "Example: verdict admin keys enrolled alice.key alice.enrolment")]
    Enrolled(EnrolledArgs),
    /// Sign an operator's key again, for an owner whose file missed a change of the cluster's authority.
    #[command(after_help = "Example: verdict admin keys renew alice --out alice.enrolment")]
    Renew(RenewArgs),
    /// Make a key for clients of HTTP. It is shown once.
    #[command(after_help = "Example: verdict admin keys api shop --role decider --flow payment")]
    Api(ApiArgs),
    /// The keys, without secrets.
    #[command(after_help = "Example: verdict admin keys list")]
    List,
    /// Revoke a key: from one revision on, on every node.
    #[command(after_help = "Example: verdict admin keys revoke alice --why \"left\"")]
    Revoke {
        /// The key.
        #[arg(add = names::of(ObjectKind::Key))]
        name: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

const ENROL_HELP: &str = "Example: verdict admin keys enrol alice --public-key 3b6a... \
    --role releaser --region eu --out alice.enrolment";

/// Arguments of `keys new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The key's name in the catalogue.
    name: String,
    /// The file that is written, for its owner alone.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Seal the key by a passphrase that is asked for.
    #[arg(long)]
    passphrase: bool,
    /// Seal the key by the passphrase of a file.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase")]
    new_passphrase_file: Option<PathBuf>,
}

/// What a key may do.
#[derive(Debug, Clone, Args)]
pub struct Rights {
    /// The role.
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Role,
    /// Only for this flow; more than once for several.
    #[arg(long = "flow", value_name = "FLOW", add = names::of(ObjectKind::Flow))]
    flows: Vec<String>,
    /// Only for what is limited to this region; more than once for several.
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,
    /// From this time on it is not accepted.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Whose it is.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// Arguments of `keys enrol`.
#[derive(Debug, Args)]
pub struct EnrolArgs {
    /// The key's name in the catalogue.
    name: String,
    /// The public key that `keys new` printed, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    public_key: String,
    /// Where what the owner needs is written: certificate, trust and addresses; nothing secret.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    rights: Rights,
    #[command(flatten)]
    write: WriteArgs,
}

/// Arguments of `keys renew`.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// The key's name in the catalogue.
    name: String,
    /// Where what the owner needs is written: certificate, trust and addresses; nothing secret.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `keys enrolled`.
#[derive(Debug, Args)]
pub struct EnrolledArgs {
    /// The key file.
    key: PathBuf,
    /// What the colleague sent.
    enrolment: PathBuf,
}

/// Arguments of `keys api`.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// The key's name in the catalogue.
    name: String,
    #[command(flatten)]
    rights: Rights,
    #[command(flatten)]
    write: WriteArgs,
}

fn role(text: &str) -> Result<Role, String> {
    let known = Role::ALL.into_iter().find(|role| role.as_str() == text);
    known.ok_or_else(|| {
        let all: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        format!("expected one of {}", all.join(", "))
    })
}

impl Rights {
    fn body(&self) -> Json {
        let mut body = json!({ "role": self.role });
        if !self.flows.is_empty() {
            body["flows"] = json!(self.flows);
        }
        if !self.regions.is_empty() {
            body["regions"] = json!(self.regions);
        }
        if let Some(expires) = &self.expires {
            body["expires"] = json!(expires);
        }
        if let Some(comment) = &self.comment {
            body["comment"] = json!(comment);
        }
        body
    }
}

/// Makes a key.
pub fn new(arguments: &NewArgs, output: &Output) -> Outcome {
    if arguments.out.exists() {
        return Err(Failure::new(format!("{} is there already", arguments.out.display())));
    }
    let passphrase = match (&arguments.new_passphrase_file, arguments.passphrase) {
        (Some(path), _) => Some(read_passphrase(path)?),
        (None, false) => None,
        (None, true) => {
            let first = ask_passphrase("Passphrase: ")?;
            if first != ask_passphrase("Once more: ")? {
                return Err(Failure::new("the two passphrases differ"));
            }
            Some(first)
        }
    };
    if passphrase.as_ref().is_some_and(String::is_empty) {
        return Err(Failure::new("the passphrase is empty"));
    }
    let key = KeyFile::generate(&arguments.name, passphrase.as_deref());
    let key = key.map_err(|error| Failure::new(error.to_string()))?;
    key.file.save(&arguments.out).map_err(|error| Failure::new(error.to_string()))?;
    if output.is_json() {
        output.json(&json!({ "name": arguments.name, "public_key": key.file.public_key }));
        return Ok(EXIT_OK);
    }
    output.say(format!("{} {}", output.styled(GOOD, "Wrote"), arguments.out.display()));
    output.say("A colleague who is an operator enrols it by");
    output.say(format!(
        "  verdict admin keys enrol {name} --public-key {key} --role ROLE --out {name}.enrolment",
        name = arguments.name,
        key = key.file.public_key,
    ));
    output.say("and sends the file; then");
    output.say(format!(
        "  verdict admin keys enrolled {} {}.enrolment",
        arguments.out.display(),
        arguments.name
    ));
    Ok(EXIT_OK)
}

/// Completes an own key.
pub fn enrolled(arguments: &EnrolledArgs, output: &Output) -> Outcome {
    let told = |error: &dyn std::fmt::Display| Failure::new(error.to_string());
    let mut file = KeyFile::load(&arguments.key).map_err(|error| told(&error))?;
    file.complete(read_enrolment(&arguments.enrolment)?).map_err(|error| told(&error))?;
    file.save(&arguments.key).map_err(|error| told(&error))?;
    if output.is_json() {
        output.json(&json!({ "name": file.name, "cluster_id": file.cluster_id }));
    } else {
        let text = format!("{} may be used now.", arguments.key.display());
        output.say(output.styled(GOOD, &text));
    }
    Ok(EXIT_OK)
}

fn read_enrolment(path: &Path) -> Result<Enrolment, Failure> {
    serde_json::from_slice(&data::read_bytes(path)?).map_err(|error| {
        let reason = crate::reasons::json(&error);
        Failure::new(format!("{} is not an enrolment: {reason}", path.display()))
    })
}

/// Runs the commands that ask the cluster.
pub fn run(command: &KeysCommand, session: &mut Session, output: &Output) -> Outcome {
    match command {
        KeysCommand::New(arguments) => new(arguments, output),
        KeysCommand::Enrolled(arguments) => enrolled(arguments, output),
        KeysCommand::Enrol(arguments) => enrol(arguments, session, output),
        KeysCommand::Renew(RenewArgs { name, out }) => certify(name, out, session, output),
        KeysCommand::Api(arguments) => api(arguments, session, output),
        KeysCommand::List => list(session, output),
        KeysCommand::Revoke { name, write } => {
            let current = changes::read(session, ObjectKind::Key, name)?;
            let change = changes::delete(ObjectKind::Key, name, Some(current.revision));
            let why = format!("revoke key {name}");
            changes::propose(session, vec![change], (write, &why), output)
        }
    }
}

fn enrol(arguments: &EnrolArgs, session: &mut Session, output: &Output) -> Outcome {
    let EnrolArgs { name, public_key, out, rights, write } = arguments;
    let mut body = rights.body();
    body["public_key"] = json!(public_key);
    let change = changes::put(ObjectKind::Key, name, Some(0), body);
    let why = format!("enrol operator {name}");
    changes::propose(session, vec![change], (write, &why), output)?;
    if write.dry_run {
        return Ok(EXIT_OK);
    }
    certify(name, out, session, output)
}

/// Writes what the owner of a key needs beside it.
fn certify(name: &str, out: &Path, session: &mut Session, output: &Output) -> Outcome {
    let enrolment = session.ask(&Request::Certify { name: name.to_owned() })?.answer;
    let text = serde_json::to_vec_pretty(&enrolment).map_err(anyhow::Error::from)?;
    data::write_bytes(out, &text)?;
    output.say(format!("{} {}: send it to {name}.", output.styled(GOOD, "Wrote"), out.display()));
    Ok(EXIT_OK)
}

fn api(arguments: &ApiArgs, session: &mut Session, output: &Output) -> Outcome {
    let ApiArgs { name, rights, write } = arguments;
    let key = format!("vk_{}", hex::encode(rand::random::<[u8; 24]>()));
    let mut body = rights.body();
    body["hash"] = json!(hex::encode(digest(&key)));
    let change = changes::put(ObjectKind::Key, name, Some(0), body);
    let why = format!("key {name} for HTTP");
    if write.dry_run {
        return changes::propose(session, vec![change], (write, &why), output);
    }
    let silent = Output::silent();
    changes::propose(session, vec![change], (write, &why), &silent)?;
    if output.is_json() {
        output.json(&json!({ "name": name, "key": key }));
    } else {
        output.raw(key);
    }
    Ok(EXIT_OK)
}

fn list(session: &mut Session, output: &Output) -> Outcome {
    let mut keys = changes::list(session, ObjectKind::Key)?;
    for key in &mut keys {
        if let Some(body) = key["body"].as_object_mut() {
            body.shift_remove("hash");
        }
    }
    if output.is_json() {
        output.json(&json!({ "keys": keys }));
        return Ok(EXIT_OK);
    }
    let rows = keys.iter().map(|key| {
        let body = &key["body"];
        let kind = if body["public_key"].is_string() { "operator" } else { "http" };
        let joined = |name: &str| {
            let names = body[name].as_array().cloned().unwrap_or_default();
            names.iter().map(plain).collect::<Vec<_>>().join(", ")
        };
        vec![
            plain(&key["name"]),
            kind.to_owned(),
            plain(&body["role"]),
            joined("flows"),
            joined("regions"),
            plain(&body["expires"]),
            plain(&body["comment"]),
        ]
    });
    let head = ["key", "for", "role", "flows", "regions", "expires", "comment"];
    output.table(&head, rows.collect());
    Ok(EXIT_OK)
}
