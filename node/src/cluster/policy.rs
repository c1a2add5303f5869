//! What the leader does for the cluster by itself: replacements, the preferred region, the dead.
//!
//! Everything rests on the catalogue and on who is heard from, so that the next leader goes on where
//! this one ends. What is decided is decided by pure functions; one thing is done at a time.

use std::time::Duration;

use tokio::time::Instant;
use verdict_config::ObjectKind;
use verdict_config::definition::{ClusterPolicy, JOIN_TOKEN_PREFIX, MemberPlace, POLICY_NAME};
use verdict_consensus::peers::NodeRequest;
use verdict_consensus::{Catalogue, ClusterStatus, Log, Member};

use super::rotation::SeenStep;
use super::standing::{AGREE_WITHIN, Asked, Doubts, asked_by_token};
use super::token::KeptToken;
use super::{Cluster, ClusterError};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a node leads before it hands its office over for the sake of a region.
const SETTLED: Duration = Duration::from_secs(5);
/// Between two attempts at that, growing: a region whose voters cannot keep the office must not cost
/// an election every few seconds.
const HAND_OVER_PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));
/// A voter that takes over is so far behind at most, in entries, and was heard so recently.
const BEHIND_MAX: u64 = 10;
const HEARD_MS_MAX: u64 = 1_000;
/// Voters that remain when one is removed because it was silent for long.
const VOTERS_MIN: usize = 3;

/// Looks after the cluster for as long as this node is a member, whenever it leads.
pub(crate) async fn look_after(cluster: Cluster) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut leading: Option<Instant> = None;
    let mut office = Office::default();
    loop {
        ticks.tick().await;
        let status = cluster.log().cluster().filter(|status| status.role == "leader");
        let Some(status) = status else {
            leading = None;
            office.doubts = Doubts::default();
            continue;
        };
        let led_for = leading.get_or_insert_with(Instant::now).elapsed();
        let catalogue = cluster.log().catalogue();
        let done = act(&cluster, &catalogue, &status, (led_for, &mut office)).await;
        if let Err(error) = done {
            tracing::debug!(%error, "what the cluster needs is tried again");
        }
    }
}

async fn act(
    cluster: &Cluster,
    catalogue: &Catalogue,
    status: &ClusterStatus,
    (led_for, office): (Duration, &mut Office),
) -> Result<(), ClusterError> {
    // Whatever fails below is tried again each time; this is not to wait for it.
    if let Err(error) = cluster.correct_standings(&mut office.doubts, AGREE_WITHIN).await {
        tracing::debug!(%error, "what the audit says of the members is corrected later");
    }
    if let Err(error) = cluster.drive_rotation(catalogue, &mut office.rotation).await {
        tracing::debug!(%error, "the rotation that a removal began waits");
    }
    for (old, new) in replacements(catalogue, status) {
        take_place(cluster, (catalogue, status), (old, new)).await?;
    }
    for node_id in newcomers(catalogue, status) {
        let what = format!("node {node_id} becomes a voter");
        let asked = asked_by_token(catalogue, node_id, &what);
        // One that cannot be reached is not to keep the others waiting.
        if let Err(error) = cluster.promote(node_id, &asked).await {
            tracing::debug!(node_id, %error, "not a voter yet");
        }
    }
    let policy = policy_of(catalogue);
    let after = Duration::from_secs(policy.remove_dead_after_s);
    if !after.is_zero()
        && let Some(node_id) = long_dead(status, led_for, after)
    {
        tracing::warn!(node_id, ?after, "a member that is silent for so long is removed");
        let why = format!("nobody heard of node {node_id} for {} s", after.as_secs());
        cluster.remove(node_id, &Asked::by_duty(why)).await?;
    }
    if led_for >= SETTLED
        && let Some(node_id) = successor(catalogue, status, &policy.preferred_leader_region)
        && office.may_hand_over(Instant::now())
    {
        tracing::info!(node_id, region = policy.preferred_leader_region, "the lead goes there");
        cluster.ask(node_id, &NodeRequest::StandForElection).await?;
    }
    Ok(())
}

