//! Changes of the members: tokens, promotion, removal, leaving.

use std::time::Duration;

use verdict_config::model::sha256_hex;
use verdict_config::{Code, ObjectKind, TimestampMs};
use verdict_consensus::peers::{NodeAnswer, NodeRequest, name_of_node};
use verdict_consensus::{
    Author, Change, ChangeSet, ClusterStatus, Log, Member, MemberAnswer, MemberCommand,
    MembershipError, PeerChannel, PeerError, PeerTransport, Proof,
};

use super::orders::denied_by;
use super::standing::{Asked, asked_by_token};
use super::token::{JoinToken, KeptToken, object_name};
use super::{ASK_WITHIN, Cluster, ClusterError};

/// How long a learner may take to catch up before its promotion is given up.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(600);
/// How long a token for a replacement is good.
const REPLACEMENT_VALID: Duration = Duration::from_secs(86_400);
/// How long a member may take to let go of the lead and leave.
const DRAIN_WITHIN: Duration = Duration::from_secs(8);
/// Between two looks at whether it has.
const CATCH_UP_PERIOD: Duration = Duration::from_millis(200);

/// How often another member is asked the same where connections break.
const ASK_TRIES: u32 = 3;

/// What a token allows.
#[derive(Debug, Clone, Copy)]
pub struct TokenOptions {
    /// How long it is good.
    pub valid: Duration,
    /// Whether the node becomes a voter.
    pub voter: bool,
    /// The member whose place it takes.
    pub replaces: Option<u64>,
}

/// A token that was made.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The token: a secret.
    pub token: String,
    /// The id that the node gets, and the name that its certificate is to be for, where the operator
    /// gives certificates; else the id is given when it joins.
    pub for_node: Option<(u64, String)>,
}

/// Who a node that leads asks to take the lead over when it ends: the voter that is furthest.
pub(crate) fn next_leader(status: &ClusterStatus) -> Option<u64> {
    let others = status
        .peers
        .iter()
        .filter(|peer| peer.member.voter && peer.member.node_id != status.node_id);
    let next = others.max_by_key(|peer| peer.matched_index);
    next.filter(|_| status.leader == Some(status.node_id)).map(|next| next.member.node_id)
}

/// A newcomer that has next to nothing of the log knows nobody yet.
fn not_yet(node_id: u64, error: ClusterError) -> ClusterError {
    if error.code != Code::MembershipRefused {
        return error;
    }
    let detail = format!(
        "node {node_id} cannot take the authority's key yet ({}): try again once it has caught up",
        error.detail
    );
    ClusterError { detail, retryable: true, ..error }
}

impl Cluster {
    /// Makes a token that lets one node join.
    ///
    /// # Errors
    /// No leader, or the log's.
    pub(crate) async fn issue_token(
        &self,
        options: TokenOptions,
        asked: &Asked,
    ) -> Result<IssuedToken, ClusterError> {
        let secret = hex::encode(rand::random::<[u8; 24]>());
        let id = ulid::Ulid::generate().to_string().to_lowercase();
        let now = crate::http::now();
        let valid = i64::try_from(options.valid.as_millis()).unwrap_or(i64::MAX);
        let kept = KeptToken {
            secret_sha256: sha256_hex(secret.as_bytes()),
            expires: TimestampMs(now.0.saturating_add(valid)),
            voter: options.voter,
            used_by: None,
            replaces: options.replaces,
        };
        let body = serde_json::to_string(&kept).unwrap_or_default();
        let change = Change::put(ObjectKind::Member, object_name(&id), body);
        let request_id = asked.request_id.clone().unwrap_or_else(|| format!("token-{id}"));
        let set = ChangeSet::new(request_id, asked.why.clone(), vec![change]);
        self.log().propose(set, asked.author.clone()).await?;
        let for_node =
            if self.is_given() { Some(self.reserve(&id, &asked.author).await?) } else { None };
        let identity = self.inner.identity.lock();
        let mut authorities =
            identity.authorities.iter().map(|der| JoinToken::encode_authority(der));
        let authority = authorities.next().unwrap_or_default();
        let members = self.log().members().members.into_iter();
        let token = JoinToken {
            cluster_id: identity.cluster_id.clone(),
            members: members
                .filter(|member| member.voter)
                .map(|member| (member.node_id, member.attributes.peer_address))
                .collect(),
            authority,
            others: authorities.collect(),
            id,
            secret,
        };
        Ok(IssuedToken { token: token.to_text(), for_node })
    }

