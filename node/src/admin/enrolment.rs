//! The first operator's key, and the certificates of all of them.

use std::path::Path;

use serde_json::json;
use verdict_admin::{AdminAddress, Enrolment, KeyFile};
use verdict_config::{Code, ObjectKind};
use verdict_consensus::peers::{NodeAnswer, NodeRequest};
use verdict_consensus::{Author, Change, ChangeRefused, ChangeSet, Log, Proof, ProposeError};

use super::{operator_key, public_key_of};
use crate::cluster::proof::Sender;
use crate::cluster::{Cluster, ClusterError};

/// The name of the first operator's key.
const FIRST: &str = "operator";

/// What was found or made.
pub(super) enum First {
    /// A key was made and enrolled.
    Made,
    /// The file's key is enrolled.
    Known,
    /// Others are enrolled; the file is not there or is of none of them.
    OthersAre,
}

fn failed(error: &dyn std::fmt::Display) -> ClusterError {
    ClusterError { code: Code::OperatorUnknown, detail: error.to_string(), retryable: false }
}

pub(super) async fn first(cluster: &Cluster, path: &Path) -> Result<First, ClusterError> {
    let catalogue = cluster.log().linearizable().await?;
    let keys = catalogue.of_kind(ObjectKind::Key);
    let enrolled: Vec<Vec<u8>> = keys.filter_map(|object| public_key_of(object)).collect();
    let kept = KeyFile::load(path).ok();
    if let Some(kept) = &kept
        && enrolled.iter().any(|key| hex::encode(key) == kept.public_key)
        && !kept.chain.is_empty()
    {
        refresh(cluster, kept, path).await?;
        return Ok(First::Known);
    }
    if !enrolled.is_empty() {
        return Ok(First::OthersAre);
    }
    set_aside(path).map_err(|error| failed(&error))?;
    let mut key = KeyFile::generate(FIRST, None).map_err(|error| failed(&error))?;
    let public_key = key.file.public_key.clone();
    let body = json!({ "role": "operator", "public_key": public_key,
        "comment": "made at the first start" });
    let mut change = Change::put(ObjectKind::Key, FIRST, body.to_string());
    // Whoever was first stays: two nodes cannot both enrol one.
    change.expected_revision = Some(0);
    let request_id = format!("first-operator-{}", &public_key[..16]);
    let set = ChangeSet::new(request_id, "the first operator".to_owned(), vec![change]);
    match cluster.log().propose(set, Author::named("first start")).await {
        Err(ProposeError::Refused(ChangeRefused::Conflict(_))) => return Ok(First::OthersAre),
        proposed => drop(proposed?),
    }
    let public = hex::decode(&public_key).map_err(|error| failed(&error))?;
    let enrolment = cluster.certify((FIRST, &public), None).await?;
    key.file.complete(enrolment).map_err(|error| failed(&error))?;
    key.file.save(path).map_err(|error| failed(&error))?;
    Ok(First::Made)
}

/// The file follows the cluster's authorities also when nobody used it while they changed: whoever
/// starts the node has its state folder, and with it more than the file could give.
async fn refresh(cluster: &Cluster, kept: &KeyFile, path: &Path) -> Result<(), ClusterError> {
    let trusted = cluster.identity_parts().authorities;
    if trusted.iter().map(hex::encode).eq(kept.authorities.iter().cloned()) {
        return Ok(());
    }
    let public = hex::decode(&kept.public_key).map_err(|error| failed(&error))?;
    let mut file = kept.clone();
    let enrolment = cluster.certify((&kept.name, &public), None).await?;
    file.complete(enrolment).map_err(|error| failed(&error))?;
    file.save(path).map_err(|error| failed(&error))?;
    tracing::info!(file = %path.display(), "the operator's key follows the cluster's authorities");
    Ok(())
}

/// What stood in the place of the file, from before operators signed, is kept beside it.
fn set_aside(path: &Path) -> std::io::Result<()> {
    match std::fs::rename(path, path.with_extension("key.old")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Cluster {
    /// Signs an operator's public key here, or has a voter sign it, who has the authority's key.
    ///
    /// # Errors
    /// No voter with the key answers.
    pub(crate) async fn certify(
        &self,
        (name, public_key): (&str, &[u8]),
        proof: Option<&Proof>,
    ) -> Result<Enrolment, ClusterError> {
        let certificate = match self.sign_operator(name, public_key) {
            Some(signed) => signed?,
            None => self.have_operator_signed((name, public_key), proof).await?,
        };
        let parts = self.identity_parts();
        let members = self.log().members().members.into_iter();
        let addresses =
            members.filter(|member| !member.attributes.admin_address.is_empty()).map(|member| {
                AdminAddress { node_id: member.node_id, address: member.attributes.admin_address }
            });
        Ok(Enrolment {
            cluster_id: parts.cluster_id,
            name: name.to_owned(),
            chain: vec![hex::encode(certificate)],
            authorities: parts.authorities.iter().map(hex::encode).collect(),
            authority: self.agreed(&self.log().catalogue()).map(|(_, agreed)| agreed),
            addresses: addresses.collect(),
        })
    }

    /// Signs an operator's key that the catalogue has under the name, for a person who proves to be
    /// allowed to ask at another node.
    ///
    /// # Errors
    /// The person may not ask; the catalogue has another key; this node does not sign.
    pub(crate) fn certify_for(
        &self,
        from: u64,
        name: &str,
        (public_key, proof): (&[u8], &Proof),
    ) -> Result<Vec<u8>, ClusterError> {
        let catalogue = &self.log().catalogue();
        self.gate().certify(Sender { from, proof, catalogue }, name)?;
        let known = operator_key(catalogue, name);
        if known.is_none_or(|known| known.public_key != public_key) {
            return Err(failed(&"the catalogue has no such public key under this name"));
        }
        let signed = self.sign_operator(name, public_key);
        signed.unwrap_or_else(|| Err(failed(&"this node has no key of the authority")))
    }

    /// Signs an operator's key; none where this node has no key of the authority.
    pub(crate) fn sign_operator(
        &self,
        name: &str,
        public_key: &[u8],
    ) -> Option<Result<Vec<u8>, ClusterError>> {
        let authority = self.authority()?;
        let signed = authority.issue_operator(name, public_key, crate::http::now());
        Some(signed.map_err(|error| failed(&error)))
    }

    async fn have_operator_signed(
        &self,
        (name, public_key): (&str, &[u8]),
        proof: Option<&Proof>,
    ) -> Result<Vec<u8>, ClusterError> {
        let (name, public_key) = (name.to_owned(), public_key.to_vec());
        let request = match proof {
            Some(proof) if self.log().needs_proof() => {
                NodeRequest::CertifyProved { name, public_key, proof: proof.into() }
            }
            _ => NodeRequest::CertifyOperator { name, public_key },
        };
        let voters = self.log().members().members.into_iter().filter(|member| member.voter);
        let mut last = failed(&"no voter has the authority's key");
        for voter in voters.filter(|voter| voter.node_id != self.node_id()) {
            match self.ask_for(voter.node_id, &request).await {
                Ok(NodeAnswer::Certificate { der }) => return Ok(der),
                Ok(_) => last = failed(&"a voter answers with something else"),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
