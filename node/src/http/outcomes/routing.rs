//! Outcomes go to the node that holds their decision; an erasure goes to every node.
//!
//! What is acknowledged is durable: where it belongs, or in the outbox of this node until the node it
//! belongs to is back. Outcomes count once by their id, and an erasure can be repeated. An erasure
//! with nodes away is acknowledged once a majority of the members sees to it that they perform it.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value as Json, json};
use verdict_actors::journal::{DecisionId, OutcomeState};
use verdict_actors::outbox::Kept;
use verdict_actors::{Handle, NewOutcomeInput};
use verdict_config::Code;
use verdict_consensus::Log;
use verdict_consensus::peers::{NodeAnswer, NodeRequest, Order};

use crate::cluster::{Cluster, ClusterError};
use crate::http::Services;
use crate::http::decisions::problem_of;
use crate::http::keys::Caller;
use crate::http::problem::{Answer, Problem};

/// Outcomes of one node, with their positions in the request.
type Group = Vec<(usize, NewOutcomeInput)>;

/// Records outcomes, each at the node of its decision; the answers in order.
pub(super) async fn record(
    services: &Services,
    outcomes: Vec<NewOutcomeInput>,
) -> Answer<Vec<Json>> {
    let checked = services.runtime.check_outcomes(&outcomes);
    checked.map_err(|error| problem_of(&error))?;
    let count = outcomes.len();
    let mut groups: BTreeMap<Option<u64>, Group> = BTreeMap::new();
    for (position, outcome) in outcomes.into_iter().enumerate() {
        let owner = owner(services.cluster.as_ref(), &outcome);
        groups.entry(owner).or_default().push((position, outcome));
    }
    let mut answers = vec![Json::Null; count];
    for (owner, group) in groups {
        let (positions, outcomes): (Vec<usize>, Vec<NewOutcomeInput>) = group.into_iter().unzip();
        let recorded = match (owner, &services.cluster) {
            (Some(node_id), Some(cluster)) => record_at(cluster, node_id, outcomes).await,
            _ => record_here(&services.runtime, outcomes).await,
        };
        let recorded = recorded.map_err(|problem| placed(problem, &positions))?;
        for (position, answer) in positions.into_iter().zip(recorded) {
            answers[position] = answer;
        }
    }
    Ok(answers)
}

/// The member that made an outcome's decision, if that is another node.
fn owner(cluster: Option<&Cluster>, outcome: &NewOutcomeInput) -> Option<u64> {
    let cluster = cluster?;
    let id: DecisionId = outcome.decision_id.as_deref()?.parse().ok()?;
    let node_id = u64::from(id.node());
    let elsewhere = node_id != cluster.node_id();
    (elsewhere && cluster.log().members().get(node_id).is_some()).then_some(node_id)
}

/// Faults of a part of the request, at their places in the whole.
fn placed(problem: Problem, positions: &[usize]) -> Problem {
    let mut faults = problem.faults().to_vec();
    for fault in &mut faults {
        let place = fault.path.strip_prefix("outcomes[").and_then(|rest| rest.split_once(']'));
        if let Some((number, rest)) = place
            && let Some(position) = number.parse::<usize>().ok().and_then(|at| positions.get(at))
        {
            fault.path = format!("outcomes[{position}]{rest}");
        }
    }
    problem.with_faults(faults)
}

async fn record_here(runtime: &Handle, outcomes: Vec<NewOutcomeInput>) -> Answer<Vec<Json>> {
    let ids: Vec<String> = outcomes.iter().map(|outcome| outcome.id.clone()).collect();
    let states = runtime.record_outcomes(outcomes).await.map_err(|error| problem_of(&error))?;
    let told = |(id, state)| json!({ "id": id, "state": state_name(state) });
    Ok(ids.into_iter().zip(states).map(told).collect())
}

const fn state_name(state: OutcomeState) -> &'static str {
    match state {
        OutcomeState::Recorded => "recorded",
        OutcomeState::Repeated => "repeated",
        OutcomeState::Conflict => "conflict",
    }
}

