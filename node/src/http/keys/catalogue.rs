//! The keys that the catalogue holds, as of its newest revision.
//!
//! The catalogue as it was agreed counts, not the one that is served: a key is revoked also while
//! something else in the catalogue cannot be compiled.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use verdict_config::definition::KeyDefinition;
use verdict_config::{ObjectKind, TimestampMs};
use verdict_consensus::{Catalogue, Object};

use super::{Caller, KeyEntry, KnownKey};

/// The keys of one revision.
struct KeysAt {
    revision: u64,
    keys: Arc<[Arc<KnownKey>]>,
}

/// The catalogue's keys, read again when its revision has changed.
pub(crate) struct CatalogueKeys {
    catalogues: watch::Receiver<Arc<Catalogue>>,
    read: ArcSwap<KeysAt>,
}

impl super::KeyRing {
    /// The caller whose key this is, as the settings and a catalogue have it at a time: the leader's
    /// check of a key that another node took.
    pub(crate) fn caller_in(
        &self,
        key: &str,
        (catalogue, at): (&Catalogue, TimestampMs),
    ) -> Option<Caller> {
        let presented = super::digest(key);
        let agreed = keys_of(catalogue).keys;
        let mut found = None;
        // Every key is compared, so that the time taken says nothing.
        for known in self.settings.iter().chain(agreed.iter()) {
            if super::equal(&known.entry.digest, &presented) && found.is_none() {
                found = Some(Arc::clone(known));
            }
        }
        found.filter(|known| known.holds_at(at)).map(|known| Caller::of(&known))
    }
}

impl std::fmt::Debug for CatalogueKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.current().iter()).finish()
    }
}

impl CatalogueKeys {
    pub(crate) fn new(catalogues: watch::Receiver<Arc<Catalogue>>) -> Self {
        let keys = keys_of(&catalogues.borrow());
        Self { catalogues, read: ArcSwap::from_pointee(keys) }
    }

    /// The keys of the newest revision.
    pub(super) fn current(&self) -> Arc<[Arc<KnownKey>]> {
        let read = self.read.load();
        if self.catalogues.borrow().revision() == read.revision {
            return Arc::clone(&read.keys);
        }
        // Two requests may read at the same time; the later store may be the older reading, which
        // the next request then replaces.
        let catalogue = Arc::clone(&self.catalogues.borrow());
        let read = keys_of(&catalogue);
        let keys = Arc::clone(&read.keys);
        self.read.store(Arc::new(read));
        keys
    }
}

fn keys_of(catalogue: &Catalogue) -> KeysAt {
    let keys = catalogue.of_kind(ObjectKind::Key).filter_map(|object| read_key(object));
    KeysAt { revision: catalogue.revision(), keys: keys.collect() }
}

/// A key object; one that cannot be read lets nobody in.
fn read_key(object: &Object) -> Option<Arc<KnownKey>> {
    let key: KeyDefinition = object.parse().ok()?;
    let digest = hex::decode(key.hash.as_ref()?).ok()?.try_into().ok()?;
    let entry = KeyEntry { name: object.id.name.as_str().to_owned(), role: key.role, digest };
    let KeyDefinition { flows, regions, expires, .. } = key;
    Some(Arc::new(KnownKey { entry, flows, regions, expires }))
}
