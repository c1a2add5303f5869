//! Which node a command talks to: `--url` and `--key`, else the node of this folder.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value as Json;

use super::Failure;
use super::client::Client;

/// A node and the key for it.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// The node; the one of ./verdict-dev or ./verdict-cluster if absent.
    #[arg(long, alias = "node", env = "VERDICT_URL", value_name = "URL")]
    pub url: Option<String>,
    /// File that holds the API key.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The API key itself.
    #[arg(long, env = "VERDICT_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// PEM file of the authority that signed the node's certificate.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

const DEV: &str = "verdict-dev";
const CLUSTER: &str = "verdict-cluster/cluster.json";
const DEV_URL: &str = "http://127.0.0.1:7700";

impl Target {
    /// A client for the node.
    ///
    /// # Errors
    /// No node is named and none is found, or a file cannot be read.
    pub fn connect(&self) -> Result<Client, Failure> {
        let found = find(Path::new("."))?;
        let url = self.url.clone().or_else(|| found.as_ref().map(|found| found.url.clone()));
        let url = url.ok_or_else(|| {
            Failure::new(
                "no node here: name one with --url, or work in a folder with verdict-dev or \
                 verdict-cluster",
            )
        })?;
        let url = if url.contains("://") { url } else { format!("http://{url}") };
        let key = match (&self.api_key, &self.key) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(file)) => Some(read_key(file)?),
            (None, None) => found.as_ref().map(|found| found.key.clone()),
        };
        let ca = self.ca.clone().or_else(|| found.and_then(|found| found.ca));
        Client::new(url, key, ca.as_deref())
    }
}

struct Found {
    url: String,
    key: String,
    ca: Option<PathBuf>,
}

fn find(folder: &Path) -> Result<Option<Found>, Failure> {
    let dev = folder.join(DEV);
    if dev.join("api-key").is_file() {
        let node = std::fs::read(dev.join("node.json")).unwrap_or_default();
        let node: Json = serde_json::from_slice(&node).unwrap_or_default();
        let url = node["http"].as_str().unwrap_or(DEV_URL).to_owned();
        return Ok(Some(Found { url, key: read_key(&dev.join("api-key"))?, ca: None }));
    }
    let cluster = folder.join(CLUSTER);
    if !cluster.is_file() {
        return Ok(None);
    }
    let cluster: Json = serde_json::from_slice(&super::data::read_bytes(&cluster)?)
        .map_err(|error| Failure::new(format!("{CLUSTER}: {}", crate::reasons::json(&error))))?;
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let url = text(&cluster["nodes"][0]["http"]);
    Ok(url.zip(text(&cluster["api_key"])).map(|(url, key)| Found {
        url,
        key,
        ca: text(&cluster["ca"]).map(PathBuf::from),
    }))
}

fn read_key(file: &Path) -> Result<String, Failure> {
    let bytes = super::data::read_bytes(file)?;
    String::from_utf8(bytes)
        .map(|text| text.trim().to_owned())
        .map_err(|_| Failure::new(format!("{} holds no key", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_of_a_folder_is_found() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find(folder.path()).unwrap().is_none());
        let cluster = folder.path().join("verdict-cluster");
        std::fs::create_dir(&cluster).unwrap();
        let text = r#"{"nodes":[{"http":"https://127.0.0.1:7710"}],"api_key":"k","ca":"ca.pem"}"#;
        std::fs::write(cluster.join("cluster.json"), text).unwrap();
        let found = find(folder.path()).unwrap().unwrap();
        assert_eq!((found.url.as_str(), found.key.as_str()), ("https://127.0.0.1:7710", "k"));
        let dev = folder.path().join("verdict-dev");
        std::fs::create_dir(&dev).unwrap();
        std::fs::write(dev.join("api-key"), "vk_1\n").unwrap();
        let found = find(folder.path()).unwrap().unwrap();
        assert_eq!((found.url.as_str(), found.key.as_str()), (DEV_URL, "vk_1"));
    }
}