    /// The id that a token's node will be given: its certificate has to name it before it joins.
    async fn reserve(
        &self,
        token_id: &str,
        author: &Author,
    ) -> Result<(u64, String), ClusterError> {
        let command = MemberCommand::Allocate { request_id: token_id.to_owned() };
        let allocating = self.log().change_members_for(command, author.proof.clone());
        let MemberAnswer::Allocated(node_id) = allocating.await? else {
            return Err(ClusterError::refused("no id was given"));
        };
        Ok((node_id, name_of_node(&self.cluster_id(), node_id)))
    }

    /// Makes a token for a node that takes the place of a member: it follows as a learner, and once
    /// it has caught up, the one change makes it a voter and removes the other for ever.
    ///
    /// # Errors
    /// There is no such member; no leader.
    pub(crate) async fn replace(
        &self,
        node_id: u64,
        asked: &Asked,
    ) -> Result<IssuedToken, ClusterError> {
        let (valid, voter) = (REPLACEMENT_VALID, self.member(node_id)?.voter);
        self.issue_token(TokenOptions { valid, voter, replaces: Some(node_id) }, asked).await
    }

    /// A member.
    ///
    /// # Errors
    /// There is none of this id.
    pub(crate) fn member(&self, node_id: u64) -> Result<Member, ClusterError> {
        let absent = || ClusterError::refused(format!("node {node_id} is no member"));
        self.log().members().get(node_id).cloned().ok_or_else(absent)
    }

    /// Lets a member go for ever: one that leads hands its office over first.
    ///
    /// # Errors
    /// As [`Self::remove`]; nobody takes the lead.
    pub(crate) async fn drain(&self, node_id: u64, asked: &Asked) -> Result<(), ClusterError> {
        self.member(node_id)?;
        let draining = async {
            loop {
                if self.log().leader() == Some(node_id) {
                    self.hand_over(node_id).await?;
                } else {
                    match self.remove(node_id, asked).await {
                        Err(error) if error.retryable => {}
                        done => return done,
                    }
                }
                tokio::time::sleep(CATCH_UP_PERIOD).await;
            }
        };
        let late = || ClusterError {
            code: Code::NoLeader,
            detail: "no other voter took the lead in time".to_owned(),
            retryable: true,
        };
        tokio::time::timeout(DRAIN_WITHIN, draining).await.unwrap_or_else(|_| Err(late()))
    }

