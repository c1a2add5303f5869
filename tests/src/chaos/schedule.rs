//! What goes wrong, when and for how long: a pure function of the seed.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// One kind of fault. Who leads is known only when it is performed, so roles are named, not nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` of the leader.
    KillLeader,
    /// `kill -9` of a follower.
    KillFollower,
    /// `kill -9` of two of three.
    KillMajority,
    /// `kill -9` of every node; all start again.
    RestartAll,
    /// `kill -9` of every node; one starts alone, the others later.
    ColdStartAlone,
    /// The leader is stopped beyond the election timeout.
    PauseLeader,
    /// A follower is stopped.
    PauseFollower,
    /// The leader neither hears nor is heard.
    IsolateLeader,
    /// A follower neither hears nor is heard.
    IsolateFollower,
    /// The leader hears and is not heard.
    MuteLeader,
    /// The leader is heard and does not hear.
    DeafLeader,
    /// A follower hears and is not heard.
    MuteFollower,
    /// The leader's links come and go.
    FlapLeader,
    /// Every piece is late by 75 ms, give or take 50.
    Delay,
    /// Half of all pieces are lost at first.
    Loss,
    /// Bytes are changed on every link.
    Corrupt,
    /// Every connection is reset again and again.
    Reset,
    /// A learner joins after entries were let go, then is removed.
    Learner,
    /// A follower is lost for ever: removed, and another node joins.
    Replace,
    /// A rollback at a follower, while it or another is cut off.
    RollbackCutOff,
    /// A rollback while the leader is killed.
    RollbackLeaderChange,
    /// Ten times the clients.
    Overload,
    /// The leader is killed while pieces are lost.
    LossKillLeader,
    /// The leader is cut off while pieces are late.
    DelayIsolateLeader,
    /// Every node in turn is told to stop, and started again.
    Rolling,
    /// A node joins while the leader is killed.
    JoinLeaderChange,
    /// The leader's clock jumps twice, by seconds to hours, forwards or back; then it is killed.
    ClockLeader,
    /// A follower's clock jumps; then the leader is killed.
    ClockFollower,
    /// Bits of bodies on the disks of two nodes are turned, or their ends are lost, while a third
    /// node needs them.
    DamagedBlob,
    /// A node's files cannot grow any more.
    DiskFull,
    /// A bit of the log's store of a follower is turned while it is down.
    FlippedBit,
    /// The connections between the leader and a follower, one way, drop bytes from some point on.
    Swallow,
    /// On the same connections the header of one TLS record gets a longer length.
    LongerRecord,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 33] = [
        Self::KillLeader,
        Self::IsolateLeader,
        Self::Corrupt,
        Self::RestartAll,
        Self::RollbackLeaderChange,
        Self::PauseLeader,
        Self::KillMajority,
        Self::MuteLeader,
        Self::Replace,
        Self::FlapLeader,
        Self::RollbackCutOff,
        Self::Loss,
        Self::ColdStartAlone,
        Self::DeafLeader,
        Self::Learner,
        Self::IsolateFollower,
        Self::Overload,
        Self::Delay,
        Self::KillFollower,
        Self::PauseFollower,
        Self::MuteFollower,
        Self::Reset,
        Self::LossKillLeader,
        Self::DelayIsolateLeader,
        Self::Rolling,
        Self::JoinLeaderChange,
        Self::ClockLeader,
        Self::ClockFollower,
        Self::DamagedBlob,
        Self::DiskFull,
        Self::FlippedBit,
        Self::Swallow,
        Self::LongerRecord,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill-leader",
            Self::KillFollower => "kill-follower",
            Self::KillMajority => "kill-majority",
            Self::RestartAll => "restart-all",
            Self::ColdStartAlone => "cold-start-alone",
            Self::PauseLeader => "pause-leader",
            Self::PauseFollower => "pause-follower",
            Self::IsolateLeader => "isolate-leader",
            Self::IsolateFollower => "isolate-follower",
            Self::MuteLeader => "mute-leader",
            Self::DeafLeader => "deaf-leader",
            Self::MuteFollower => "mute-follower",
            Self::FlapLeader => "flap-leader",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::Corrupt => "corrupt",
            Self::Reset => "reset",
            Self::Learner => "learner",
            Self::Replace => "replace",
            Self::RollbackCutOff => "rollback-cut-off",
            Self::RollbackLeaderChange => "rollback-leader-change",
            Self::Overload => "overload",
            Self::LossKillLeader => "loss-kill-leader",
            Self::DelayIsolateLeader => "delay-isolate-leader",
            Self::Rolling => "rolling-restart",
            Self::JoinLeaderChange => "join-leader-change",
            Self::ClockLeader => "clock-leader",
            Self::ClockFollower => "clock-follower",
            Self::DamagedBlob => "damaged-blob",
            Self::DiskFull => "disk-full",
            Self::FlippedBit => "flipped-bit",
            Self::Swallow => "swallow",
            Self::LongerRecord => "longer-record",
        }
    }

    /// Whether it moves clocks: only a program of the tests lets its clock be moved.
    #[must_use]
    pub const fn moves_clocks(self) -> bool {
        matches!(self, Self::ClockLeader | Self::ClockFollower)
    }

    /// The fault of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// One fault of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub fault: Fault,
    /// How long it lasts before it is healed, in milliseconds.
    pub hold_ms: u64,
    /// How long all is well before it, in milliseconds.
    pub quiet_ms: u64,
    /// What else is to be chosen: which follower, which link.
    pub choice: u64,
}