/// How the cluster is to look after itself.
fn policy_of(catalogue: &Catalogue) -> ClusterPolicy {
    let object =
        catalogue.of_kind(ObjectKind::Member).find(|object| object.id.name.as_str() == POLICY_NAME);
    // It was checked when it was proposed.
    object.and_then(|object| serde_json::from_slice(&object.body).ok()).unwrap_or_default()
}

/// Where a member is.
fn region_of(catalogue: &Catalogue, member: &Member) -> String {
    let name = format!("node-{}", member.node_id);
    let place =
        catalogue.of_kind(ObjectKind::Member).find(|object| object.id.name.as_str() == name);
    let place: Option<MemberPlace> =
        place.and_then(|object| serde_json::from_slice(&object.body).ok());
    place.map_or_else(|| member.attributes.region.clone(), |place| place.region)
}

/// Members that are there still, with those that joined to take their places.
fn replacements(catalogue: &Catalogue, status: &ClusterStatus) -> Vec<(u64, u64)> {
    let is_member = |node_id| status.peers.iter().any(|peer| peer.member.node_id == node_id);
    let of = |token: KeptToken| {
        let (old, (new, _)) = (token.replaces?, token.used_by?);
        (is_member(old) && is_member(new)).then_some((old, new))
    };
    tokens(catalogue).filter_map(of).collect()
}

/// The tokens that the catalogue keeps, used ones as well.
fn tokens(catalogue: &Catalogue) -> impl Iterator<Item = KeptToken> {
    let objects = catalogue.of_kind(ObjectKind::Member);
    let tokens = objects.filter(|object| object.id.name.as_str().starts_with(JOIN_TOKEN_PREFIX));
    tokens.filter_map(|object| serde_json::from_slice(&object.body).ok())
}

/// Learners that joined to vote and have caught up. The node that let one in makes it a voter; where
/// that node is gone before it has, the leader does.
fn newcomers(catalogue: &Catalogue, status: &ClusterStatus) -> Vec<u64> {
    let is_ready = |node_id| {
        status.peers.iter().any(|peer| {
            peer.member.node_id == node_id
                && !peer.member.voter
                && peer.heard_ms.is_some_and(|ms| ms <= HEARD_MS_MAX)
                && peer.matched_index.is_some_and(|at| status.last_index <= at + BEHIND_MAX)
        })
    };
    let of = |token: KeptToken| {
        let (node_id, _) = token.used_by?;
        (token.voter && token.replaces.is_none() && is_ready(node_id)).then_some(node_id)
    };
    tokens(catalogue).filter_map(of).collect()
}

async fn take_place(
    cluster: &Cluster,
    (catalogue, status): (&Catalogue, &ClusterStatus),
    (old, new): (u64, u64),
) -> Result<(), ClusterError> {
    let voter = |node_id| {
        status.peers.iter().any(|peer| peer.member.node_id == node_id && peer.member.voter)
    };
    if old == cluster.node_id() {
        cluster.step_down().await;
        return Ok(());
    }
    let what = format!("node {new} takes the place of node {old}");
    let asked = asked_by_token(catalogue, new, &what);
    if voter(old) {
        cluster.put_in_place((old, new), &asked).await?;
    } else {
        cluster.remove(old, &asked).await?;
    }
    tracing::info!(old, new, "a member was replaced");
    Ok(())
}

