//! The check of what other nodes forward: who is behind it, and whether that person may do it.
//!
//! ```text
//!  API key   ─> hash known to this node's settings or the catalogue? ──> role, scope
//!  envelope  ─> signed by a key of the catalogue, in time, for the node ─> role, scope, and the content:
//!               that forwards it?                                          what is asked is what was signed
//!  none      ─> the short list of what a node may do by itself
//! ```
//!
//! An API key cannot be bound to a request: a node that gets one can use it as its owner could.

use std::net::IpAddr;
use std::time::Duration;

use verdict_admin::{ForwardedBy, Request, verify_forwarded};
use verdict_config::Code;
use verdict_config::settings::Role;
use verdict_consensus::authority::{Action, allowed, node_may_change, node_may_change_members};
use verdict_consensus::peers::{DecisionRead, Order};
use verdict_consensus::{
    Author, Catalogue, ChangeSet, Denied, Forwarded, Log, MemberCommand, PROOF_FROM_VERSION, Proof,
    ProofCheck,
};

use super::Cluster;
use crate::admin::operator_key;
use crate::http::keys::{Caller, KeyRing};

mod nonces;
mod signed;

use nonces::BoundNonces;

/// Between two looks at the cluster's version.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The check of one node.
pub(crate) struct ProofGate {
    /// Keys of this node's settings.
    keys: KeyRing,
    cluster_id: String,
    nonces: BoundNonces,
}

/// A person, as the proof says.
struct Person {
    caller: Caller,
    /// The request that the person signed; none with an API key.
    signed: Option<Signed>,
}

/// A request that a person signed.
struct Signed {
    request: Request,
    nonce: [u8; 16],
}

/// The sender of a request that is not for the leader.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    /// The node.
    pub(crate) from: u64,
    /// What the person sent to it.
    pub(crate) proof: &'a Proof,
    /// The catalogue, as this node knows it.
    pub(crate) catalogue: &'a Catalogue,
}

fn invalid(detail: impl Into<String>) -> Denied {
    Denied::new(Code::ProofInvalid, detail)
}

impl ProofGate {
    pub(crate) fn new(keys: KeyRing, cluster_id: String) -> Self {
        Self { keys, cluster_id, nonces: BoundNonces::default() }
    }

    fn person(&self, from: u64, proof: &Proof, catalogue: &Catalogue) -> Result<Person, Denied> {
        let now = crate::http::now();
        match proof {
            Proof::ApiKey(key) => {
                let caller = self.keys.caller_in(key, (catalogue, now));
                let caller = caller.ok_or_else(|| {
                    let detail = format!(
                        "the leader does not know the API key that node {from} took: it is not in the \
                         catalogue, or was revoked"
                    );
                    Denied::new(Code::KeyNotInCatalogue, detail)
                })?;
                Ok(Person { caller, signed: None })
            }
            Proof::Envelope(sealed) => {
                let by = ForwardedBy { cluster_id: &self.cluster_id, node_id: from, now };
                let admitted = verify_forwarded(sealed, by, |name| operator_key(catalogue, name));
                let admitted = admitted.map_err(|fault| Denied::new(fault.code, fault.detail))?;
                let request = serde_json::from_slice(&admitted.envelope.body);
                let request = request.map_err(|error| {
                    Denied::new(Code::EnvelopeInvalid, format!("the signed request: {error}"))
                })?;
                let signed = Signed { request, nonce: admitted.envelope.nonce };
                let caller = Caller::operator(admitted.key, None);
                Ok(Person { caller, signed: Some(signed) })
            }
        }
    }