/// Records outcomes at their node; where it is away, or where others wait for it already, here until
/// it can have them.
async fn record_at(
    cluster: &Cluster,
    node_id: u64,
    outcomes: Vec<NewOutcomeInput>,
) -> Answer<Vec<Json>> {
    let internal = |_| Problem::of(Code::Internal);
    if !cluster.outbox().waits_for(node_id) {
        let json = serde_json::to_vec(&outcomes).map_err(internal)?;
        match cluster.ask_for(node_id, &NodeRequest::Outcomes { json }).await {
            Ok(NodeAnswer::Http { status: 200, body }) => {
                return serde_json::from_slice(&body).map_err(internal);
            }
            // A node that is about to stop, or whose disk is full: it may come back better.
            Ok(NodeAnswer::Http { status: 500.., .. }) => {}
            Ok(NodeAnswer::Http { body, .. }) => return Err(Problem::from_json(&body)),
            Ok(_) => return Err(Problem::of(Code::PeerUnreachable)),
            Err(error) => tracing::debug!(node_id, %error, "outcomes wait for their node"),
        }
    }
    let pending = |outcome: &NewOutcomeInput| json!({ "id": outcome.id, "state": "pending" });
    let answers = outcomes.iter().map(pending).collect();
    let kept = outcomes.into_iter().map(Kept::Outcome).collect();
    cluster.keep_for(vec![node_id], kept).await.map_err(kept_problem)?;
    Ok(answers)
}

fn kept_problem(error: ClusterError) -> Problem {
    Problem::new(error.code, error.detail)
}

/// Records outcomes of this node's decisions for another node.
pub(crate) async fn record_for_peer(runtime: &Handle, json: &[u8]) -> (u16, Vec<u8>) {
    let recorded = match serde_json::from_slice(json) {
        Ok(outcomes) => record_here(runtime, outcomes).await,
        Err(error) => Err(Problem::new(Code::OutcomeInvalid, error.to_string())),
    };
    match recorded {
        Ok(answers) => (200, serde_json::to_vec(&answers).unwrap_or_default()),
        Err(problem) => {
            let body = problem.body();
            (body.status, serde_json::to_vec(&body).unwrap_or_default())
        }
    }
}

/// What became of an erasure.
pub(super) struct Erased {
    /// Whether there was anything of the unit.
    pub found: bool,
    /// Members that are away.
    pub pending: Vec<u64>,
}

/// Destroys a unit's key on every node that can be reached. For those that cannot, a majority of the
/// members keeps the erasure, so that it outlives any one of them.
///
/// Once erasures need proof, a voter signs this one before anything is erased.
pub(super) async fn erase(services: &Services, caller: &Caller, unit: &str) -> Answer<Erased> {
    let order = match &services.cluster {
        Some(cluster) if cluster.log().needs_proof() => {
            let order = Order::EraseUnit { unit: unit.to_owned() };
            Some(cluster.have_signed(order, caller.proof()).await.map_err(kept_problem)?)
        }
        _ => None,
    };
    let here = services.runtime.erase_unit(unit).await;
    let mut found = here.map_err(|error| problem_of(&error))?;
    let Some(cluster) = &services.cluster else { return Ok(Erased { found, pending: Vec::new() }) };
    let members: Vec<u64> =
        cluster.log().members().members.into_iter().map(|member| member.node_id).collect();
    let others = members.iter().copied().filter(|node_id| *node_id != cluster.node_id());
    let request = &match &order {
        Some(sealed) => NodeRequest::CarryOut { sealed: sealed.clone() },
        None => NodeRequest::EraseUnit { unit: unit.to_owned() },
    };
    let asked = others.map(|id| async move { (id, cluster.ask_for(id, request).await) });
    let (mut reached, mut pending, mut failed) = (Vec::new(), Vec::new(), None);
    for (node_id, answer) in join_all(asked).await {
        match answer {
            Ok(NodeAnswer::Erased { found: there }) => {
                found |= there;
                reached.push(node_id);
            }
            Ok(_) => pending.push(node_id),
            Err(error) => {
                failed = Some(format!("Node {node_id} is away: {error}."));
                pending.push(node_id);
            }
        }
    }
    if pending.is_empty() {
        return Ok(Erased { found, pending });
    }
    let (kept, request) = match order {
        Some(sealed) => (
            Kept::order(unit.to_owned(), &sealed),
            NodeRequest::KeepOrder { sealed, nodes: pending.clone() },
        ),
        None => (
            Kept::Erasure(unit.to_owned()),
            NodeRequest::KeepErasure { unit: unit.to_owned(), nodes: pending.clone() },
        ),
    };
    let kept = vec![kept];
    cluster.keep_for(pending.clone(), kept).await.map_err(kept_problem)?;
    let keeping = reached.into_iter().map(|id| cluster.ask_for(id, &request));
    let keeping = join_all(keeping).await;
    let keepers = 1 + keeping.iter().filter(|kept| matches!(kept, Ok(NodeAnswer::Done))).count();
    if keepers * 2 > members.len() {
        return Ok(Erased { found, pending });
    }
    let detail = format!(
        "{} Only {keepers} of {} members know of the erasure. Send it again.",
        failed.unwrap_or_default(),
        members.len()
    );
    Err(Problem::new(Code::PeerUnreachable, detail))
}
