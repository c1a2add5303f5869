//! A cluster's authority, a node and operators, made for tests.

use verdict_admin::{AdminAddress, KeyFile, NodeSigner, OpenKey, OperatorKey};
use verdict_config::TimestampMs;
use verdict_config::settings::Role;
use verdict_consensus::peers::{Authority, NodeKey};

pub const CLUSTER: &str = "c0ffee";
pub const NODE: u64 = 3;

#[allow(clippy::disallowed_methods, reason = "of a test")]
pub fn real_now() -> TimestampMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    TimestampMs(i64::try_from(since.as_millis()).unwrap())
}

pub struct World {
    pub authority: Authority,
    pub node_key: NodeKey,
    pub node_chain: Vec<Vec<u8>>,
}

impl World {
    pub fn new() -> Self {
        let authority = Authority::generate(CLUSTER, real_now()).unwrap();
        let node_key = NodeKey::generate().unwrap();
        let certificate = authority.issue(NODE, &node_key.public(), real_now()).unwrap();
        Self { authority, node_key, node_chain: vec![certificate] }
    }

    pub fn authorities(&self) -> Vec<Vec<u8>> {
        vec![self.authority.certificate().to_vec()]
    }

    pub fn signer(&self) -> NodeSigner {
        NodeSigner::new(&self.node_key.pkcs8(), self.node_chain.clone()).unwrap()
    }

    /// A key with a certificate of this authority, for the cluster.
    pub fn enrolled(&self, name: &str, addresses: Vec<AdminAddress>) -> OpenKey {
        let mut key = KeyFile::generate(name, None).unwrap();
        let public = hex::decode(&key.file.public_key).unwrap();
        let certificate = self.authority.issue_operator(name, &public, real_now()).unwrap();
        CLUSTER.clone_into(&mut key.file.cluster_id);
        key.file.chain = vec![hex::encode(certificate)];
        key.file.authorities = self.authorities().iter().map(hex::encode).collect();
        key.file.addresses = addresses;
        key
    }
}

pub fn operator_key(key: &OpenKey, role: Role) -> OperatorKey {
    OperatorKey {
        name: key.file.name.clone(),
        public_key: hex::decode(&key.file.public_key).unwrap(),
        role,
        flows: None,
        regions: None,
        expires: None,
    }
}
