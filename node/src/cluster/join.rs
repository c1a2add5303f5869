//! Joining, at both ends: a token, a public key, an id, a certificate.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use verdict_config::definition::{MemberStanding, Standing};
use verdict_config::model::sha256_hex;
use verdict_config::{Code, ObjectKind};
use verdict_consensus::authority::node_author;
use verdict_consensus::peers::{
    Admitted, Authority, JoinAnswer, JoinRequest, JoiningTls, KeptIdentity, NodeKey, PeerClients,
    node_of_certificate,
};
use verdict_consensus::{
    Author, Catalogue, Change, ChangeSet, Log, LogError, MemberAnswer, MemberCommand,
    NodeAttributes, PeerError, TRUST_VERSION,
};

use super::given::Given;
use super::standing;
use super::token::{JoinToken, KeptToken, object_name};
use super::{Cluster, ClusterError};

/// How long one member may take to let a node in.
const JOIN_WITHIN: Duration = Duration::from_secs(20);
/// Rounds over the members of a token before joining is given up.
const ROUNDS_MAX: u32 = 30;
/// Between two rounds.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

impl Cluster {
    /// Lets a node in that has a token.
    pub(crate) async fn admit(
        &self,
        request: JoinRequest,
        certificate: Option<Vec<u8>>,
        tasks: &TaskTracker,
    ) -> JoinAnswer {
        match self.admitted(request, certificate, tasks).await {
            Ok(admitted) if self.log().command_version() < TRUST_VERSION => {
                JoinAnswer::Admitted(admitted)
            }
            Ok(admitted) => JoinAnswer::AdmittedBy { admitted, voters: self.voters() },
            Err(error) => {
                tracing::warn!(code = %error.code, %error, "a node was not let in");
                JoinAnswer::Refused { detail: error.detail, retryable: error.retryable }
            }
        }
    }

    /// The voters, with the addresses where they listen for peers.
    fn voters(&self) -> Vec<(u64, String)> {
        let members = self.log().members().members.into_iter();
        let voters = members.filter(|member| member.voter);
        voters.map(|member| (member.node_id, member.attributes.peer_address)).collect()
    }

    async fn admitted(
        &self,
        request: JoinRequest,
        certificate: Option<Vec<u8>>,
        tasks: &TaskTracker,
    ) -> Result<Admitted, ClusterError> {
        let wanted = self.shown(certificate)?;
        let does_not_sign = || ClusterError {
            code: Code::MembershipRefused,
            detail: "this node does not sign: ask a voter".to_owned(),
            retryable: true,
        };
        self.authority().ok_or_else(does_not_sign)?;
        if !request.attributes.fits() {
            return Err(ClusterError::refused("an attribute is too long"));
        }
        let catalogue = self.log().linearizable().await?;
        // The newcomer is to trust what the cluster trusts now, and be signed by whoever signs now.
        if let Some((_, agreed)) = self.agreed(&catalogue) {
            self.take_in(&agreed)?;
        }
        let (authority, authorities) = {
            let identity = self.inner.identity.lock();
            (identity.authority(), identity.authorities.clone())
        };
        let authority = authority.ok_or_else(does_not_sign)?;
        let (node_id, promoted) = self.use_token(&catalogue, &request, wanted).await?;
        let now = crate::http::now();
        let certificate = authority
            .issue(node_id, &request.public_key, now)
            .map_err(|error| ClusterError::refused(error.to_string()))?;
        self.add(node_id, request.attributes).await?;
        // Who takes another's place does so by the leader's hand: see `policy`.
        if promoted {
            tasks.spawn(self.clone().promote_when_ready(node_id));
        }
        tracing::info!(node_id, "a node was let in");
        Ok(Admitted { node_id, chain: vec![certificate], authorities })
    }

    /// The node that a newcomer's certificate is for, where the operator gives certificates.
    fn shown(&self, certificate: Option<Vec<u8>>) -> Result<Option<u64>, ClusterError> {
        if !self.is_given() {
            return Ok(None);
        }
        let node_id = certificate.and_then(|der| node_of_certificate(&der, &self.cluster_id()));
        let absent = || ClusterError {
            code: Code::CertificateInvalid,
            detail: "nodes of this cluster have certificates that the operator gives: set \
                     cluster.tls_certificate, tls_key and tls_authorities"
                .to_owned(),
            retryable: false,
        };
        node_id.map(Some).ok_or_else(absent)
    }

