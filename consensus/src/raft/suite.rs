//! openraft's own test suite on the log store and the state machine.

use openraft::testing::{StoreBuilder, Suite};
use parking_lot::Mutex;

use super::log_store::{LogStore, opening};
use super::state_machine::{self, StateMachine};
use super::types::{StorageError, TypeConfig};
use crate::catalogue::Catalogue;
use crate::durable::open_sled;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError> {
        let folder = tempfile::tempdir().unwrap();
        opening::create_marks(folder.path()).unwrap();
        let engine = open_sled(&folder.path().join("store")).unwrap();
        let (store, _) = opening::open(folder.path(), engine).unwrap();
        let snapshots = folder.path().join("snapshots");
        let (machine, _) = state_machine::open(&snapshots, Catalogue::default(), None).unwrap();
        Ok((folder, store, machine))
    }
}

#[test]
fn openrafts_suite() {
    Suite::test_all(Builder).unwrap();
}

#[test]
fn an_entry_as_long_as_may_be_leaves_no_file_beside_the_store() {
    use openraft::storage::RaftLogStorageExt;
    use openraft::{EntryPayload as Content, RaftLogReader};

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    opening::create_marks(folder.path()).unwrap();
    let bytes: Vec<u8> =
        (0..11 << 20).map(|number: u32| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let payload = super::types::EntryPayload(bytes.into());
    let kept = Mutex::new(None);
    for _ in 0..2 {
        let engine = open_sled(&folder.path().join("store")).unwrap();
        let (mut store, found) = opening::open(folder.path(), engine).unwrap();
        if kept.lock().replace(()).is_none() {
            let log_id = openraft::testing::log_id(1, 1, 0);
            let entry = super::types::Entry { log_id, payload: Content::Normal(payload.clone()) };
            runtime.block_on(store.blocking_append([entry])).unwrap();
            store.durable().close();
            continue;
        }
        assert_eq!((found.entries, found.last_index), (1, 0));
        let read = runtime.block_on(store.try_get_log_entries(0..1)).unwrap();
        assert!(matches!(&read[0].payload, Content::Normal(read) if *read == payload));
    }
    // sled puts what is too large for its log into files of their own, which nobody syncs.
    let blobs = folder.path().join("store").join("blobs");
    assert_eq!(std::fs::read_dir(blobs).map_or(0, Iterator::count), 0);
}