    /// Checks that a person may give an order, before this node signs it.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn order(&self, sender: Sender<'_>, order: &Order) -> Result<(), Denied> {
        let Person { caller, signed } = self.person(sender.from, sender.proof, sender.catalogue)?;
        match order {
            Order::EraseUnit { .. } => {
                may_operate(&caller)?;
                // There is no admin request for it: nobody signed this.
                signed.map_or(Ok(()), |_| Err(invalid("the signed request erases nothing")))
            }
            Order::ReadDecision { id, read, reader, .. } => {
                let needs = role_to_read(*read);
                require(&caller, needs, "reading a decision")?;
                if *reader != sender.from {
                    return Err(invalid("the order is for another node than the one that asks"));
                }
                match signed {
                    None => Ok(()),
                    Some(Signed { request: Request::Explain { id: signed }, .. })
                        if signed == *id =>
                    {
                        Ok(())
                    }
                    Some(_) => Err(invalid("the signed request does not read this decision")),
                }
            }
        }
    }

    /// Checks that a person may have an operator's key signed.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn certify(&self, sender: Sender<'_>, name: &str) -> Result<(), Denied> {
        let Person { caller, signed } = self.person(sender.from, sender.proof, sender.catalogue)?;
        match signed {
            // Whoever signed may have the own certificate renewed.
            Some(Signed { request: Request::Renew {}, .. }) if caller.name == name => Ok(()),
            Some(Signed { request: Request::Certify { name: signed }, .. }) if signed == name => {
                may_operate(&caller)
            }
            Some(_) => Err(invalid("the signed request asks for no certificate of this key")),
            None => may_operate(&caller),
        }
    }
}

/// Logs by which rules nodes believe each other, until every request needs proof.
pub(crate) async fn report_rules(cluster: Cluster) {
    if cluster.log().needs_proof() {
        return;
    }
    let version = cluster.log().command_version();
    tracing::warn!(
        version,
        needed = PROOF_FROM_VERSION,
        "a member's program is older: until the cluster's version rises, nodes believe what other \
         nodes say of a caller"
    );
    while !cluster.log().needs_proof() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    tracing::info!("from now on every forwarded request needs a person's proof");
}

/// The role that reading a decision needs.
pub(crate) const fn role_to_read(read: DecisionRead) -> Role {
    match read {
        DecisionRead::Explain { sees_sensitive: true } => Role::Operator,
        DecisionRead::Explain { sees_sensitive: false } | DecisionRead::Replay { .. } => {
            Role::Viewer
        }
    }
}

fn require(caller: &Caller, needs: Role, what: &str) -> Result<(), Denied> {
    if caller.role >= needs {
        return Ok(());
    }
    let Caller { name, role, .. } = caller;
    let detail = format!("{what} needs the role {needs}; the key {name} has the role {role}");
    Err(Denied::new(Code::Forbidden, detail))
}

/// What concerns the whole cluster needs an operator without limits.
fn may_operate(caller: &Caller) -> Result<(), Denied> {
    require(caller, Role::Operator, "this")?;
    caller.require_whole_scope().map_err(|problem| Denied::new(problem.code(), problem.detail()))
}

impl ProofCheck for ProofGate {
    fn change(&self, forwarded: &Forwarded<'_>, set: &ChangeSet) -> Result<Author, Denied> {
        let Some(proof) = forwarded.proof else { return node_may_change(forwarded, set) };
        let Forwarded { from, catalogue, .. } = *forwarded;
        let Person { caller, signed } = self.person(from, proof, catalogue)?;
        let action =
            if set.restores.is_some() { Action::Rollback(set) } else { Action::Change(set) };
        allowed(caller.role, action).map_err(|denied| {
            let detail = format!("{denied}; the key {} has the role {}", caller.name, caller.role);
            Denied::new(Code::Forbidden, detail)
        })?;
        caller
            .covers(set, catalogue)
            .map_err(|problem| Denied::new(problem.code(), problem.detail()))?;
        if let Some(signed) = &signed {
            signed.covers_change(forwarded, set)?;
            if !signed.says_all() {
                // What the node fills in is bound at its first use, so that there is no second.
                self.nonces.bind(&caller.name, signed.nonce, set.digest())?;
            }
        }
        let address = forwarded.claimed.address.clone();
        let address = address.filter(|address| address.parse::<IpAddr>().is_ok());
        Ok(Author { address, ..Author::named(caller.name) })
    }

    fn member(&self, forwarded: &Forwarded<'_>, command: &MemberCommand) -> Result<(), Denied> {
        let Some(proof) = forwarded.proof else {
            return node_may_change_members(forwarded, command);
        };
        let Person { caller, signed } = self.person(forwarded.from, proof, forwarded.catalogue)?;
        may_operate(&caller)?;
        signed.map_or(Ok(()), |signed| signed.covers_members(command))
    }
}
