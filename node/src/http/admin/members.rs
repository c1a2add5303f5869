//! The members of the cluster: who they are, tokens to join with, and their changes.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use utoipa::ToSchema;
use verdict_config::Code;
use verdict_config::definition::Standing;
use verdict_config::settings::Role;
use verdict_consensus::{Log, Member, MemberCommand, MemberPlan, PlannedMember};

use super::super::keys::Caller;
use super::super::problem::{Answer, Problem};
use super::super::query::Query;
use super::super::{Shared, body, caller_of, json, last_segment};
use super::{BODY_BYTES_MAX, asks_dry_run, cluster, problem};
use crate::cluster::members::{IssuedToken, TokenOptions};
use crate::cluster::standing::Asked;
use crate::cluster::{Cluster, ClusterError};

/// The longest time that a token is good.
const TOKEN_SECONDS_MAX: u64 = 7 * 86_400;

/// What a token is to allow.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct TokenBody {
    /// How long it is good, in seconds.
    #[schema(minimum = 1, maximum = 604_800)]
    valid_s: u64,
    /// Whether the node becomes a voter once it has caught up.
    voter: bool,
    /// Why, for people.
    #[schema(max_length = 512)]
    why: Option<String>,
    /// Only says what would happen.
    dry_run: bool,
}

impl Default for TokenBody {
    fn default() -> Self {
        Self { valid_s: 3_600, voter: true, why: None, dry_run: false }
    }
}

/// A change of a member.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct MemberBody {
    /// Makes a retry harmless for 24 h; drawn by the node, if absent.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    request_id: Option<String>,
    /// Why, for people.
    #[schema(max_length = 512)]
    why: Option<String>,
    /// Only says what would happen.
    dry_run: bool,
}

/// What is to become of a member.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Promote,
    Remove,
    Drain,
    Replace,
}

impl Verb {
    fn of(text: &str) -> Answer<Self> {
        match text {
            "promote" => Ok(Self::Promote),
            "remove" => Ok(Self::Remove),
            "drain" => Ok(Self::Drain),
            "replace" => Ok(Self::Replace),
            _ => {
                let known = ":promote, :remove, :drain, :replace";
                let detail = format!("{text:?} is no verb here; there are {known}.");
                Err(Problem::new(Code::RouteNotFound, detail))
            }
        }
    }
}

/// The members, and how the log of each stands as this node sees it.
#[utoipa::path(
    get, path = "/v1/admin/members", tag = "Operating", operation_id = "members",
    responses((status = 200, description = "The members.", body = Object))
)]
pub(in crate::http) async fn members(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    Query::read(request.uri(), &[]).finish()?;
    let cluster = cluster(&services)?;
    let mut shown = serde_json::to_value(cluster.log().cluster()).unwrap_or_default();
    // A rotation that the removal of a voter began is pending until it is gone from here.
    shown["rotation"] = json!(cluster.rotation_now());
    json(&shown)
}

/// Makes a one-time token that lets a node join, or says what that would allow.
#[utoipa::path(
    post, path = "/v1/admin/tokens", tag = "Operating", operation_id = "make_token",
    params(("dry_run" = Option<bool>, Query, description = "Only says what would happen.")),
    request_body(content = TokenBody),
    responses((status = 200, description = "The token: a secret that is shown once; or, with \
        `dry_run`, the members now and after.", body = Object))
)]
pub(in crate::http) async fn post_token(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    let asks_dry_run = asks_dry_run(&request)?;
    let wanted: TokenBody = body::json(request, BODY_BYTES_MAX, &services.http).await?;
    if !(1..=TOKEN_SECONDS_MAX).contains(&wanted.valid_s) {
        let message = format!("a token is good for 1 to {TOKEN_SECONDS_MAX} seconds");
        return Err(Problem::parameter("valid_s", message));
    }
    let cluster = cluster(&services)?;
    if wanted.dry_run || asks_dry_run {
        let before = members_now(cluster);
        let newcomer = (None, Standing::of_member(wanted.voter));
        let after = before.iter().copied().chain([newcomer]).collect::<Vec<_>>();
        return json(&json!({
            "dry_run": true, "valid_s": wanted.valid_s,
            "before": shown(&before), "after": shown(&after),
        }));
    }
    let valid = Duration::from_secs(wanted.valid_s);
    let options = TokenOptions { valid, voter: wanted.voter, replaces: None };
    let why = wanted.why.unwrap_or_else(|| "a token to join with".to_owned());
    let asked = Asked { author: caller.author(), why, request_id: None };
    json(&told(&cluster.issue_token(options, &asked).await.map_err(problem)?))
}

