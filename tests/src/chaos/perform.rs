//! Carries out the faults of a schedule on a cluster, heals them, and waits until all is well.

mod clocks;
mod converge;
pub mod disk;
mod restore;

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::cluster::{Cluster, LOOK_AGAIN};
use super::history::{Kind, Record};
use super::links::{Damage, Mode};
use super::load::{Client, Load, Shared};
use super::schedule::{Fault, Step};

/// How long a healed cluster may take until every node serves, takes changes and is not stale.
pub const CONVERGE_WITHIN: Duration = Duration::from_secs(60);
/// How long a leader may take to be seen while nothing is wrong.
const LEADER_WITHIN: Duration = Duration::from_secs(20);
/// One question of a convergence check.
const LOOK_WITHIN: Duration = Duration::from_secs(4);

/// Carries out faults.
pub struct Performer {
    shared: Shared,
    client: Client,
    probes: u64,
    seed: u64,
}

/// Who is who when a fault begins.
struct Roles {
    leader: u64,
    follower: u64,
    others: Vec<u64>,
}

impl Performer {
    /// A performer for a cluster.
    #[must_use]
    pub fn new(shared: Shared, seed: u64) -> Self {
        let client = shared.client(format!("nemesis-{seed:x}"), seed ^ 0xFA17);
        Self { shared, client, probes: 0, seed }
    }

    fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }

    async fn roles(&self, choice: u64) -> Result<Roles> {
        let until = Instant::now() + LEADER_WITHIN;
        let leader = loop {
            if let Some(leader) = self.cluster().leader().await {
                break leader;
            }
            anyhow::ensure!(Instant::now() < until, "no leader is seen");
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        let others: Vec<u64> =
            self.cluster().ids().into_iter().filter(|id| *id != leader).collect();
        let place = usize::try_from(choice)? % others.len().max(1);
        let follower = *others.get(place).context("a follower")?;
        Ok(Roles { leader, follower, others })
    }

    /// Performs one step and heals it. An error is one of the harness or a cluster that never
    /// became well.
    ///
    /// # Errors
    /// See above.
    pub async fn perform(&mut self, step: Step) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(step.quiet_ms)).await;
        let roles = self.roles(step.choice).await?;
        let name = step.fault.name();
        let performed = self.fault(step, &roles).await;
        self.heal()?;
        let at_us = self.shared.recorder.now_us();
        self.shared.recorder.add(Record::Healed { name: name.to_owned(), at_us });
        performed.with_context(|| name.to_owned())?;
        self.converge(name).await?;
        self.set_clocks_right()
    }

    fn begin(&self, step: Step, isolated: &[u64]) {
        self.shared.recorder.add(Record::Fault {
            name: step.fault.name().to_owned(),
            isolated: isolated.to_vec(),
            at_us: self.shared.recorder.now_us(),
        });
    }

    fn heal(&self) -> Result<()> {
        self.cluster().links.heal();
        for id in self.cluster().ids() {
            if self.cluster().is_limited(id) {
                self.cluster().kill(id);
            }
            if self.cluster().runs(id) {
                self.cluster().signal(id, "-CONT")?;
            } else {
                self.cluster().restart(id)?;
            }
        }
        Ok(())
    }

    async fn fault(&mut self, step: Step, roles: &Roles) -> Result<()> {
        let hold = Duration::from_millis(step.hold_ms);
        match step.fault {
            Fault::KillLeader | Fault::KillFollower | Fault::KillMajority => {
                self.kill(step, roles);
            }
            Fault::RestartAll => {
                self.begin(step, &[]);
                self.kill_all();
                return Ok(());
            }
            Fault::ColdStartAlone => {
                self.kill_all();
                self.cluster().restart(roles.follower)?;
                // It is isolated once it answers: before, there is nothing to mark.
                self.cluster().wait_ready(roles.follower).await?;
                self.begin(step, &[roles.follower]);
            }
            Fault::PauseLeader | Fault::PauseFollower => {
                let paused =
                    if step.fault == Fault::PauseLeader { roles.leader } else { roles.follower };
                self.begin(step, &[]);
                self.cluster().signal(paused, "-STOP")?;
            }
            Fault::IsolateLeader => self.isolate(step, roles.leader),
            Fault::IsolateFollower => self.isolate(step, roles.follower),
            Fault::MuteLeader | Fault::MuteFollower | Fault::DeafLeader => {
                self.begin(step, &[]);
                let one =
                    if step.fault == Fault::MuteFollower { roles.follower } else { roles.leader };
                for other in self.cluster().ids() {
                    let heard = step.fault == Fault::DeafLeader;
                    let way = if heard { (other, one) } else { (one, other) };
                    self.cluster().links.set(way, Mode::Cut);
                }
            }
            Fault::Delay => self.everywhere(step, Mode::Delay { ms: 75, jitter_ms: 50 }),
            Fault::Loss => self.everywhere(step, Mode::Loss { percent: 50 }),
            Fault::Corrupt => self.everywhere(step, Mode::Corrupt { permille: 100 }),
            Fault::FlapLeader | Fault::Reset => return self.flap(step, roles).await,
            Fault::LossKillLeader => {
                self.everywhere(step, Mode::Loss { percent: 15 });
                tokio::time::sleep(hold / 2).await;
                self.cluster().kill(roles.leader);
            }
            Fault::DelayIsolateLeader => {
                self.everywhere(step, Mode::Delay { ms: 25, jitter_ms: 20 });
                tokio::time::sleep(hold / 2).await;
                self.cut_off(roles.leader);
            }
            Fault::ClockLeader => return self.clock(step, (roles.leader, roles.leader)).await,
            Fault::ClockFollower => return self.clock(step, (roles.follower, roles.leader)).await,
            Fault::DamagedBlob => return self.damaged_blob(step, roles).await,
            Fault::FlippedBit => return self.flipped_bit(step, roles).await,
            Fault::DiskFull => self.disk_full(step, roles)?,
            Fault::Swallow => self.damage(step, roles, Damage::Swallow),
            Fault::LongerRecord => self.damage(step, roles, Damage::LongerRecord),
            Fault::Rolling => return self.rolling_restart(step).await,
            Fault::JoinLeaderChange => return self.join_leader_change(step, roles).await,
            Fault::Learner => return self.learner(step, roles).await,
            Fault::Replace => return self.replace(step, roles).await,
            Fault::RollbackCutOff => return self.rollback_cut_off(step, roles).await,
            Fault::RollbackLeaderChange => return self.rollback_leader_change(step, roles).await,
            Fault::Overload => {
                self.begin(step, &[]);
                let mut burst = Load::start(&self.shared, self.seed ^ step.choice, 10);
                tokio::time::sleep(hold).await;
                burst.stop().await;
                return Ok(());
            }
        }
        tokio::time::sleep(hold).await;
        Ok(())
    }

    fn kill(&self, step: Step, roles: &Roles) {
        let victims = match step.fault {
            Fault::KillLeader => vec![roles.leader],
            Fault::KillFollower => vec![roles.follower],
            _ => vec![roles.leader, roles.follower],
        };
        for id in &victims {
            self.cluster().kill(*id);
        }
        let left = self.cluster().ids().into_iter().filter(|id| !victims.contains(id));
        let left: Vec<u64> = left.collect();
        self.begin(step, if left.len() > victims.len() { &[] } else { &left });
    }

    fn kill_all(&self) {
        for id in self.cluster().ids() {
            self.cluster().kill(id);
        }
    }

    fn isolate(&self, step: Step, one: u64) {
        self.cut_off(one);
        self.begin(step, &[one]);
    }

    fn cut_off(&self, one: u64) {
        for other in self.cluster().ids() {
            self.cluster().links.set((one, other), Mode::Cut);
            self.cluster().links.set((other, one), Mode::Cut);
        }
    }

    /// Damages the open connections between the leader and a follower, one way.
    fn damage(&self, step: Step, roles: &Roles, damage: Damage) {
        self.begin(step, &[]);
        let (leader, follower) = (roles.leader, roles.follower);
        let towards_leader = step.choice.is_multiple_of(2);
        let way = if towards_leader { (follower, leader) } else { (leader, follower) };
        self.cluster().links.damage(way, damage);
    }

    fn everywhere(&self, step: Step, mode: Mode) {
        self.begin(step, &[]);
        for from in self.cluster().ids() {
            for to in self.cluster().ids() {
                self.cluster().links.set((from, to), mode);
            }
        }
    }

    /// The leader's links, or all, come and go.
    async fn flap(&self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        let until = Instant::now() + Duration::from_millis(step.hold_ms);
        let mut turn = step.choice;
        while Instant::now() < until {
            for from in self.cluster().ids() {
                for to in self.cluster().ids() {
                    let mode = if step.fault == Fault::Reset { Mode::Reset } else { Mode::Cut };
                    if step.fault == Fault::Reset || [from, to].contains(&roles.leader) {
                        self.cluster().links.set((from, to), mode);
                    }
                }
            }
            // Below, about, and beyond an election's timeout.
            tokio::time::sleep(Duration::from_millis(100 + turn % 7 * 150)).await;
            self.cluster().links.heal();
            turn = turn.wrapping_mul(31).wrapping_add(7);
            tokio::time::sleep(Duration::from_millis(100 + turn % 5 * 150)).await;
        }
        Ok(())
    }

    async fn learner(&self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        let id = self.cluster().join(roles.follower, false).await?;
        tokio::time::sleep(Duration::from_millis(step.hold_ms)).await;
        self.cluster().change_member(id, "remove").await?;
        self.cluster().forget(id);
        Ok(())
    }

    /// Each node in turn is told to stop, and started again once it has.
    async fn rolling_restart(&self, step: Step) -> Result<()> {
        self.begin(step, &[]);
        for id in self.cluster().ids() {
            self.cluster().terminate(id).await?;
            self.cluster().restart(id)?;
            self.cluster().wait_ready(id).await?;
        }
        Ok(())
    }

    /// A node joins while the leader is killed and comes back.
    async fn join_leader_change(&self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        let killing = async {
            tokio::time::sleep(Duration::from_millis(step.choice % 600)).await;
            self.cluster().kill(roles.leader);
            tokio::time::sleep(Duration::from_millis(step.hold_ms)).await;
            self.cluster().restart(roles.leader)
        };
        let (joined, restarted) = tokio::join!(
            self.cluster().join(roles.follower, step.choice.is_multiple_of(2)),
            killing
        );
        restarted?;
        let id = joined?;
        self.cluster().change_member(id, "remove").await?;
        self.cluster().forget(id);
        Ok(())
    }

    async fn replace(&self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        self.cluster().kill(roles.follower);
        self.take_its_place(roles).await
    }

    /// The follower, which is down, is removed, and another node joins.
    async fn take_its_place(&self, roles: &Roles) -> Result<()> {
        self.cluster().change_member(roles.follower, "remove").await?;
        self.cluster().forget(roles.follower);
        let at = roles.others.iter().copied().find(|id| *id != roles.follower);
        let id = self.cluster().join(at.unwrap_or(roles.leader), true).await?;
        let until = Instant::now() + CONVERGE_WITHIN;
        while !self.cluster().voters(id).await.unwrap_or_default().contains(&id) {
            anyhow::ensure!(Instant::now() < until, "node {id} does not become a voter");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn rollback_cut_off(&mut self, step: Step, roles: &Roles) -> Result<()> {
        self.isolate(step, roles.follower);
        if let Some(body) = self.client.next_rollback() {
            // First where it cannot be done, then by whoever can.
            self.client.try_change(Kind::Rollback, &body, roles.follower).await;
            self.client.settle(Kind::Rollback, &body, 12).await;
        }
        Ok(())
    }

    async fn rollback_leader_change(&mut self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        let Some(body) = self.client.next_rollback() else { return Ok(()) };
        let cluster = std::sync::Arc::clone(&self.shared.cluster);
        let (leader, after_us) = (roles.leader, step.choice % 20_000);
        let killing = async {
            tokio::time::sleep(Duration::from_micros(after_us)).await;
            cluster.kill(leader);
        };
        tokio::join!(killing, self.client.try_change(Kind::Rollback, &body, roles.follower));
        self.client.settle(Kind::Rollback, &body, 12).await;
        Ok(())
    }
}
