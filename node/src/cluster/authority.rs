//! Following what the cluster agreed of its authorities: whom this node trusts, what it proves itself
//! with, and, if it votes, the private keys that it keeps.
//!
//! ```text
//!  catalogue (member/authority) ─> trust, on disk ─> certificate of the one that signs ─> keys (voters)
//!                                       └─> connections to nodes and operators take the new ones
//! ```
//!
//! Only what the leader confirms is followed, never an older state that this node replays: it might
//! distrust those that it needs to catch up.

use std::time::Duration;

use verdict_config::definition::{AUTHORITY_NAME, ClusterAuthority};
use verdict_config::model::sha256_hex;
use verdict_config::{Code, ObjectId, ObjectKind, ObjectName};
use verdict_consensus::peers::{
    Authority, AuthorityState, KeptIdentity, NodeAnswer, NodeRequest, Secret, SpareAuthority,
    is_signed_by,
};
use verdict_consensus::{Catalogue, Log};

use super::{Cluster, ClusterError};

/// Between two looks where nothing was changed.
const PERIOD: Duration = Duration::from_secs(1);

/// What was followed to its end: the object's revision, and whether as a voter.
type Followed = Option<(u64, bool)>;

fn refused(detail: impl Into<String>) -> ClusterError {
    ClusterError { code: Code::AuthorityRefused, detail: detail.into(), retryable: true }
}