/// What is told of a token: where certificates are given, also whose is needed.
fn told(issued: &IssuedToken) -> Json {
    let mut answer = json!({ "token": issued.token });
    if let Some((node_id, name)) = &issued.for_node {
        answer["joins_as"] = json!(node_id);
        answer["certificate_name"] = json!(name);
    }
    answer
}

/// Changes a member (`{id}:promote`, `{id}:remove`, `{id}:drain`, `{id}:replace`), or says what that
/// would make of the members; the body may be absent.
///
/// `drain` removes a member for ever, which hands over the lead first if it has it. `replace` gives a
/// token: the node that joins with it takes the member's place in one change, once it has caught up.
/// Each change has its entry in the history: the object `member/standing-ID`.
#[utoipa::path(
    post, path = "/v1/admin/members/{key}", tag = "Operating", operation_id = "change_member",
    params(("key" = String, Path, pattern = "^[0-9]{1,20}:(promote|remove|drain|replace)$",
        description = "A node's id and what is to become of it."),
        ("dry_run" = Option<bool>, Query, description = "Only says what would happen.")),
    request_body(content = Option<MemberBody>),
    responses((status = 200, description = "It is done; or, with `dry_run`, the members now and \
        after.", body = Object))
)]
pub(in crate::http) async fn post_member(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    let key = last_segment(request.uri())?;
    let (id, name) = key.split_once(':').unwrap_or((&key, ""));
    let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let node_id: Option<u64> = id.parse().ok().filter(|_| digits);
    let node_id = node_id.ok_or_else(|| {
        Problem::parameter("id", format!("expected a node's id, a number such as 3; got {id:?}"))
    })?;
    let verb = Verb::of(name)?;
    let asks_dry_run = asks_dry_run(&request)?;
    let wanted: MemberBody = body::json_or_default(request, BODY_BYTES_MAX, &services.http).await?;
    let cluster = cluster(&services)?.clone();
    if wanted.dry_run || asks_dry_run {
        let mut answer = dry_run(&cluster, node_id, verb).await.map_err(problem)?;
        answer["dry_run"] = json!(true);
        answer["node_id"] = json!(node_id);
        answer["would"] = json!(name);
        return json(&answer);
    }
    let asked = asked(&caller, wanted, &format!("{name} node {node_id}"));
    // Who asked may hang up: what was begun is ended all the same.
    let work = async move { carry_out(&cluster, node_id, verb, &asked).await };
    let done = services
        .tasks
        .spawn(work)
        .await
        .map_err(|_| Problem::of(Code::Internal))?
        .map_err(problem)?;
    tracing::info!(by = caller.name, node_id, verb = name, "a member was changed");
    let mut answer = done.unwrap_or_else(|| json!({ "done": name }));
    if let Some(text) = after_removal(&services, verb) {
        answer["authority"] = json!(text);
    }
    answer["node_id"] = json!(node_id);
    json(&answer)
}

/// What becomes of the authority after a removal, in a sentence.
fn after_removal(services: &super::super::Services, verb: Verb) -> Option<&'static str> {
    let cluster = services.cluster.as_ref()?;
    match verb {
        Verb::Promote | Verb::Replace => None,
        Verb::Remove | Verb::Drain if cluster.is_given() => Some(
            "the operator provides the certificates: nothing is rotated, revoke the node's where it was made",
        ),
        Verb::Remove | Verb::Drain => cluster
            .rotation_now()
            .map(|_| "a voter had its key: it is being replaced, see GET /v1/admin/authority"),
    }
}