    /// Asks a voter other than one to stand for election.
    async fn hand_over(&self, from: u64) -> Result<(), ClusterError> {
        let others = self.heirs(from);
        if others.is_empty() {
            return Err(ClusterError::refused("the last voter cannot go"));
        }
        for node_id in others {
            let stood = if node_id == self.node_id() {
                self.log().elect().await.is_ok()
            } else {
                self.ask(node_id, &NodeRequest::StandForElection).await.is_ok()
            };
            if stood {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The voters that are asked to take the lead over from a node, in this order.
    pub(crate) fn heirs(&self, from: u64) -> Vec<u64> {
        let members = self.log().members().members.into_iter();
        let others = members.filter(|member| member.voter && member.node_id != from);
        others.map(|member| member.node_id).collect()
    }

    /// Makes a learner a voter: it gets the authority's key first, because voters sign.
    ///
    /// # Errors
    /// It is no member, has not caught up, or cannot be reached.
    pub(crate) async fn promote(&self, node_id: u64, asked: &Asked) -> Result<(), ClusterError> {
        self.change_standing(MemberCommand::Promote { node_id }, asked).await
    }

    /// Puts a learner in the place of a voter.
    pub(crate) async fn put_in_place(
        &self,
        (node_id, by): (u64, u64),
        asked: &Asked,
    ) -> Result<(), ClusterError> {
        self.change_standing(MemberCommand::Replace { node_id, by }, asked).await
    }

    pub(super) async fn give_authority(&self, node_id: u64) -> Result<(), ClusterError> {
        let Some(key_pem) = self.key_for(node_id) else { return Ok(()) };
        let given = self.ask(node_id, &NodeRequest::KeepAuthority { key_pem }).await;
        given.map_err(|error| not_yet(node_id, error))
    }

    /// Whether a node would take the authority's key now; nothing is given.
    pub(crate) async fn could_give_authority(&self, node_id: u64) -> Result<(), ClusterError> {
        if self.key_for(node_id).is_none() {
            return Ok(());
        }
        let asked = self.ask_for(node_id, &NodeRequest::AuthorityState).await;
        asked.map(|_| ()).map_err(|error| not_yet(node_id, error))
    }

    /// The key that another node is given before it votes, where this one has it.
    fn key_for(&self, node_id: u64) -> Option<String> {
        let key = self.inner.identity.lock().authority_key_pem.clone();
        key.filter(|_| node_id != self.node_id())
    }

    /// Promotes a learner as soon as it has caught up.
    pub(crate) async fn promote_when_ready(self, node_id: u64) {
        let attempt = || async {
            // Who made the token stands in what was agreed, which this node may not have yet.
            let catalogue = self.log().linearizable().await?;
            let what = format!("node {node_id} votes");
            let asked = asked_by_token(&catalogue, node_id, &what);
            self.promote(node_id, &asked).await
        };
        let trying = async {
            loop {
                match attempt().await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(node_id, %error, "not a voter yet"),
                }
                tokio::time::sleep(CATCH_UP_PERIOD).await;
            }
        };
        if tokio::time::timeout(CATCH_UP_WITHIN, trying).await.is_err() {
            tracing::warn!(node_id, "the node did not catch up: it stays a learner");
        }
    }

    /// Removes a member for ever. Refused where those that remain would have no majority.
    ///
    /// # Errors
    /// As refused; no leader.
    pub(crate) async fn remove(&self, node_id: u64, asked: &Asked) -> Result<(), ClusterError> {
        self.change_standing(MemberCommand::Remove { node_id }, asked).await
    }

    /// Tells the members where this node is found now, if that changed since it was last told.
    pub(crate) async fn tell_addresses(self) {
        loop {
            let members = self.log().members();
            match members.get(self.node_id()) {
                // One that is no member, or not yet, has nobody to tell.
                None => {}
                Some(known) if known.attributes == *self.attributes() => return,
                Some(_) => {
                    let (node_id, attributes) = (self.node_id(), self.attributes().clone());
                    let told =
                        self.change(MemberCommand::SetAttributes { node_id, attributes }, None);
                    if told.await.is_ok() {
                        return;
                    }
                }
            }
            tokio::time::sleep(CATCH_UP_PERIOD).await;
        }
    }

    /// Hands the lead to the voter that is furthest, before this node leaves.
    pub(crate) async fn step_down(&self) {
        let Some(node_id) = self.log().cluster().as_ref().and_then(next_leader) else { return };
        match self.ask(node_id, &NodeRequest::StandForElection).await {
            Ok(()) => tracing::info!(node_id, "another node takes the lead"),
            Err(error) => tracing::debug!(node_id, %error, "nobody takes the lead at once"),
        }
    }

    /// Changes the members, for a person with this proof or as this node's own act.
    pub(super) async fn change(
        &self,
        command: MemberCommand,
        proof: Option<&Proof>,
    ) -> Result<(), ClusterError> {
        let changing = self.log().change_members_for(command, proof.cloned());
        changing.await.map(|_| ()).map_err(ClusterError::from)
    }

    pub(crate) async fn change_members(
        &self,
        command: MemberCommand,
    ) -> Result<MemberAnswer, MembershipError> {
        self.log().change_members(command).await
    }

    /// Asks another member something that has no more to tell than that it is done.
    pub(crate) async fn ask(
        &self,
        node_id: u64,
        request: &NodeRequest,
    ) -> Result<(), ClusterError> {
        match self.ask_for(node_id, request).await? {
            NodeAnswer::Done => Ok(()),
            _ => Err(ClusterError::refused("the answer is of another kind")),
        }
    }

    /// Asks another member something.
    pub(crate) async fn ask_for(
        &self,
        node_id: u64,
        request: &NodeRequest,
    ) -> Result<NodeAnswer, ClusterError> {
        let peer = self
            .peer(node_id)
            .ok_or_else(|| ClusterError::refused(format!("node {node_id} is no member")))?;
        let bytes = request.encode().map_err(|error| ClusterError::refused(error.to_string()))?;
        let until = tokio::time::Instant::now() + ASK_WITHIN;
        let mut tries_left = ASK_TRIES;
        let answer = loop {
            tries_left -= 1;
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let asked = self.clients().call(peer.clone(), PeerChannel::Blob, bytes.clone(), left);
            match asked.await {
                // The connection broke. Whatever nodes ask of each other may be asked again: it reads, or
                // does the same once more.
                Err(PeerError::NoAnswer(_))
                    if tries_left > 0 && tokio::time::Instant::now() < until => {}
                other => break other?,
            }
        };
        match NodeAnswer::decode(&answer) {
            Ok(NodeAnswer::Refused { detail }) => Err(ClusterError::refused(detail)),
            Ok(NodeAnswer::Denied { code, detail }) => Err(denied_by(&code, detail)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(ClusterError::refused(error.to_string())),
        }
    }
}