/// The seed of one episode of a run.
#[must_use]
pub const fn episode_seed(seed: u64, episode: u64) -> u64 {
    // As SplitMix64 steps and mixes: neighbouring seeds give unrelated episodes. The first is the seed.
    if episode == 0 {
        return seed;
    }
    let mixed = seed.wrapping_add(episode.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// How a cluster is set up for an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Entries after which a snapshot is made.
    pub snapshot_entries: u64,
    /// Entries that are kept behind it.
    pub entries_kept: u64,
    /// The settings' network profile.
    pub network: &'static str,
}

/// The set-up of a seed: snapshots often, now and then, or hardly ever; timeouts of one site or more.
#[must_use]
pub fn setup(seed: u64) -> Setup {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5E7);
    let sizes = [(20, 2), (50, 5), (200, 20), (1_000, 100)];
    let (snapshot_entries, entries_kept) = sizes[rng.random_range(0..sizes.len())];
    let network = if rng.random_range(0..4) == 0 { "wan" } else { "lan" };
    Setup { snapshot_entries, entries_kept, network }
}

/// How far ahead of the system's a clock is put, in milliseconds, negative for behind: seconds to hours.
#[must_use]
pub const fn clock_ahead_ms(choice: u64) -> i64 {
    const SIZES: [i64; 6] = [2_000, 45_000, 600_000, 3_540_000, 10_800_000, 21_600_000];
    let size = SIZES[(choice / 2 % SIZES.len() as u64) as usize];
    if choice.is_multiple_of(2) { size } else { -size }
}

/// The faults of one episode, endless: every kind once in an order of the seed's, and again. Of
/// `only`, if it names any.
pub fn schedule(seed: u64, only: &[Fault]) -> impl Iterator<Item = Step> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let kinds = if only.is_empty() { Fault::ALL.to_vec() } else { only.to_vec() };
    let mut round = Vec::new();
    std::iter::from_fn(move || {
        if round.is_empty() {
            round.clone_from(&kinds);
            for last in (1..round.len()).rev() {
                round.swap(last, rng.random_range(0..=last));
            }
        }
        let fault = round.pop()?;
        let hold_ms = match fault {
            // Long enough for stale marks to be due.
            Fault::IsolateLeader | Fault::IsolateFollower | Fault::KillMajority => {
                rng.random_range(5_000..7_000)
            }
            Fault::ColdStartAlone => rng.random_range(11_000..13_000),
            // Long enough for a few thousand records, which no file has room for.
            Fault::DiskFull => rng.random_range(4_000..7_000),
            Fault::PauseLeader | Fault::PauseFollower => rng.random_range(1_500..4_000),
            _ => rng.random_range(2_000..5_000),
        };
        Some(Step {
            fault,
            hold_ms,
            quiet_ms: rng.random_range(300..1_200),
            choice: rng.random_range(0..1_000_000),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_schedule_and_every_fault_comes() {
        let take = |seed| schedule(seed, &[]).take(60).collect::<Vec<_>>();
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        let mut round: Vec<Fault> = take(7)[..Fault::ALL.len()].iter().map(|s| s.fault).collect();
        round.sort();
        let mut all = Fault::ALL.to_vec();
        all.sort();
        assert_eq!(round, all);
        assert!(Fault::ALL.iter().all(|fault| Fault::named(fault.name()) == Some(*fault)));
    }

    #[test]
    fn clocks_jump_both_ways_by_seconds_to_hours() {
        let jumps: Vec<i64> = (0..12).map(clock_ahead_ms).collect();
        assert_eq!(jumps.iter().sum::<i64>(), 0);
        let sizes = jumps.iter().map(|jump| jump.abs());
        assert_eq!((sizes.clone().min(), sizes.max()), (Some(2_000), Some(6 * 3_600_000)));
    }

    #[test]
    fn only_what_is_named_comes() {
        let only = [Fault::Delay, Fault::Loss];
        assert!(schedule(1, &only).take(20).all(|step| only.contains(&step.fault)));
    }

    #[test]
    fn episodes_differ_and_the_first_is_the_seed() {
        assert_eq!(episode_seed(5, 0), 5);
        assert_ne!(episode_seed(5, 1), episode_seed(6, 1));
        assert_ne!(episode_seed(5, 1), episode_seed(5, 2));
    }
}
