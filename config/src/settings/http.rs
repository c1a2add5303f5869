//! Settings of HTTP and its keys.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::Role;

/// Where and how the node serves HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// The address. Anything but loopback needs `tls_certificate`, `tls_key` and `keys`.
    pub address: SocketAddr,
    /// PEM file of the certificate chain; empty for plain HTTP.
    pub tls_certificate: String,
    /// PEM file of the private key.
    pub tls_key: String,
    /// Origins that browsers may call from. `*` lets any page evaluate flags by OFREP, with a key;
    /// every other route takes only origins that are named.
    pub cors_origins: Vec<String>,
    /// Host names of this node beside localhost and loopback addresses, which a node on loopback takes
    /// in the Host header: for example the name by which a proxy calls it.
    pub hosts: Vec<String>,
    /// Largest body of a request.
    pub body_bytes_max: usize,
    /// Largest body of a change.
    pub change_body_bytes_max: usize,
    /// Largest model that can be pushed.
    pub model_body_bytes_max: usize,
    /// How long the head of a request may take.
    pub header_read_timeout_ms: u64,
    /// How long an HTTP/1 connection may stay open between two requests.
    pub idle_timeout_ms: u64,
    /// How long a request may take.
    pub request_timeout_ms: u64,
    /// Requests that run at once; one more is told 429.
    pub requests_max: usize,
    /// Connections that are open at once.
    pub connections_max: usize,
    /// Deepest nesting of a JSON body.
    pub json_depth_max: usize,
    /// Most items of a batch.
    pub batch_items_max: usize,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7700),
            tls_certificate: String::new(),
            tls_key: String::new(),
            cors_origins: vec!["*".to_owned()],
            hosts: Vec::new(),
            body_bytes_max: 2 << 20,
            change_body_bytes_max: 32 << 20,
            model_body_bytes_max: 1 << 30,
            header_read_timeout_ms: 5_000,
            idle_timeout_ms: 75_000,
            request_timeout_ms: 10_000,
            requests_max: 512,
            connections_max: 2_048,
            json_depth_max: 64,
            batch_items_max: 10_000,
        }
    }
}

/// An API key. Only its hash is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Whose it is; the author of changes made with it.
    pub name: String,
    /// SHA-256 of the key, 64 hex digits (`printf %s KEY | sha256sum`).
    pub sha256: String,
    /// What it may do.
    pub role: Role,
}
