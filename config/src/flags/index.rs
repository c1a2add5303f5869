//! Finding flags by key, and hashing their content, without touching all of them when one changes.
//!
//! Flags are spread over [`SHARDS`] sorted shards by the hash of their keys. A change copies the shard
//! that it falls into and the list of shards. What a shard holds, and in which order, depends on
//! its flags alone, so that hashes over shards are equal wherever the flags are.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::compiled::CompiledFlag;
use super::hash::murmur3;

/// How many shards there are. Part of the content hash.
const SHARDS: usize = 256;

/// Flags by key.
#[derive(Debug, Clone, Default)]
pub struct FlagIndex {
    /// None at all while there is no flag, else [`SHARDS`].
    shards: Vec<Arc<Shard>>,
}

#[derive(Debug, Clone, Default)]
struct Shard {
    /// By hash of the key, then by key.
    flags: Vec<(u32, Arc<CompiledFlag>)>,
    /// Over each flag's key and content; worked out when it is asked for.
    hash: OnceLock<[u8; 32]>,
}

/// The upper bits choose the shard, so that a shard is a range of hashes.
const fn shard_of(hash: u32) -> usize {
    (hash >> 24) as usize
}

impl Shard {
    fn place(&self, hash: u32, key: &str) -> Result<usize, usize> {
        self.flags
            .binary_search_by(|(other, flag)| other.cmp(&hash).then_with(|| (*flag.key).cmp(key)))
    }

    fn hash(&self) -> &[u8; 32] {
        self.hash.get_or_init(|| {
            let mut hasher = Sha256::new();
            for (_, flag) in &self.flags {
                hasher.update((flag.key.len() as u64).to_be_bytes());
                hasher.update(flag.key.as_bytes());
                hasher.update(flag.hash);
            }
            hasher.finalize().into()
        })
    }
}

impl FlagIndex {
    pub fn find(&self, key: &str) -> Option<&Arc<CompiledFlag>> {
        let hash = murmur3(key.as_bytes());
        let shard = self.shards.get(shard_of(hash))?;
        let place = shard.place(hash, key).ok()?;
        shard.flags.get(place).map(|(_, flag)| flag)
    }

    /// The index after some flags were put (some) or deleted (none).
    pub fn changed<'f>(
        &self,
        changes: impl Iterator<Item = (&'f str, Option<&'f Arc<CompiledFlag>>)>,
    ) -> Self {
        let mut shards = self.shards.clone();
        if shards.is_empty() {
            shards = vec![Arc::default(); SHARDS];
        }
        let mut by_shard: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (key, flag) in changes {
            let hash = murmur3(key.as_bytes());
            by_shard.entry(shard_of(hash)).or_default().push((hash, key, flag));
        }
        for (at, changes) in by_shard {
            let Some(shard) = shards.get_mut(at) else { continue };
            let shard = Arc::make_mut(shard);
            for (hash, key, flag) in changes {
                match (shard.place(hash, key), flag) {
                    (Ok(place), Some(flag)) => shard.flags[place] = (hash, Arc::clone(flag)),
                    (Err(place), Some(flag)) => {
                        shard.flags.insert(place, (hash, Arc::clone(flag)));
                    }
                    (Ok(place), None) => drop(shard.flags.remove(place)),
                    (Err(_), None) => {}
                }
            }
            shard.hash = OnceLock::new();
        }
        Self { shards }
    }

    /// The hashes of the shards, in order.
    pub fn hashes(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.shards.iter().map(|shard| shard.hash())
    }
}
