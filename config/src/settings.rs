//! A node's own settings: what differs from node to node and never goes through the log.
//!
//! As written (file, environment, flags, in this order of growing weight), then [`Settings::validate`],
//! which returns every fault at once. Unknown keys are refused. Times are milliseconds, sizes bytes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

mod engine;
mod http;

pub use engine::{FlagsSettings, InferenceSettings, JournalSettings, RulesSettings};
pub use http::{HttpSettings, KeySettings};

use crate::name::is_plain_name;
use crate::{Code, Fault, Faults};

mod admin;

pub use admin::AdminSettings;

/// Roles of keys, from weak to strong; each includes the ones before it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Asks for decisions, evaluates flags, reports outcomes.
    Decider,
    /// Reads the catalogue, decisions and metrics; sees sensitive fields redacted.
    Viewer,
    /// Changes flags, lists, tables, rules and flows.
    Editor,
    /// Moves aliases and rollouts, rolls back.
    Releaser,
    /// Members, keys, backup; sees sensitive fields.
    Operator,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Role; 5] =
        [Self::Decider, Self::Viewer, Self::Editor, Self::Releaser, Self::Operator];

    /// The role as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decider => "decider",
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Releaser => "releaser",
            Self::Operator => "operator",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// All settings of a node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Who the node is.
    pub node: NodeSettings,
    /// Where and how it serves HTTP.
    pub http: HttpSettings,
    /// API keys.
    pub keys: Vec<KeySettings>,
    /// Rule evaluation.
    pub rules: RulesSettings,
    /// Feature flags.
    pub flags: FlagsSettings,
    /// Inference.
    pub inference: InferenceSettings,
    /// Records, outcomes and windows.
    pub journal: JournalSettings,
    /// The other nodes.
    pub cluster: ClusterSettings,
    /// Operators.
    pub admin: AdminSettings,
    /// The process's own log.
    pub log: LogSettings,
}

/// Who the node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodeSettings {
    /// Its number in the cluster, 1 to 65535, never used twice; part of every decision's id.
    pub id: u16,
    /// Region, a plain name.
    pub region: String,
    /// Zone inside the region, a plain name.
    pub zone: String,
    /// The state folder.
    pub data_dir: String,
    /// A catalogue folder that is served and watched; none if empty.
    pub catalogue_dir: String,
    /// A file with the API key that saves in the catalogue folder act with; without one they are
    /// refused. The leader must know the key: put it into the catalogue.
    pub catalogue_key_file: String,
    /// How long a drain may take before the process ends anyway.
    pub drain_timeout_ms: u64,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            id: 1,
            region: "local".to_owned(),
            zone: "local".to_owned(),
            data_dir: "verdict-data".to_owned(),
            catalogue_dir: String::new(),
            catalogue_key_file: String::new(),
            drain_timeout_ms: 30_000,
        }
    }
}

/// Timeouts of the log, after how far the nodes are apart.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum NetworkProfile {
    /// One site: a lost leader is replaced within a second.
    #[default]
    Lan,
    /// Regions: answers between voters take up to 150 ms.
    Wan,
}

