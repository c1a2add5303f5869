//! Memory of signed requests whose change set a node fills in: each may be used for one change set.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use verdict_admin::{CLOCK_SLACK_MS, FORWARD_WITHIN_MS, VALID_MS_MAX};
use verdict_config::Code;
use verdict_consensus::{ContentHash, Denied};

/// Requests that are remembered.
const REMEMBERED_MAX: usize = 16_384;
/// A request is of no use after so long.
const REMEMBERED_MS: i64 = VALID_MS_MAX + FORWARD_WITHIN_MS + CLOCK_SLACK_MS;

type Key = (String, [u8; 16]);

/// The memory.
#[derive(Default)]
pub(super) struct BoundNonces(Mutex<BTreeMap<Key, (i64, ContentHash)>>);

impl BoundNonces {
    /// Binds a request to a change set.
    ///
    /// # Errors
    /// It is bound to another one; too many requests are remembered.
    pub(super) fn bind(
        &self,
        key: &str,
        nonce: [u8; 16],
        content: ContentHash,
    ) -> Result<(), Denied> {
        let now = crate::http::now().0;
        let mut bound = self.0.lock();
        bound.retain(|_, (until, _)| *until > now);
        let key = (key.to_owned(), nonce);
        match bound.get(&key) {
            Some((_, known)) if *known == content => Ok(()),
            Some(_) => {
                let detail = "the signed request was used for another change";
                Err(Denied::new(Code::EnvelopeReplayed, detail))
            }
            None if bound.len() >= REMEMBERED_MAX => {
                let detail = "too many signed requests at once; wait three minutes";
                Err(Denied::new(Code::Overloaded, detail))
            }
            None => {
                bound.insert(key, (now.saturating_add(REMEMBERED_MS), content));
                Ok(())
            }
        }
    }
}
