//! Revisions that a cluster never made, because it began again from an older state.
//!
//! A restored cluster does not know how far the cluster of the backup went on. It therefore continues
//! at the next multiple of [`REVISION_STEP`], so that no revision stands for two states. A client that
//! names a revision in between has it from the cluster of before, and must read anew.

use super::Catalogue;
use crate::error::ChangeRefused;

/// A cluster that begins again continues at the next multiple of this.
pub const REVISION_STEP: u64 = 1_000_000;
/// The most gaps that are kept; the oldest go first.
const GAPS_MAX: usize = 1_000;

/// Revisions that this cluster never made: those between its two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevisionGap {
    /// The revision of the state that the cluster began again from.
    pub after: u64,
    /// The revision of the first change since.
    pub from: u64,
}

impl Catalogue {
    /// Lets the next change have the next multiple of [`REVISION_STEP`], for a cluster that begins
    /// again. The state keeps its revision.
    pub(crate) fn begin_again(&mut self) {
        let after = self.revision;
        // The cluster of before may have used a number that it only promised to this state.
        let used = after.max(self.next_revision().saturating_sub(1));
        let used = if used > after { used.saturating_add(1) } else { used };
        let from = (used / REVISION_STEP).saturating_add(1).saturating_mul(REVISION_STEP);
        self.gaps.retain(|gap| gap.after != after);
        self.gaps.push(RevisionGap { after, from });
        let over = self.gaps.len().saturating_sub(GAPS_MAX);
        self.gaps.drain(..over);
    }

    /// The revision of the next change.
    #[must_use]
    pub fn next_revision(&self) -> u64 {
        match self.gaps.last() {
            Some(gap) if gap.after == self.revision => gap.from,
            _ => self.revision.saturating_add(1),
        }
    }

    /// Refuses a revision that another cluster made, since this one never did.
    ///
    /// # Errors
    /// [`ChangeRefused::NeverMade`].
    pub fn check_made(&self, revision: u64) -> Result<(), ChangeRefused> {
        let inside = |gap: &&RevisionGap| revision > gap.after && revision < gap.from;
        match self.gaps.iter().find(inside) {
            Some(RevisionGap { after, from }) => {
                Err(ChangeRefused::NeverMade { revision, after: *after, from: *from })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_begins_again_continues_at_the_next_multiple() {
        let mut catalogue = Catalogue::default();
        assert_eq!(catalogue.next_revision(), 1);
        let mut continued = |revision| {
            catalogue.revision = revision;
            catalogue.begin_again();
            catalogue.next_revision()
        };
        assert_eq!(continued(3), 1_000_000);
        // Begun again once more before a change: the cluster in between may have made 1,000,000.
        assert_eq!(continued(3), 2_000_000);
        assert_eq!(continued(2_000_000), 3_000_000);
        assert_eq!(continued(3_999_999), 4_000_000);
        for (revision, made) in [
            (3, true),
            (4, false),
            (1_000_000, false),
            (2_000_000, true),
            (2_000_001, false),
            (3_000_000, true),
            (3_999_999, true),
            (4_000_001, true),
        ] {
            assert_eq!(catalogue.check_made(revision).is_ok(), made, "{revision}");
        }
        for step in 1..2_000 {
            catalogue.revision = 4_000_000 + step;
            catalogue.begin_again();
        }
        assert_eq!(catalogue.gaps.len(), GAPS_MAX);
    }
}
