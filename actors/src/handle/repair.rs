//! Finding what is damaged in the store of model folders and large bodies, and mending it.

use std::sync::Arc;
use std::time::Duration;

use verdict_consensus::ContentHash;

use super::Handle;
use super::staging::model_error;
use crate::blobs::BlobError;
use crate::core::Core;
use crate::error::RuntimeError;

/// Bytes that a check reads in a second, so that it takes little from those who decide.
const CHECK_BYTES_PER_S: f64 = (32 << 20) as f64;

impl Handle {
    /// Reads every folder and body of this node's store through, at a bounded pace, and has what is
    /// damaged brought anew; how many are damaged still, because nobody gave them.
    ///
    /// # Errors
    /// The disk.
    pub async fn check_blobs(&self) -> Result<usize, RuntimeError> {
        let hashes = self.blocking("list blobs", |core| core.blobs.hashes().map_err(model_error));
        let mut damaged = 0;
        for hash in hashes.await? {
            let checking = self.blocking("check a blob", move |core| Ok(check(core, &hash)));
            let (bytes, whole) = checking.await?;
            damaged += usize::from(!whole);
            tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / CHECK_BYTES_PER_S)).await;
        }
        Ok(damaged)
    }

    /// Something was found damaged while it was read for somebody else: it is mended behind the
    /// answer.
    pub(super) fn mend_behind(&self, hash: &str, error: &BlobError) {
        if !matches!(error, BlobError::Damaged { .. }) {
            return;
        }
        // Once, however many ask for it.
        let Some(mending) = self.core.blobs.mending(hash) else { return };
        let (core, hash) = (Arc::clone(&self.core), hash.to_owned());
        let work = move || {
            mend(&core, &hash);
            drop(mending);
        };
        drop(self.core.spawner.spawn_blocking("mend", work));
    }
}

/// Reads a folder or body through; its bytes, and whether it is whole, perhaps by now.
fn check(core: &Core, hash: &str) -> (u64, bool) {
    match core.blobs.check(hash) {
        Ok(bytes) => (bytes, true),
        Err(error) => {
            tracing::debug!(hash, %error, "a content is not whole");
            (0, mend(core, hash))
        }
    }
}

/// Brings a damaged folder or body anew, from other nodes or from memory; whether it was.
fn mend(core: &Core, hash: &str) -> bool {
    let folder = match core.blobs.describe(hash) {
        Ok(_) | Err(BlobError::Absent(_)) => Ok(()),
        Err(_) => core.blobs.fetch(hash, None),
    };
    let body = if core.blobs.contains_object(hash) { mend_body(core, hash) } else { Ok(()) };
    let mended = folder.and(body);
    if let Err(error) = &mended {
        tracing::warn!(hash, %error, "what is damaged here cannot be brought anew yet");
    }
    mended.is_ok()
}

fn mend_body(core: &Core, hash: &str) -> Result<(), BlobError> {
    let mut bytes = [0; 32];
    let known = hex::decode_to_slice(hash, &mut bytes).ok();
    let known = known.and_then(|()| core.log.catalogue().stored_body(ContentHash(bytes)));
    // What nothing names any more goes within the hour; an entry that is yet to be applied has it
    // brought by itself.
    let Some((length, in_memory)) = known else { return Ok(()) };
    let fetched = core.blobs.fetch_object((hash, length), None);
    match (fetched, in_memory) {
        (Err(BlobError::Absent(_)), Some(body)) => core.blobs.restore_object(hash, &body),
        (fetched, _) => fetched,
    }
}