/// The other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSettings {
    /// Where other nodes are listened for, always by mutual TLS; if empty, the port behind HTTP's
    /// on the same address.
    pub peer_address: String,
    /// Where other nodes find this one, as host and port; if empty, `peer_address`.
    pub peer_advertise: String,
    /// Where clients find this node, as host and port; if empty, HTTP's address.
    pub http_advertise: String,
    /// A one-time token to join a cluster with at the first start; if empty, a node without state
    /// begins a cluster of its own.
    pub join: String,
    /// A certificate chain, PEM, that the operator gives for connections between nodes, for the name
    /// `node-N.CLUSTER.verdict.internal`; if empty, the cluster's own authority makes it. Either all
    /// nodes have one, or none.
    pub tls_certificate: String,
    /// Its private key, PEM.
    pub tls_key: String,
    /// Certificates, PEM, of the authorities whose nodes are trusted then.
    pub tls_authorities: String,
    /// Timeouts.
    pub network: NetworkProfile,
    /// How long voters take to answer each other, there and back, as it was measured: timeouts are
    /// made for it in place of the profile's. 0: as the profile says. The same on every node.
    pub round_trip_ms: u64,
    /// A node that has heard of no leader for so long says that its answers may be stale.
    pub stale_after_ms: u64,
    /// Members that this node reaches at another address than the one they advertise, as host and
    /// port by node id: behind address translation, or over a private link. Who answers there is
    /// checked by certificate all the same.
    pub peer_routes: BTreeMap<String, String>,
    /// Entries of the log after which a snapshot is made.
    pub snapshot_entries: u64,
    /// Entries that are kept behind a snapshot; a member that is further behind gets the snapshot.
    pub entries_kept: u64,
    /// On how many nodes a large list, table or rule set is before a change may name it; at most
    /// the members count, and a majority of the voters always has it.
    pub blob_replicas: usize,
    /// How far the node's clock may be from the newest time that it knows, in seconds, before it leads
    /// and lets anything expire only once most voters or an operator have confirmed the clock. A node
    /// that votes alone may have been off for 60 days.
    pub clock_bound_s: u64,
    /// How long a change waits until every live node has loaded the models that it makes active.
    pub activation_wait_ms: u64,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            peer_address: String::new(),
            peer_advertise: String::new(),
            http_advertise: String::new(),
            join: String::new(),
            tls_certificate: String::new(),
            tls_key: String::new(),
            tls_authorities: String::new(),
            network: NetworkProfile::Lan,
            round_trip_ms: 0,
            stale_after_ms: 10_000,
            peer_routes: BTreeMap::new(),
            snapshot_entries: 10_000,
            entries_kept: 1_000,
            blob_replicas: 3,
            clock_bound_s: 3_600,
            activation_wait_ms: 30_000,
        }
    }
}

impl ClusterSettings {
    /// The routes by node id; what is no route is left out.
    #[must_use]
    pub fn routes(&self) -> BTreeMap<u64, String> {
        let routes = self.peer_routes.iter();
        routes.filter_map(|(id, to)| Some((id.parse().ok()?, to.clone()))).collect()
    }