/// Follows the cluster's authorities for as long as this node is a member.
pub(crate) async fn follow(cluster: Cluster) {
    let mut changes = cluster.log().watch();
    let mut followed = Followed::None;
    loop {
        if let Err(error) = cluster.follow_authority(&mut followed).await {
            tracing::debug!(code = %error.code, %error, "the authority is not followed yet");
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

impl Cluster {
    /// What a catalogue says of this cluster's authorities, and at which revision it was said. None
    /// where they never changed; what was said of another cluster, before a restore, is nothing.
    pub(crate) fn agreed(&self, catalogue: &Catalogue) -> Option<(u64, ClusterAuthority)> {
        let (revision, agreed) = authority_object(catalogue)?;
        (agreed.cluster_id == self.cluster_id()).then_some((revision, agreed))
    }

    pub(super) fn is_voter(&self) -> bool {
        self.log().members().get(self.node_id()).is_some_and(|member| member.voter)
    }

    async fn follow_authority(&self, followed: &mut Followed) -> Result<(), ClusterError> {
        let Some((revision, _)) = self.agreed(&self.log().catalogue()) else { return Ok(()) };
        let voter = self.is_voter();
        if *followed == Some((revision, voter)) {
            return Ok(());
        }
        let catalogue = self.log().linearizable().await?;
        let Some((revision, agreed)) = self.agreed(&catalogue) else { return Ok(()) };
        self.take_in(&agreed)?;
        self.renew_certificate(&agreed).await?;
        if voter {
            self.fetch_keys(&agreed).await?;
        }
        *followed = Some((revision, voter));
        tracing::info!(revision, issues = agreed.issues, "the cluster's authority is followed");
        Ok(())
    }

    /// Trusts what was agreed, from now on and after a restart.
    pub(super) fn take_in(&self, agreed: &ClusterAuthority) -> Result<(), ClusterError> {
        let wanted = agreed.certificates();
        self.change_identity(|kept| {
            (kept.authorities != wanted).then(|| kept.trusting(&wanted, crate::http::now()))
        })
    }

    /// Replaces what this node is, first on the disk and then for its connections.
    pub(super) fn change_identity(
        &self,
        change: impl FnOnce(&KeptIdentity) -> Option<KeptIdentity>,
    ) -> Result<(), ClusterError> {
        let unusable = |error: verdict_consensus::LogError| ClusterError {
            code: error.code(),
            detail: error.to_string(),
            retryable: true,
        };
        let mut identity = self.inner.identity.lock();
        let Some(next) = change(&identity) else { return Ok(()) };
        let shown = next.peer_identity(&self.inner.folder).map_err(unusable)?;
        next.save(&self.inner.folder).map_err(unusable)?;
        *identity = next;
        // What the operator gives stays.
        if !self.is_given() {
            self.inner.tls.replace(shown);
        }
        self.inner.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Gets a certificate of the authority that signs, unless this node has one.
    async fn renew_certificate(&self, agreed: &ClusterAuthority) -> Result<(), ClusterError> {
        let signs: Vec<Vec<u8>> = agreed.certificates().into_iter().take(1).collect();
        let now = crate::http::now();
        let parts = self.identity_parts();
        if is_signed_by(&parts.chain, &signs, now) {
            return Ok(());
        }
        let public_key = self.public_key()?;
        let der = match self.sign_node(self.node_id(), &public_key) {
            Some(signed) => signed?,
            None => {
                let request = NodeRequest::CertifyNode { public_key };
                let certificate = |answer| match answer {
                    NodeAnswer::Certificate { der } => Some(der),
                    _ => None,
                };
                self.ask_voters(&request, certificate).await?
            }
        };
        let chain = vec![der];
        if !is_signed_by(&chain, &signs, now) {
            return Err(refused("the certificate is of another authority: it is asked for again"));
        }
        self.change_identity(|kept| Some(kept.certified(chain, now)))?;
        tracing::info!(authority = agreed.issues, "this node has a certificate of this authority");
        Ok(())
    }

    /// Signs a node's key; none where this node has no key of the authority.
    pub(crate) fn sign_node(
        &self,
        node_id: u64,
        public_key: &[u8],
    ) -> Option<Result<Vec<u8>, ClusterError>> {
        let signed = self.authority()?.issue(node_id, public_key, crate::http::now());
        Some(signed.map_err(|error| refused(error.to_string())))
    }

    /// Gets the private keys that a voter is to have and this one has not.
    async fn fetch_keys(&self, agreed: &ClusterAuthority) -> Result<(), ClusterError> {
        for certificate in agreed.certificates() {
            if self.inner.identity.lock().authority_key(&certificate).is_some() {
                continue;
            }
            let request = NodeRequest::AuthorityKey { certificate: certificate.clone() };
            let key = |answer| match answer {
                NodeAnswer::AuthorityKey(Secret(key_pem)) => Some(key_pem),
                _ => None,
            };
            let key_pem = self.ask_voters(&request, key).await?;
            self.keep_spare(certificate, key_pem)?;
        }
        Ok(())
    }

    /// Keeps the private key of an authority, if it is that.
    pub(crate) fn keep_spare(
        &self,
        certificate: Vec<u8>,
        key_pem: String,
    ) -> Result<(), ClusterError> {
        let own = std::slice::from_ref(&certificate);
        if Authority::of_key(&self.cluster_id(), own, &key_pem).is_none() {
            return Err(refused("the key is not of this authority"));
        }
        self.change_identity(|kept| {
            let pending = !kept.authorities.contains(&certificate);
            Some(kept.with_spare(SpareAuthority { certificate, key_pem, pending }))
        })
    }

    /// The private key of an authority that is trusted, for another voter.
    pub(crate) fn authority_key(&self, certificate: &[u8]) -> Option<String> {
        let identity = self.inner.identity.lock();
        let trusted = identity.authorities.iter().any(|known| known == certificate);
        let key = identity.authority_key(certificate).filter(|_| trusted);
        key.map(str::to_owned)
    }

    /// How far this node is, as its disk says.
    pub(crate) fn authority_state(&self) -> AuthorityState {
        let (now, identity) = (crate::http::now(), self.inner.identity.lock());
        let digests = |list: Vec<&Vec<u8>>| list.into_iter().map(|der| sha256_hex(der)).collect();
        let signed =
            |der: &&Vec<u8>| is_signed_by(&identity.chain, std::slice::from_ref(*der), now);
        let has_key = |der: &&Vec<u8>| identity.authority_key(der).is_some();
        let signer = identity.authorities.iter().find(signed);
        AuthorityState {
            trusts: digests(identity.authorities.iter().collect()),
            certified_by: signer.map(|der| sha256_hex(der)).unwrap_or_default(),
            keys: digests(identity.authorities.iter().filter(has_key).collect()),
        }
    }

    /// Asks the other voters one after another, until one answers with what is wanted.
    async fn ask_voters<T>(
        &self,
        request: &NodeRequest,
        wanted: impl Fn(NodeAnswer) -> Option<T>,
    ) -> Result<T, ClusterError> {
        let voters = self.log().members().members.into_iter().filter(|member| member.voter);
        let mut last = refused("there is no other voter");
        for voter in voters.filter(|voter| voter.node_id != self.node_id()) {
            match self.ask_for(voter.node_id, request).await.map(&wanted) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => last = refused("a voter answers with something else"),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The object that says which authorities a cluster has, and the revision of its last change.
pub(super) fn authority_object(catalogue: &Catalogue) -> Option<(u64, ClusterAuthority)> {
    let kind = ObjectKind::Member;
    let name = ObjectName::new(kind, AUTHORITY_NAME).ok()?;
    let object = catalogue.get(&ObjectId { kind, name })?;
    Some((object.revision, serde_json::from_slice(&object.body).ok()?))
}
