//! The sync thread over an engine that records what would survive a loss of power.

use std::collections::BTreeMap;
use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keeps what is written apart from what is durable, and can be told to fail or to lie.
#[derive(Default)]
struct Recorder {
    volatile: Mutex<Entries>,
    durable: Mutex<Entries>,
    syncs: Mutex<u64>,
    /// Syncs wait while it is shut.
    shut: std::sync::Mutex<bool>,
    opened: Condvar,
    fails: AtomicBool,
    lies: AtomicBool,
}

impl LogEngine for Recorder {
    fn write(&self, batch: EngineBatch) -> io::Result<()> {
        let mut volatile = self.volatile.lock();
        for (key, value) in batch.writes {
            match value {
                Some(value) => volatile.insert(key, value),
                None => volatile.remove(&key),
            };
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.volatile.lock().get(key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> io::Result<()> {
        let range = from.to_vec()..to.to_vec();
        self.volatile.lock().range(range).all(|(key, value)| visit(key, value));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let written = self.volatile.lock().clone();
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            shut = self.opened.wait(shut).unwrap();
        }
        *self.syncs.lock() += 1;
        if self.fails.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        if !self.lies.load(Ordering::SeqCst) {
            *self.durable.lock() = written;
        }
        Ok(())
    }
}

impl Recorder {
    fn shut(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }
}

struct Bench {
    recorder: Arc<Recorder>,
    durable: Arc<Durable>,
    folder: tempfile::TempDir,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mark");
    std::fs::write(&path, Mark::new_file(MarkState::default())).unwrap();
    let recorder = Arc::new(Recorder::default());
    let engine: Arc<dyn LogEngine> = Arc::clone(&recorder) as _;
    let durable = Arc::new(Durable::start(engine, Mark::open(&path).unwrap()).unwrap());
    Bench { recorder, durable, folder }
}

fn key(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// Writes 200 values, each with a barrier, and pulls the plug at once when it is acknowledged:
/// gives how many acknowledged ones the disk does not have.
fn lost_after_power_loss(bench: &Bench) -> usize {
    let lost = Arc::new(Mutex::new(0));
    for number in 1..=200 {
        let mut batch = EngineBatch::default();
        batch.put(key(number), b"value".to_vec());
        bench.durable.engine().unwrap().write(batch).unwrap();
        let (recorder, lost) = (Arc::clone(&bench.recorder), Arc::clone(&lost));
        let done = move |result: io::Result<()>| {
            if result.is_ok() && !recorder.durable.lock().contains_key(&key(number)) {
                *lost.lock() += 1;
            }
        };
        bench.durable.barrier(Marking::Reached(number), Box::new(done));
    }
    bench.durable.close();
    Arc::into_inner(lost).map_or(usize::MAX, Mutex::into_inner)
}

#[test]
fn what_is_acknowledged_survives_a_loss_of_power() {
    assert_eq!(lost_after_power_loss(&bench()), 0);
    // The check can fail: an engine that acknowledges before it syncs is caught.
    let liar = bench();
    liar.recorder.lies.store(true, Ordering::SeqCst);
    assert_eq!(lost_after_power_loss(&liar), 200);
}

#[test]
fn barriers_that_wait_share_a_sync_and_are_answered_in_order() {
    let bench = bench();
    bench.recorder.shut(true);
    let order = Arc::new(Mutex::new(Vec::new()));
    for number in 0..100 {
        let order = Arc::clone(&order);
        bench.durable.barrier(Marking::Keep, Box::new(move |_| order.lock().push(number)));
    }
    assert!(order.lock().is_empty(), "nothing is answered before the sync");
    bench.recorder.shut(false);
    bench.durable.close();
    assert_eq!(*order.lock(), (0..100).collect::<Vec<_>>());
    assert!(*bench.recorder.syncs.lock() <= 3, "{}", bench.recorder.syncs.lock());
}

#[test]
fn a_failed_sync_is_final_and_never_tried_again() {
    let bench = bench();
    bench.recorder.fails.store(true, Ordering::SeqCst);
    let answers = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..3 {
        let (sender, receiver) = sync_channel(1);
        let answers = Arc::clone(&answers);
        let done = move |result: io::Result<()>| {
            answers.lock().push(result.map_err(|error| error.to_string()));
            sender.send(()).unwrap();
        };
        bench.durable.barrier(Marking::Reached(9), Box::new(done));
        receiver.recv().unwrap();
        bench.recorder.fails.store(false, Ordering::SeqCst);
    }
    assert!(answers.lock().iter().all(Result::is_err), "{:?}", answers.lock());
    assert_eq!(*bench.recorder.syncs.lock(), 1);
    assert!(bench.durable.failure().borrow().as_deref().unwrap().contains("sync failed"));
    bench.durable.close();
    let mark = Mark::open(&bench.folder.path().join("mark")).unwrap();
    assert_eq!(mark.state.index, 0, "the mark never says what was not synced");
}

#[test]
fn the_mark_follows_and_is_lowered_first() {
    let bench = bench();
    let path = bench.folder.path().join("mark");
    let wait = |marking| {
        let (sender, receiver) = sync_channel(1);
        bench.durable.barrier(marking, Box::new(move |result| sender.send(result).unwrap()));
        receiver.recv().unwrap().unwrap();
    };
    let vote = MarkedVote { term: 4, committed: false, node_id: 1 };
    wait(Marking::Reached(12));
    wait(Marking::Vote(vote));
    assert_eq!(Mark::open(&path).unwrap().state, MarkState { index: 12, vote: Some(vote) });
    wait(Marking::Lower(10));
    assert_eq!(Mark::open(&path).unwrap().state.index, 10);
    wait(Marking::Reached(15));
    bench.durable.close();
    assert_eq!(Mark::open(&path).unwrap().state.index, 15);
}
