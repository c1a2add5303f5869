//! Orders of persons to nodes other than the leader: proved once to a voter, which signs them.
//!
//! ```text
//!  person ─proof─> node ── a voter: signs ──────────────┐
//!                   └─ a learner: SignOrder ─> a voter ──┴─> sealed order ─> any node: CarryOut
//! ```
//!
//! An outbox keeps the signed order, never the API key or the signed request. A voter that keeps an
//! order for a node that is away signs it again when it delivers it, so that an order outlives the
//! voter and the certificate authority that signed it first.

use verdict_admin::{NodeSigner, Trust};
use verdict_config::Code;
use verdict_consensus::peers::{NodeAnswer, NodeRequest, Order};
use verdict_consensus::{Denied, Log, Proof};

use super::proof::Sender;
use super::{Cluster, ClusterError};

/// How long an order to read is good, in milliseconds.
pub(crate) const READ_WITHIN_MS: i64 = 60_000;

fn unusable(error: impl std::fmt::Display) -> ClusterError {
    ClusterError { code: Code::ProofInvalid, detail: error.to_string(), retryable: false }
}

impl From<Denied> for ClusterError {
    fn from(denied: Denied) -> Self {
        Self { code: denied.code, detail: denied.detail, retryable: false }
    }
}

/// A refusal as another node sent it.
pub(super) fn denied_by(code: &str, detail: String) -> ClusterError {
    let code = Code::from_text(code).unwrap_or(Code::Forbidden);
    ClusterError { code, detail, retryable: false }
}

/// A refusal as it is sent.
pub(super) fn denial(denied: Denied) -> NodeAnswer {
    NodeAnswer::Denied { code: denied.code.as_str().to_owned(), detail: denied.detail }
}

/// The failure of an order as it is sent.
pub(super) fn denial_of(error: ClusterError) -> NodeAnswer {
    NodeAnswer::Denied { code: error.code.as_str().to_owned(), detail: error.detail }
}

impl Cluster {
    /// Gets an order signed for a person, here or at a voter.
    ///
    /// # Errors
    /// The person may not give it; no voter answers.
    pub(crate) async fn have_signed(
        &self,
        order: Order,
        proof: Option<&Proof>,
    ) -> Result<Vec<u8>, ClusterError> {
        if self.is_voter() {
            // The gateway has checked the person.
            return self.sign_order(&order);
        }
        let absent = || {
            let detail = "a learner needs a person's proof for this: send an API key";
            ClusterError::from(Denied::new(Code::ProofMissing, detail))
        };
        let proof = proof.ok_or_else(absent)?.into();
        let request = NodeRequest::SignOrder { order, proof };
        let mut last = ClusterError::from(verdict_consensus::ReadError::NoLeader);
        for voter in self.voters_to_ask() {
            match self.ask_for(voter, &request).await {
                Ok(NodeAnswer::Order { sealed }) => return Ok(sealed),
                Ok(_) => last = ClusterError::refused("a voter sends a response of another kind"),
                // Another voter would say the same, unless its catalogue is newer.
                Err(error) if !error.retryable => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The other voters, the leader first.
    fn voters_to_ask(&self) -> Vec<u64> {
        let (leader, own) = (self.log().leader(), self.node_id());
        let members = self.log().members().members.into_iter();
        let mut voters: Vec<u64> = members
            .filter(|member| member.voter && member.node_id != own)
            .map(|member| member.node_id)
            .collect();
        voters.sort_by_key(|node_id| (Some(*node_id) != leader, *node_id));
        voters
    }

    /// Signs an order as this node.
    ///
    /// # Errors
    /// This node's key cannot be used.
    pub(crate) fn sign_order(&self, order: &Order) -> Result<Vec<u8>, ClusterError> {
        let parts = self.identity_parts();
        let chain = [parts.previous_chain, parts.chain].concat();
        let signer = NodeSigner::new(&parts.key_pkcs8, chain).map_err(unusable)?;
        let body = order.encode().map_err(unusable)?;
        signer.state(&parts.cluster_id, self.node_id(), body).map_err(unusable)
    }

    /// Checks the proof of a person that another node passes on, and signs the order.
    ///
    /// # Errors
    /// This node does not vote; the person may not give the order.
    pub(crate) fn sign_for(
        &self,
        from: u64,
        order: &Order,
        proof: &Proof,
    ) -> Result<Vec<u8>, ClusterError> {
        if !self.is_voter() {
            return Err(ClusterError::refused("only voters sign orders"));
        }
        let catalogue = &self.log().catalogue();
        self.gate().order(Sender { from, proof, catalogue }, order)?;
        self.sign_order(order)
    }

    /// Reads an order that a voter signed.
    ///
    /// # Errors
    /// It is signed by no voter, has expired, or is for a node other than `from`.
    pub(crate) fn read_order(&self, from: u64, sealed: &[u8]) -> Result<Order, Denied> {
        let parts = self.identity_parts();
        let now = crate::http::now();
        let trust = Trust { cluster_id: &parts.cluster_id, authorities: &parts.authorities, now };
        let statement = trust.read_statement(sealed);
        let statement = statement.map_err(|fault| Denied::new(Code::ProofInvalid, fault.detail))?;
        let members = self.log().members();
        if !members.get(statement.node_id).is_some_and(|member| member.voter) {
            let detail =
                format!("node {}, which signed the order, does not vote", statement.node_id);
            return Err(Denied::new(Code::ProofInvalid, detail));
        }
        let order = Order::decode(&statement.body)
            .map_err(|error| Denied::new(Code::ProofInvalid, error.to_string()))?;
        if let Order::ReadDecision { reader, expires_ms, .. } = &order
            && (*reader != from || now.0 >= *expires_ms)
        {
            let detail = "the order to read has expired, or is for another node";
            return Err(Denied::new(Code::ProofInvalid, detail));
        }
        Ok(order)
    }
}