fn asked(caller: &Caller, wanted: MemberBody, default_why: &str) -> Asked {
    let MemberBody { request_id, why, .. } = wanted;
    let why = why.unwrap_or_else(|| default_why.to_owned());
    Asked { author: caller.author(), why, request_id }
}

/// Does it; what there is to tell beyond that.
async fn carry_out(
    cluster: &Cluster,
    node_id: u64,
    verb: Verb,
    asked: &Asked,
) -> Result<Option<Json>, ClusterError> {
    match verb {
        Verb::Promote => cluster.promote(node_id, asked).await?,
        Verb::Remove => cluster.remove(node_id, asked).await?,
        Verb::Drain => cluster.drain(node_id, asked).await?,
        Verb::Replace => return Ok(Some(told(&cluster.replace(node_id, asked).await?))),
    }
    Ok(None)
}

/// What would become of the members.
async fn dry_run(cluster: &Cluster, node_id: u64, verb: Verb) -> Result<Json, ClusterError> {
    let answer = |plan: &MemberPlan| {
        let list = |members: &[PlannedMember]| {
            let one =
                |member: &PlannedMember| (Some(member.node_id), Standing::of_member(member.voter));
            shown(&members.iter().map(one).collect::<Vec<_>>())
        };
        json!({ "before": list(&plan.before), "after": list(&plan.after), "leader": plan.leader })
    };
    match verb {
        Verb::Promote => {
            let plan = cluster.plan_members(MemberCommand::Promote { node_id }).await?;
            if !plan.is_done() {
                cluster.could_give_authority(node_id).await?;
            }
            Ok(answer(&plan))
        }
        Verb::Remove => Ok(answer(&cluster.plan_members(MemberCommand::Remove { node_id }).await?)),
        Verb::Drain => {
            cluster.member(node_id)?;
            let plan = cluster.plan_members(MemberCommand::Remove { node_id }).await?;
            let mut told = answer(&plan);
            // In the order in which they are asked.
            let heirs = if plan.leader == node_id { cluster.heirs(node_id) } else { Vec::new() };
            told["lead_goes_to_one_of"] = json!(heirs);
            Ok(told)
        }
        Verb::Replace => {
            let Member { voter, .. } = cluster.member(node_id)?;
            let before = members_now(cluster);
            let mut after = before.clone();
            after.retain(|(id, _)| *id != Some(node_id));
            after.push((None, Standing::of_member(voter)));
            Ok(json!({ "before": shown(&before), "after": shown(&after) }))
        }
    }
}

/// A member, or the one that is to join, whose id is not known.
type Shown = (Option<u64>, Standing);

fn members_now(cluster: &Cluster) -> Vec<Shown> {
    let members = cluster.log().members().members;
    members
        .into_iter()
        .map(|member| (Some(member.node_id), Standing::of_member(member.voter)))
        .collect()
}

/// Members, how many of them vote, and how many voters are a majority.
fn shown(members: &[Shown]) -> Json {
    let voters = members.iter().filter(|(_, standing)| *standing == Standing::Voter).count();
    let list = members.iter().map(|(id, standing)| json!({ "node_id": id, "standing": standing }));
    json!({
        "members": list.collect::<Vec<_>>(), "voters": voters, "majority": voters / 2 + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_counted_over_voters() {
        let (voter, learner) = (Standing::Voter, Standing::Learner);
        let members = [(Some(1), voter), (Some(2), voter), (Some(4), learner), (None, voter)];
        let told = shown(&members);
        assert_eq!((&told["voters"], &told["majority"]), (&json!(3), &json!(2)));
        assert_eq!(told["members"][3], json!({ "node_id": null, "standing": "voter" }));
        assert_eq!(told["members"][2]["standing"], "learner");
    }
}