    /// Checks a token and uses it up. Gives the node's id, and whether it becomes a
    /// voter beside the others.
    async fn use_token(
        &self,
        catalogue: &Catalogue,
        request: &JoinRequest,
        wanted: Option<u64>,
    ) -> Result<(u64, bool), ClusterError> {
        let name = object_name(&request.token_id);
        let invalid = || ClusterError::refused("the token is not valid here");
        let object = catalogue
            .of_kind(ObjectKind::Member)
            .find(|object| object.id.name.as_str() == name)
            .ok_or_else(invalid)?;
        let mut kept: KeptToken = serde_json::from_slice(&object.body).map_err(|_| invalid())?;
        let known = kept
            .admits(&request.secret, &request.public_key, crate::http::now())
            .map_err(ClusterError::refused)?;
        if let Some(node_id) = known {
            return Ok((node_id, kept.voter && kept.replaces.is_none()));
        }
        let command = MemberCommand::Allocate { request_id: request.token_id.clone() };
        let MemberAnswer::Allocated(node_id) = self.change_members(command).await? else {
            return Err(ClusterError::refused("no id was given"));
        };
        if let Some(wanted) = wanted
            && wanted != node_id
        {
            let detail =
                format!("the token is for node {node_id}, the certificate for node {wanted}");
            return Err(ClusterError::refused(detail));
        }
        kept.used_by = Some((node_id, sha256_hex(&request.public_key)));
        let body = serde_json::to_string(&kept).unwrap_or_default();
        let mut change = Change::put(ObjectKind::Member, name.as_str(), body);
        // Of two nodes with one token, one comes first.
        change.expected_revision = Some(object.revision);
        let id = format!("join-{}-{}", request.token_id, &sha256_hex(&request.public_key)[..16]);
        let learner = MemberStanding::new(self.cluster_id(), node_id, Standing::Learner);
        let changes = vec![change, standing::put(catalogue, &learner)];
        let set = ChangeSet::new(id, format!("node {node_id} joins"), changes);
        self.log().propose(set, Author::named(node_author(self.node_id()))).await?;
        Ok((node_id, kept.voter && kept.replaces.is_none()))
    }

    async fn add(&self, node_id: u64, attributes: NodeAttributes) -> Result<(), ClusterError> {
        let known = self.log().members().get(node_id).is_some();
        let command = if known {
            MemberCommand::SetAttributes { node_id, attributes }
        } else {
            MemberCommand::AddLearner { node_id, attributes }
        };
        self.change_members(command).await?;
        Ok(())
    }

    /// Keeps the authority's private key: this node is about to become a voter.
    pub(crate) fn keep_authority(&self, key_pem: String) -> Result<(), ClusterError> {
        let known = self.inner.identity.lock().authorities.clone();
        let own = Authority::of_key(&self.cluster_id(), &known, &key_pem);
        let own = own.ok_or_else(|| ClusterError {
            code: Code::MembershipRefused,
            detail: "the key is of no authority that this node trusts yet".to_owned(),
            retryable: true,
        })?;
        if self.authority_key(own.certificate()).is_some() {
            return Ok(());
        }
        self.keep_spare(own.certificate().to_vec(), key_pem)
    }
}