/// A member that was silent for so long, while this node led, that it may be removed.
fn long_dead(status: &ClusterStatus, led_for: Duration, after: Duration) -> Option<u64> {
    let silent = |heard_ms: Option<u64>| {
        // Before it led, this node asked nobody.
        heard_ms.map_or(led_for, |ms| Duration::from_millis(ms).min(led_for))
    };
    let voters = status.peers.iter().filter(|peer| peer.member.voter).count();
    let dead = status.peers.iter().filter(|peer| {
        peer.member.node_id != status.node_id
            && silent(peer.heard_ms) >= after
            && (!peer.member.voter || voters > VOTERS_MIN)
    });
    dead.map(|peer| peer.member.node_id).min()
}

/// The voter that leads better from where the leader should be; `None` where it is there, or nobody
/// there is up to date.
fn successor(catalogue: &Catalogue, status: &ClusterStatus, preferred: &str) -> Option<u64> {
    let inside = |member: &Member| region_of(catalogue, member) == preferred;
    let leader = status.peers.iter().find(|peer| peer.member.node_id == status.node_id)?;
    if preferred.is_empty() || inside(&leader.member) {
        return None;
    }
    let able = status.peers.iter().filter(|peer| {
        peer.member.voter
            && peer.heard_ms.is_some_and(|ms| ms <= HEARD_MS_MAX)
            && peer.matched_index.is_some_and(|at| status.last_index <= at + BEHIND_MAX)
            && inside(&peer.member)
    });
    able.max_by_key(|peer| peer.matched_index).map(|peer| peer.member.node_id)
}

/// What a leader remembers: what it doubts, and when the office may change hands for the sake of a
/// region.
#[derive(Debug, Default)]
struct Office {
    doubts: Doubts,
    /// The step of a rotation that was taken last.
    rotation: SeenStep,
    last: Option<(Instant, Duration)>,
}

impl Office {
    /// Whether now; if so, the next time is later, and the later the sooner this came again.
    fn may_hand_over(&mut self, now: Instant) -> bool {
        let (least, most) = HAND_OVER_PAUSE;
        let pause = match self.last {
            None => least,
            Some((last, pause)) => {
                let since = now.saturating_duration_since(last);
                if since < pause {
                    return false;
                }
                if since > most { least } else { (pause * 2).min(most) }
            }
        };
        self.last = Some((now, pause));
        true
    }
}

#[cfg(test)]
mod tests {
    use verdict_consensus::{NodeAttributes, PeerStatus};

    use super::*;

    fn peer(node_id: u64, region: &str, heard_ms: Option<u64>, matched: u64) -> PeerStatus {
        let attributes = NodeAttributes { region: region.to_owned(), ..NodeAttributes::default() };
        let member = Member { node_id, voter: true, attributes };
        PeerStatus { member, matched_index: Some(matched), heard_ms }
    }

    fn status(peers: Vec<PeerStatus>) -> ClusterStatus {
        ClusterStatus {
            cluster_id: "c".to_owned(),
            node_id: 1,
            role: "leader",
            leader: Some(1),
            term: 1,
            version: 1,
            last_index: 100,
            applied_index: 100,
            committed_durable_index: 100,
            snapshot_index: 0,
            purged_index: 0,
            quorum_age_ms: Some(1),
            commit_us_last: 0,
            syncs: 0,
            sync_us_max: 0,
            clock_doubt: None,
            peers,
        }
    }

    #[test]
    fn the_lead_goes_to_an_up_to_date_voter_of_the_region() {
        let catalogue = Catalogue::default();
        let of = |peers: Vec<PeerStatus>| successor(&catalogue, &status(peers), "west");
        let here = || peer(1, "east", None, 100);
        assert_eq!(
            of(vec![here(), peer(2, "west", Some(5), 99), peer(3, "west", Some(5), 98)]),
            Some(2)
        );
        // Nobody there; one that lags; one that is silent; a learner; a leader that is there.
        assert_eq!(of(vec![here(), peer(2, "east", Some(5), 100)]), None);
        assert_eq!(of(vec![here(), peer(2, "west", Some(5), 80)]), None);
        assert_eq!(of(vec![here(), peer(2, "west", Some(5_000), 100)]), None);
        let mut learner = peer(2, "west", Some(5), 100);
        learner.member.voter = false;
        assert_eq!(of(vec![here(), learner]), None);
        assert_eq!(of(vec![peer(1, "west", None, 100), peer(2, "west", Some(5), 100)]), None);
        // Without a preference nothing moves.
        let peers = vec![here(), peer(2, "", Some(5), 100)];
        assert_eq!(successor(&catalogue, &status(peers), ""), None);
    }

