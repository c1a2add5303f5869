//! Outcomes go to the node that holds their decision; an erasure goes to every node.
//!
//! What is acknowledged is durable where it belongs. A node that cannot be reached makes the whole
//! request fail, retryably: outcomes count once by their id, and an erasure can be repeated.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use verdict_actors::journal::{DecisionId, OutcomeState};
use verdict_actors::{Handle, NewOutcomeInput};
use verdict_config::Code;
use verdict_consensus::Log;
use verdict_consensus::peers::{NodeAnswer, NodeRequest};

use crate::cluster::{Cluster, ClusterError};
use crate::http::Services;
use crate::http::decisions::problem_of;
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
            (Some(node_id), Some(cluster)) => record_at(cluster, node_id, &outcomes).await,
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

async fn record_at(
    cluster: &Cluster,
    node_id: u64,
    outcomes: &[NewOutcomeInput],
) -> Answer<Vec<Json>> {
    let internal = |_| Problem::of(Code::Internal);
    let request = NodeRequest::Outcomes { json: serde_json::to_vec(outcomes).map_err(internal)? };
    let asked = cluster.ask_for(node_id, &request).await;
    match asked.map_err(|error| unreached(node_id, &error))? {
        NodeAnswer::Http { status: 200, body } => serde_json::from_slice(&body).map_err(internal),
        NodeAnswer::Http { body, .. } => Err(Problem::from_json(&body)),
        _ => Err(Problem::of(Code::PeerUnreachable)),
    }
}

fn unreached(node_id: u64, error: &ClusterError) -> Problem {
    Problem::new(error.code, format!("Node {node_id} is needed: {error}. Send it again."))
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

/// Destroys a unit's key on every node; whether any had one.
pub(super) async fn erase(services: &Services, unit: &str) -> Answer<bool> {
    let here = services.runtime.erase_unit(unit).await;
    let mut found = here.map_err(|error| problem_of(&error))?;
    let Some(cluster) = &services.cluster else { return Ok(found) };
    let others = cluster.log().members().members.into_iter().map(|member| member.node_id);
    let request = NodeRequest::EraseUnit { unit: unit.to_owned() };
    let mut failed = None;
    // All of them are asked, whoever does not answer.
    for node_id in others.filter(|node_id| *node_id != cluster.node_id()) {
        match cluster.ask_for(node_id, &request).await {
            Ok(NodeAnswer::Erased { found: there }) => found |= there,
            Ok(_) => failed = Some(Problem::of(Code::PeerUnreachable)),
            Err(error) => failed = Some(unreached(node_id, &error)),
        }
    }
    failed.map_or(Ok(found), Err)
}
