//! The API key that a watched folder acts with.
//!
//! Whoever can write to the folder can change the catalogue as far as this key may. The leader checks
//! the key like that of any client, so a folder beside a learner changes nothing by the node's word.

use std::sync::Arc;

use verdict_config::{Code, Fault};
use verdict_consensus::authority::Action;
use verdict_consensus::{Author, Catalogue, ChangeSet, Log, PROOF_FROM_VERSION};

use crate::http::keys::KeyRing;
use crate::http::problem::Problem;

/// The author of a folder's changes in a cluster of before folders had keys.
const AUTHOR: &str = "catalogue-folder";

/// The key of a folder.
#[derive(Clone, Default)]
pub struct FolderKey {
    keys: KeyRing,
    /// The key; none where the settings name none.
    secret: Option<Arc<str>>,
}

impl std::fmt::Debug for FolderKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "FolderKey({})", self.secret.is_some())
    }
}

impl FolderKey {
    /// A key among those that a node knows.
    pub(crate) fn new(keys: KeyRing, secret: Option<Arc<str>>) -> Self {
        Self { keys, secret }
    }

    /// The author of a change set of the folder.
    ///
    /// # Errors
    /// There is no key, it is not known, or it may not do this.
    pub(super) fn author(
        &self,
        log: &dyn Log,
        set: &ChangeSet,
        catalogue: &Catalogue,
    ) -> Result<Author, Fault> {
        let fault = |code, message: String| Fault::new(code, "", message);
        let Some(secret) = &self.secret else {
            if log.command_version() < PROOF_FROM_VERSION {
                return Ok(Author::named(AUTHOR));
            }
            let message = "saves in the catalogue folder need an API key: name a file that holds one \
                           in node.catalogue_key_file";
            return Err(fault(Code::ProofMissing, message.to_owned()));
        };
        let caller = self.keys.caller(secret).ok_or_else(|| {
            let message = "the API key in node.catalogue_key_file is not known here";
            fault(Code::Unauthenticated, message.to_owned())
        })?;
        let refused = |problem: Problem| fault(problem.code(), problem.detail().to_owned());
        caller.may(Action::Change(set)).map_err(refused)?;
        caller.covers(set, catalogue).map_err(refused)?;
        Ok(caller.author())
    }
}