    #[test]
    fn learners_that_joined_to_vote_are_made_voters_once_they_have_caught_up() {
        use verdict_config::TimestampMs;
        use verdict_consensus::{
            Author, Change, ChangeSet, Command, DefinitionValidator, Propose, apply,
        };
        let token = |id: u64, voter: bool, replaces: Option<u64>| {
            let (secret_sha256, expires) = ("0".repeat(64), TimestampMs(0));
            let used_by = Some((id, "1".repeat(64)));
            let kept = KeptToken { secret_sha256, expires, voter, used_by, replaces };
            let name = format!("{JOIN_TOKEN_PREFIX}{id}");
            Change::put(ObjectKind::Member, name, serde_json::to_string(&kept).unwrap())
        };
        let changes = vec![
            token(2, true, None),
            token(3, false, None),
            token(4, true, Some(2)),
            token(5, true, None),
            token(6, true, None),
        ];
        let change_set = ChangeSet::new("r", "", changes).normalised().unwrap();
        let (author, at) = (Author::named("test"), TimestampMs(1));
        let command = Command::Propose(Propose { change_set, author, at });
        let catalogue = apply(&Catalogue::default(), &command, 1, &DefinitionValidator).unwrap();
        let learner = |id, heard, matched| {
            let mut peer = peer(id, "r", heard, matched);
            peer.member.voter = false;
            peer
        };
        let peers = vec![
            peer(1, "r", None, 100),
            learner(2, Some(5), 99),
            learner(3, Some(5), 100),
            learner(4, Some(5), 100),
            learner(5, Some(5), 50),
            learner(6, Some(60_000), 100),
        ];
        assert_eq!(newcomers(&catalogue.catalogue, &status(peers)), [2]);
        let voter = vec![peer(1, "r", None, 100), peer(2, "r", Some(5), 100)];
        assert_eq!(newcomers(&catalogue.catalogue, &status(voter)), [0; 0]);
    }

    #[test]
    fn an_office_that_comes_back_is_kept_longer_each_time() {
        let (mut office, start) = (Office::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        let tries =
            [(0, true), (5, false), (10, true), (25, false), (30, true), (69, false), (70, true)];
        for (second, expected) in tries {
            assert_eq!(office.may_hand_over(at(second)), expected, "at {second} s");
        }
        // Long after, it is like the first time.
        assert!(office.may_hand_over(at(2_000)));
        assert!(office.may_hand_over(at(2_020)));
    }

    #[test]
    fn the_dead_go_only_where_three_voters_stay() {
        let hour = Duration::from_secs(3_600);
        let silent = |id, ms| peer(id, "r", ms, 0);
        let four = || vec![peer(1, "r", None, 100), silent(2, Some(5)), silent(3, Some(5))];
        let mut peers = four();
        peers.push(silent(4, Some(4_000_000)));
        assert_eq!(long_dead(&status(peers.clone()), hour * 2, hour), Some(4));
        // Not before this node has led for so long: before, it asked nobody.
        assert_eq!(long_dead(&status(peers), hour / 2, hour), None);
        let mut peers = four();
        peers[2].heard_ms = None;
        assert_eq!(
            long_dead(&status(peers.clone()), hour * 2, hour),
            None,
            "three voters stay three"
        );
        peers[2].member.voter = false;
        assert_eq!(long_dead(&status(peers), hour * 2, hour), Some(3), "a learner may always go");
    }
}
