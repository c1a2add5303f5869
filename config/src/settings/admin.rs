//! Where operators reach a node.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ClusterSettings;

/// Where operators reach the node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Where admin requests are listened for, always by mutual TLS; if empty, the port behind the
    /// one that peers are listened for on, on the same address. `off`: nowhere.
    pub address: String,
    /// Where operators find this node, as host and port; if empty, `address`.
    pub advertise: String,
    /// A file that the cluster's first operator key is written to, once: at the first start of the
    /// first node, if no operator is enrolled yet. None, if empty.
    pub first_key_file: String,
}

impl AdminSettings {
    /// Whether admin requests are listened for.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.address != "off"
    }

    /// Where admin requests are listened for, beside an address of HTTP.
    #[must_use]
    pub fn address(&self, cluster: &ClusterSettings, http: SocketAddr) -> Option<SocketAddr> {
        if !self.address.is_empty() {
            return self.address.parse().ok();
        }
        let mut address = cluster.peer_address(http)?;
        let port = address.port();
        address.set_port(if port == 0 { 0 } else { port.checked_add(1)? });
        Some(address)
    }

    pub(super) fn validate(
        &self,
        cluster: &ClusterSettings,
        http: SocketAddr,
        fault: &mut impl FnMut(&str, String),
    ) {
        if !self.is_on() {
            return;
        }
        let Some(address) = self.address(cluster, http) else {
            let message = format!("{:?} is no address like 127.0.0.1:7702, nor off", self.address);
            return fault("admin.address", message);
        };
        if address.ip().is_unspecified() && self.advertise.is_empty() {
            let message = "name the host and port that operators find this node at";
            fault("admin.advertise", message.to_owned());
        }
        let port = self.advertise.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if !self.advertise.is_empty() && port.is_none() {
            let message =
                format!("{:?} is no host and port like node-1.example:7702", self.advertise);
            fault("admin.advertise", message);
        }
    }
}