/// Joins a cluster by a token, with its members at `routes` where those name them; what it is told is
/// kept in `folder`. The node's key is made and kept
/// first, so that a try that was cut off is the same node when it tries again.
///
/// # Errors
/// A token that is none or is refused; no member that answers; the disk.
pub(crate) async fn join(
    folder: &Path,
    text: &str,
    (attributes, routes): (&NodeAttributes, &BTreeMap<u64, String>),
    given: Option<&Given>,
) -> Result<KeptIdentity, ClusterError> {
    let disk = |error: LogError| ClusterError {
        code: error.code(),
        detail: error.to_string(),
        retryable: false,
    };
    let no_token = || ClusterError::refused("cluster.join is no token: copy it whole");
    let token = JoinToken::parse(text).ok_or_else(no_token)?;
    let authorities = token.authorities_der().ok_or_else(no_token)?;
    let tls = match given {
        None => JoiningTls::trusting(&authorities).map_err(|_| no_token())?,
        Some(given) if given.cluster_id == token.cluster_id => given.identity.joining(),
        Some(given) => {
            let needed = format!("cluster {}, which the token is for", token.cluster_id);
            return Err(given.of_another(&needed));
        }
    };
    let kept = match KeptIdentity::load(folder).map_err(disk)? {
        Some(kept) => kept,
        None => {
            let key =
                NodeKey::generate().map_err(|error| ClusterError::refused(error.to_string()))?;
            let kept = KeptIdentity::joining(&key);
            kept.save(folder).map_err(disk)?;
            kept
        }
    };
    let key = NodeKey::from_pem(&kept.key_pem)
        .map_err(|error| ClusterError::refused(error.to_string()))?;
    let request = JoinRequest {
        token_id: token.id.clone(),
        secret: token.secret.clone(),
        public_key: key.public(),
        attributes: attributes.clone(),
    };
    let (admitted, voters) = ask_members(&token, (&tls, routes), &request).await?;
    // Before the identity: with it, the node would not ask again.
    keep_voters(folder, &voters).map_err(disk)?;
    let kept = KeptIdentity {
        cluster_id: token.cluster_id,
        node_id: admitted.node_id,
        chain: admitted.chain,
        authorities: admitted.authorities,
        ..kept
    };
    kept.save(folder).map_err(disk)?;
    Ok(kept)
}

/// The file, beside the identity, of the voters that let a node in.
const VOTERS_FILE: &str = "voters.json";

fn keep_voters(folder: &Path, voters: &BTreeMap<u64, String>) -> Result<(), LogError> {
    let file = folder.join(VOTERS_FILE);
    let failed = |source| LogError::Io { file: file.display().to_string(), source };
    let text = serde_json::to_vec(voters).map_err(|error| failed(std::io::Error::other(error)))?;
    std::fs::write(&file, text).map_err(failed)
}

/// The voters that let a node in; none where its cluster's version did not ask for it.
pub(super) fn kept_voters(folder: &Path) -> BTreeMap<u64, String> {
    let text = std::fs::read(folder.join(VOTERS_FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Whether a connection failed because one end does not trust who signed the other's certificate.
fn is_distrust(error: &PeerError) -> bool {
    let text = error.to_string();
    ["invalid peer certificate", "fatal alert: UnknownCA"].iter().any(|part| text.contains(part))
}

async fn ask_members(
    token: &JoinToken,
    (tls, routes): (&JoiningTls, &BTreeMap<u64, String>),
    request: &JoinRequest,
) -> Result<(Admitted, BTreeMap<u64, String>), ClusterError> {
    let bytes = request.encode().map_err(|error| ClusterError::refused(error.to_string()))?;
    let mut last = ClusterError::refused("the token names no member");
    for round in 0..ROUNDS_MAX {
        if round > 0 {
            tokio::time::sleep(ROUND_PAUSE).await;
        }
        let mut distrusted = 0;
        for (member, advertised) in &token.members {
            let address = routes.get(member).unwrap_or(advertised);
            let asked = (token.cluster_id.as_str(), *member);
            let asked = PeerClients::ask_to_join(address, asked, tls, bytes.clone(), JOIN_WITHIN);
            match asked.await.map(|answer| JoinAnswer::decode(&answer)) {
                Ok(Ok(JoinAnswer::Admitted(admitted))) => return Ok((admitted, BTreeMap::new())),
                Ok(Ok(JoinAnswer::AdmittedBy { admitted, voters })) => {
                    return Ok((admitted, voters.into_iter().collect()));
                }
                Ok(Ok(JoinAnswer::Refused { detail, retryable: false })) => {
                    return Err(ClusterError::refused(detail));
                }
                Ok(Ok(JoinAnswer::Refused { detail, .. })) => last = ClusterError::refused(detail),
                Ok(Err(error)) => last = ClusterError::refused(error.to_string()),
                Err(error) => {
                    distrusted += usize::from(is_distrust(&error));
                    last = error.into();
                }
            }
            tracing::warn!(address, error = %last, "the cluster did not let this node in yet");
        }
        if distrusted == token.members.len() && distrusted > 0 {
            // Asking again changes no certificate.
            let code = Code::CertificateInvalid;
            let detail = format!(
                "no member and this node trust each other's authority ({last}): a token of before a \
                 change of the authority is of no use, and certificates that were given have to lead \
                 to the same authorities on every node"
            );
            return Err(ClusterError { code, detail, retryable: false });
        }
    }
    Err(last)
}