    /// Where other nodes are listened for, beside an address of HTTP. One that listens everywhere
    /// does not say where others would find this node: then they are listened for on loopback.
    #[must_use]
    pub fn peer_address(&self, http: SocketAddr) -> Option<SocketAddr> {
        if !self.peer_address.is_empty() {
            return self.peer_address.parse().ok();
        }
        let port = if http.port() == 0 { 0 } else { http.port().checked_add(1)? };
        let loopback = if http.is_ipv4() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        };
        Some(SocketAddr::new(if http.ip().is_unspecified() { loopback } else { http.ip() }, port))
    }
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// How log lines look.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The process's own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Text or JSON.
    pub format: LogFormat,
    /// Filter as `tracing` reads it: `info`, `warn,verdict_actors=debug`.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Settings {
    /// Every fault of the settings as a whole; empty if they are fit to start with.
    #[must_use]
    pub fn validate(&self) -> Faults {
        let mut faults = Faults::new();
        let mut fault = |path: &str, message: String| {
            faults.push(Fault::new(Code::SettingsInvalid, path, message));
        };
        if self.node.id == 0 {
            fault("node.id", "a node's id runs from 1 to 65535".to_owned());
        }
        for (path, name) in [("node.region", &self.node.region), ("node.zone", &self.node.zone)] {
            if !is_plain_name(name) {
                fault(path, format!("{name:?}: {}", Code::InvalidName.advice()));
            }
        }
        if self.node.data_dir.is_empty() {
            fault("node.data_dir", "name a folder for the node's state".to_owned());
        }
        self.validate_http(&mut fault);
        self.validate_keys(&mut fault);
        self.validate_cluster(&mut fault);
        for (path, value, least, most) in self.ranges() {
            if !(least..=most).contains(&value) {
                fault(path, format!("{value} is not between {least} and {most}"));
            }
        }
        faults
    }

    fn validate_http(&self, fault: &mut impl FnMut(&str, String)) {
        let http = &self.http;
        if http.tls_certificate.is_empty() != http.tls_key.is_empty() {
            fault("http.tls_key", "give both tls_certificate and tls_key, or neither".to_owned());
        }
        if !http.address.ip().is_loopback() {
            if http.tls_certificate.is_empty() {
                let message = "an address other than loopback needs tls_certificate and tls_key";
                fault("http.address", message.to_owned());
            }
            if self.keys.is_empty() {
                fault("keys", "an address other than loopback needs at least one key".to_owned());
            }
        }
    }

    fn validate_cluster(&self, fault: &mut impl FnMut(&str, String)) {
        let cluster = &self.cluster;
        self.admin.validate(cluster, self.http.address, fault);
        let Some(peer) = cluster.peer_address(self.http.address) else {
            let message = format!("{:?} is no address like 127.0.0.1:7701", cluster.peer_address);
            return fault("cluster.peer_address", message);
        };
        if peer.ip().is_unspecified() && cluster.peer_advertise.is_empty() {
            let message = "name the host and port that others find this node at";
            fault("cluster.peer_advertise", message.to_owned());
        }
        for (path, text) in [
            ("cluster.peer_advertise", &cluster.peer_advertise),
            ("cluster.http_advertise", &cluster.http_advertise),
        ] {
            if !text.is_empty() && !is_host_and_port(text) {
                fault(path, format!("{text:?} is no host and port like node-1.example:7701"));
            }
        }
        let given = [&cluster.tls_certificate, &cluster.tls_key, &cluster.tls_authorities];
        if given.iter().any(|path| path.is_empty()) && given.iter().any(|path| !path.is_empty()) {
            let message = "give tls_certificate, tls_key and tls_authorities, or none of them";
            fault("cluster.tls_certificate", message.to_owned());
        }
        for (id, route) in &cluster.peer_routes {
            let path = format!("cluster.peer_routes.{id}");
            if !id.parse::<u16>().is_ok_and(|number| number != 0 && number.to_string() == *id) {
                fault(&path, format!("{id:?} is no node's id, 1 to 65535"));
            }
            if !is_host_and_port(route) {
                fault(&path, format!("{route:?} is no host and port like node-1.example:7701"));
            }
        }
    }

    fn validate_keys(&self, fault: &mut impl FnMut(&str, String)) {
        for (position, key) in self.keys.iter().enumerate() {
            let path = format!("keys[{position}]");
            if !is_plain_name(&key.name) {
                fault(&format!("{path}.name"), Code::InvalidName.advice().to_owned());
            }
            if self.keys[..position].iter().any(|other| other.name == key.name) {
                fault(&format!("{path}.name"), format!("{:?} is used twice", key.name));
            }
            if key.sha256.len() != 64 || !key.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let message = "64 hex digits, as `printf %s KEY | sha256sum` prints them";
                fault(&format!("{path}.sha256"), message.to_owned());
            }
        }
    }

    /// Numeric settings with their least and most values.
    fn ranges(&self) -> [(&'static str, u64, u64, u64); 30] {
        let (http, rules) = (&self.http, &self.rules);
        let (inference, journal) = (&self.inference, &self.journal);
        [
            ("node.drain_timeout_ms", self.node.drain_timeout_ms, 100, 600_000),
            ("http.body_bytes_max", http.body_bytes_max as u64, 1 << 10, 64 << 20),
            ("http.change_body_bytes_max", http.change_body_bytes_max as u64, 1 << 10, 64 << 20),
            ("http.model_body_bytes_max", http.model_body_bytes_max as u64, 1 << 10, 16 << 30),
            ("http.header_read_timeout_ms", http.header_read_timeout_ms, 100, 60_000),
            ("http.idle_timeout_ms", http.idle_timeout_ms, 100, 3_600_000),
            ("http.request_timeout_ms", http.request_timeout_ms, 10, 600_000),
            ("http.requests_max", http.requests_max as u64, 1, 65_536),
            ("http.connections_max", http.connections_max as u64, 1, 65_536),
            ("http.json_depth_max", http.json_depth_max as u64, 4, 120),
            ("http.batch_items_max", http.batch_items_max as u64, 1, 1_000_000),
            ("rules.workers", rules.workers as u64, 0, 1_024),
            ("rules.queue_max", rules.queue_max as u64, 1, 65_536),
            ("inference.threads", inference.threads as u64, 0, 1_024),
            ("inference.queue_max", inference.queue_max as u64, 1, 65_536),
            ("inference.batch_rows_max", inference.batch_rows_max as u64, 1, 4_096),
            ("inference.timeout_ms", inference.timeout_ms, 1, 600_000),
            ("journal.segment_bytes", journal.segment_bytes, 1 << 20, 1 << 30),
            ("journal.retention_bytes", journal.retention_bytes, 4 << 20, 1 << 44),
            ("journal.retention_days", u64::from(journal.retention_days), 1, 3_660),
            ("journal.sync_interval_ms", journal.sync_interval_ms, 1, 10_000),
            ("journal.window_keys_max", journal.window_keys_max as u64, 1_000, 100_000_000),
            ("cluster.stale_after_ms", self.cluster.stale_after_ms, 100, 3_600_000),
            ("cluster.round_trip_ms", self.cluster.round_trip_ms, 0, 2_000),
            ("cluster.snapshot_entries", self.cluster.snapshot_entries, 10, 10_000_000),
            ("cluster.entries_kept", self.cluster.entries_kept, 1, 10_000_000),
            ("cluster.clock_bound_s", self.cluster.clock_bound_s, 60, 3_153_600_000),
            ("cluster.blob_replicas", self.cluster.blob_replicas as u64, 1, 255),
            ("cluster.activation_wait_ms", self.cluster.activation_wait_ms, 100, 600_000),
            ("journal.request_id_hours", u64::from(journal.request_id_hours), 1, 24 * 30),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told_at_once() {
        assert_eq!(Settings::default().validate(), []);
        let mut settings = Settings::default();
        settings.node.id = 0;
        settings.http.address = SocketAddr::from(([0, 0, 0, 0], 7700));
        settings.http.tls_key = "key.pem".to_owned();
        settings.journal.retention_days = 0;
        let paths: Vec<String> = settings.validate().into_iter().map(|fault| fault.path).collect();
        let expected =
            ["node.id", "http.tls_key", "http.address", "keys", "journal.retention_days"];
        assert_eq!(paths, expected);
    }

    #[test]
    fn routes_name_a_node_and_where_it_is() {
        let mut settings = Settings::default();
        let routes = [("2", "10.0.0.2:7701"), ("0", "a:1"), ("02", "a:1"), ("3", "nowhere")];
        let owned = routes.map(|(id, to)| (id.to_owned(), to.to_owned()));
        settings.cluster.peer_routes = BTreeMap::from(owned);
        let paths: Vec<String> = settings.validate().into_iter().map(|fault| fault.path).collect();
        let expected = ["cluster.peer_routes.0", "cluster.peer_routes.02", "cluster.peer_routes.3"];
        assert_eq!(paths, expected);
        assert_eq!(settings.cluster.routes()[&2], "10.0.0.2:7701");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = serde_json::from_str::<Settings>(r#"{"http":{"adress":"1"}}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `adress`"), "{error}");
    }
}
