//! The store on a real disk, and bringing folders from sources that fail in every way.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use verdict_config::Code;

use super::*;

fn files() -> Files {
    Files::from([
        ("model.json".to_owned(), b"{}".to_vec()),
        ("weights/a.safetensors".to_owned(), vec![1, 2, 3]),
    ])
}

#[test]
fn a_folder_is_read_back_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let hash = store.stage(&files()).unwrap().hash;
    let again = store.stage(&files()).unwrap();
    assert_eq!((&again.hash, again.new), (&hash, false), "staging again changes nothing");
    assert_eq!(store.read(&hash).unwrap(), files());
    fs::write(folder.path().join(&hash).join("model.json"), b"[]").unwrap();
    let error = store.read(&hash).unwrap_err();
    assert_eq!(error.code(), Code::StateDamaged);
    let again = store.stage(&files()).unwrap();
    assert_eq!((&again.hash, again.new), (&hash, true), "staging again repairs it");
    assert_eq!(store.read(&hash).unwrap(), files());
    let absent = store.read(&"0".repeat(64)).unwrap_err();
    assert_eq!(absent.code(), Code::ModelNotFound);
}

#[test]
fn what_is_here_is_told_with_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    assert_eq!(store.holdings().unwrap(), Holdings::default());
    fs::create_dir(folder.path().join(format!(".partial-{}", "a".repeat(64)))).unwrap();
    let hash = store.stage(&files()).unwrap().hash;
    let object = store.put_object(b"body").unwrap();
    let expected = Holdings {
        folders: vec![Held { hash, bytes: 5 }],
        objects: vec![Held { hash: object, bytes: 4 }],
        left_out: 0,
    };
    assert_eq!(store.holdings().unwrap(), expected);
}

#[test]
fn what_is_left_half_written_is_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".staging-1-0")).unwrap();
    BlobStore::open(folder.path()).unwrap();
    assert!(!folder.path().join(".staging-1-0").exists());
}

#[test]
fn folders_go_an_hour_after_the_last_reference() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let hash = store.stage(&files()).unwrap().hash;
    let start = Instant::now();
    let collect = |named: bool, minutes: u64| {
        let referenced = named.then(|| hash.clone()).into_iter().collect();
        let now = start + Duration::from_secs(60 * minutes);
        store.collect_garbage(&referenced, LogSpan::default(), now).unwrap()
    };
    assert!(collect(false, 0).is_empty());
    assert!(collect(false, 59).is_empty());
    assert!(collect(true, 60).is_empty(), "a reference begins the hour anew");
    assert!(collect(false, 61).is_empty());
    assert!(collect(false, 120).is_empty());
    assert_eq!(collect(false, 121), std::slice::from_ref(&hash));
    assert!(!store.contains(&hash));
}

#[test]
fn paths_that_lead_out_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    for path in ["../x", "/etc/x", "", "a/../../x"] {
        let files = Files::from([(path.to_owned(), vec![])]);
        assert_eq!(store.stage(&files).unwrap_err().code(), Code::ModelInvalid, "{path}");
    }
    assert_eq!(store.read("../../etc").unwrap_err().code(), Code::ModelInvalid);
}

/// What a source does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Gives nothing behind so many bytes of a file.
    CutAt(u64),
    /// Turns a bit of every piece.
    Flips,
    /// Describes another folder.
    OtherFolder,
    /// Tells a length that is not the file's.
    WrongLength,
    Away,
}

/// Nodes that have a folder, each with its fault.
struct Nodes {
    files: Files,
    faults: BTreeMap<u64, Fault>,
    /// (node, offset) of every piece that was asked for.
    asked: Mutex<Vec<(u64, u64)>>,
}

const PIECE: usize = 1_000;

impl Nodes {
    fn new(faults: &[(u64, Fault)]) -> Arc<Self> {
        let faults = faults.iter().copied().collect();
        Arc::new(Self { files: large(), faults, asked: Mutex::default() })
    }

    fn piece(&self, node: u64, bytes: &[u8], offset: u64) -> Result<Vec<u8>, SourceError> {
        self.asked.lock().push((node, offset));
        let fault = self.faults[&node];
        let end = match fault {
            Fault::Away => return Err(SourceError::Away("it is away".to_owned())),
            Fault::CutAt(at) => bytes.len().min(usize::try_from(at).unwrap()),
            _ => bytes.len(),
        };
        let from = usize::try_from(offset).unwrap().min(end);
        let mut piece = bytes[from..end.min(from + PIECE)].to_vec();
        if fault == Fault::Flips && !piece.is_empty() {
            piece[0] ^= 1;
        }
        Ok(piece)
    }

    fn asked_of(&self, node: u64) -> Vec<u64> {
        let asked = self.asked.lock();
        asked.iter().filter(|(of, _)| *of == node).map(|(_, offset)| *offset).collect()
    }
}

impl BlobSource for Nodes {
    fn nodes(&self) -> Vec<u64> {
        self.faults.keys().copied().collect()
    }

    fn describe(
        &self,
        node: u64,
        hash: &str,
    ) -> Result<Vec<verdict_config::model::ModelFile>, SourceError> {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let mut files = store.stage(&self.files).unwrap().files;
        match self.faults[&node] {
            Fault::Away => return Err(SourceError::Away("it is away".to_owned())),
            Fault::OtherFolder => files[0].sha256 = "0".repeat(64),
            Fault::WrongLength => files[1].size -= 1,
            _ => assert_eq!(hash, hash_of(&self.files)),
        }
        Ok(files)
    }

    fn file_piece(
        &self,
        node: u64,
        (_, path): (&str, &str),
        offset: u64,
    ) -> Result<Vec<u8>, SourceError> {
        self.piece(node, &self.files[path], offset)
    }

    fn object_piece(&self, node: u64, _: &str, offset: u64) -> Result<Vec<u8>, SourceError> {
        self.piece(node, &self.files["weights/a.safetensors"], offset)
    }
}

fn large() -> Files {
    let bytes = (0..10_500u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    Files::from([
        ("model.json".to_owned(), b"{}".to_vec()),
        ("weights/a.safetensors".to_owned(), bytes),
    ])
}

fn store_with(folder: &std::path::Path, nodes: &Arc<Nodes>) -> BlobStore {
    let store = BlobStore::open(folder).unwrap();
    store.set_source(Arc::clone(nodes) as Arc<dyn BlobSource>);
    store
}

/// Brings the folder from nodes with these faults; it must come whole, and the counts are given.
fn brought(faults: &[(u64, Fault)]) -> (BlobCounts, Arc<Nodes>) {
    let folder = tempfile::tempdir().unwrap();
    let nodes = Nodes::new(faults);
    let store = store_with(folder.path(), &nodes);
    let hash = hash_of(&large());
    assert_eq!(store.obtain(&hash).unwrap(), large(), "{faults:?}");
    assert!(!folder.path().join(format!(".partial-{hash}")).exists());
    (store.counts(), nodes)
}

#[test]
fn a_folder_is_brought_piece_by_piece_and_once() {
    let (counts, nodes) = brought(&[(2, Fault::None)]);
    assert_eq!((counts.brought, counts.lies, counts.cut_short), (1, 0, 0));
    assert_eq!(counts.bytes, 10_502);
    assert_eq!(nodes.asked.lock().len(), 1 + 11);
}

#[test]
fn a_node_that_lies_is_counted_and_another_is_asked() {
    for fault in [Fault::Flips, Fault::OtherFolder, Fault::WrongLength] {
        let (counts, nodes) = brought(&[(2, fault), (3, Fault::None)]);
        assert_eq!((counts.brought, counts.lies), (1, 1), "{fault:?}");
        if fault != Fault::WrongLength {
            // Nothing of what the liar gave is kept: both files came whole from the other.
            assert_eq!(nodes.asked_of(3).iter().filter(|offset| **offset == 0).count(), 2);
        }
    }
}

#[test]
fn a_node_that_cuts_short_is_continued_by_another() {
    let (counts, nodes) = brought(&[(2, Fault::CutAt(4_000)), (3, Fault::Away), (4, Fault::None)]);
    assert_eq!((counts.brought, counts.lies, counts.cut_short), (1, 0, 1));
    assert_eq!(counts.bytes_resumed, 4_000);
    assert_eq!(nodes.asked_of(4).first(), Some(&4_000), "the other goes on where it ended");
    assert_eq!(counts.bytes, 10_502, "nothing came twice");
}

#[test]
fn a_lie_among_true_bytes_costs_the_file_and_not_the_fetch() {
    // The first gives true bytes and ends early; the second goes on with wrong ones. What they gave
    // together is thrown away, and the second is found out when it gives all of it.
    let faults = [(2, Fault::CutAt(4_000)), (3, Fault::Flips), (4, Fault::None)];
    let (counts, _) = brought(&faults);
    assert_eq!((counts.brought, counts.lies), (1, 1));
}

#[test]
fn a_fetch_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let hash = hash_of(&large());
    let first = Nodes::new(&[(2, Fault::CutAt(7_000))]);
    let store = store_with(folder.path(), &first);
    assert_eq!(store.obtain(&hash).unwrap_err().code(), Code::ModelNotFound);
    assert_eq!(store.counts().given_up, 1);
    drop(store);
    let second = Nodes::new(&[(3, Fault::None)]);
    let store = store_with(folder.path(), &second);
    assert_eq!(store.obtain(&hash).unwrap(), large());
    assert_eq!(second.asked_of(3), [7_000, 8_000, 9_000, 10_000]);
    assert_eq!(store.counts().bytes_resumed, 7_000);
}

#[test]
fn what_an_earlier_process_left_damaged_is_brought_anew() {
    let folder = tempfile::tempdir().unwrap();
    let hash = hash_of(&large());
    let partial = folder.path().join(format!(".partial-{hash}/weights"));
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("a.safetensors"), vec![7; 5_000]).unwrap();
    let nodes = Nodes::new(&[(2, Fault::None)]);
    let store = store_with(folder.path(), &nodes);
    assert_eq!(store.obtain(&hash).unwrap(), large());
    assert_eq!(store.counts().lies, 0, "nobody is blamed for what lay here");
}

#[test]
fn what_nobody_gives_is_not_asked_for_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = Nodes::new(&[(2, Fault::Away)]);
    let store = store_with(folder.path(), &nodes);
    let hash = hash_of(&large());
    store.obtain(&hash).unwrap_err();
    let counts = store.counts();
    store.obtain(&hash).unwrap_err();
    assert_eq!(store.counts(), counts);
}

#[test]
fn an_object_is_stored_read_and_brought_by_its_hash() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let body = large()["weights/a.safetensors"].clone();
    let store = BlobStore::open(here.path()).unwrap();
    let hash = store.put_object(&body).unwrap();
    assert_eq!(hash, verdict_config::model::sha256_hex(&body));
    assert_eq!(store.object(&hash).unwrap(), body);
    assert_eq!(store.object_piece(&hash, (10_000, 1_000)).unwrap(), &body[10_000..]);
    let nodes = Nodes::new(&[(2, Fault::CutAt(3_000)), (3, Fault::Flips), (4, Fault::None)]);
    let store = store_with(there.path(), &nodes);
    store.fetch_object((&hash, body.len() as u64), None).unwrap();
    assert_eq!(store.object(&hash).unwrap(), body);
    fs::write(there.path().join("objects").join(&hash), b"x").unwrap();
    assert_eq!(store.object(&hash).unwrap_err().code(), Code::StateDamaged);
    assert!(store.fetch_object((&hash, OBJECT_BYTES_MAX + 1), None).is_err());
}

#[test]
fn objects_and_parts_are_collected_like_folders() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let named = store.put_object(b"named").unwrap();
    let unnamed = store.put_object(b"unnamed").unwrap();
    let part = "ab".repeat(32);
    fs::create_dir(folder.path().join(format!(".partial-{part}"))).unwrap();
    let (start, referenced) = (Instant::now(), [named.clone()].into());
    let collect = |purged_index: u64, last_index: u64, now: Instant| {
        let span = LogSpan { purged_index, last_index };
        store.collect_garbage(&referenced, span, now).unwrap()
    };
    assert!(collect(3, 10, start).is_empty());
    assert_eq!(collect(9, 15, start + UNREFERENCED_KEPT), [part], "an entry may name the object");
    assert_eq!(collect(10, 20, start + UNREFERENCED_KEPT), [unnamed]);
    assert_eq!(store.object(&named).unwrap(), b"named");
}

#[test]
fn a_folder_that_is_not_finished_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let mut writer = store.writer().unwrap();
    writer.add("a/b", &mut &b"x"[..]).unwrap();
    assert_eq!(writer.add("a/b", &mut &b"y"[..]).unwrap_err().code(), Code::ModelInvalid);
    drop(writer);
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["objects"]);
}

/// Panics once, at a step that was chosen.
fn trap(store: &BlobStore) -> Arc<Mutex<Option<PlaceStep>>> {
    let armed: Arc<Mutex<Option<PlaceStep>>> = Arc::default();
    let trap = Arc::clone(&armed);
    store.set_probe(Arc::new(move |step| {
        let springs = trap.lock().take_if(|armed| *armed == step).is_some();
        assert!(!springs, "a panic at {step:?}, as the test wants it");
    }));
    armed
}

/// Whoever panics while something whole gets its name: what stands under a hash is whole, the next
/// try succeeds, and so does one after a restart.
#[test]
fn a_panic_at_the_renaming_leaves_nothing_half() {
    type Work = fn(&BlobStore) -> Result<(), BlobError>;
    let object = || large()["weights/a.safetensors"].clone();
    let object_hash = verdict_config::model::sha256_hex(&object());
    let ways: [(&str, Work); 4] = [
        ("stage", |store| store.stage(&large()).map(drop)),
        ("fetch", |store| store.obtain(&hash_of(&large())).map(drop)),
        ("put an object", |store| store.put_object(&large()["weights/a.safetensors"]).map(drop)),
        ("fetch an object", |store| {
            let body = large()["weights/a.safetensors"].clone();
            let hash = verdict_config::model::sha256_hex(&body);
            store.fetch_object((&hash, body.len() as u64), None)
        }),
    ];
    let nothing_half = |store: &BlobStore, context: &str| {
        for hash in store.hashes().unwrap() {
            assert!(store.check(&hash).is_ok(), "{context}");
        }
    };
    for (name, work) in ways {
        for (step, damaged) in [PlaceStep::Rename, PlaceStep::Sync]
            .into_iter()
            .flat_map(|step| [(step, false), (step, true)])
        {
            let context = format!("{name}, {step:?}, over a damaged one: {damaged}");
            let folder = tempfile::tempdir().unwrap();
            let nodes = Nodes::new(&[(2, Fault::None)]);
            let store = store_with(folder.path(), &nodes);
            if damaged {
                fs::create_dir(folder.path().join(hash_of(&large()))).unwrap();
                fs::write(folder.path().join("objects").join(&object_hash), b"x").unwrap();
            }
            *trap(&store).lock() = Some(step);
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&store)));
            assert!(caught.is_err(), "never sprung: {context}");
            let again = BlobStore::open(folder.path()).unwrap();
            again.set_source(Arc::clone(&nodes) as Arc<dyn BlobSource>);
            for store in [store, again] {
                if !damaged {
                    nothing_half(&store, &context);
                }
                work(&store).unwrap();
            }
            let store = BlobStore::open(folder.path()).unwrap();
            if name.contains("object") {
                assert_eq!(store.object(&object_hash).unwrap(), object(), "{context}");
            } else {
                assert_eq!(store.read(&hash_of(&large())).unwrap(), large(), "{context}");
            }
            let left = fs::read_dir(folder.path()).unwrap();
            let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            assert!(!left.into_iter().any(|name| name.starts_with(".staging")), "{context}");
        }
    }
}

/// Damage is told once, whoever reads it how often, and once more when it is mended.
#[test]
fn damage_is_noticed_and_mended_from_another_node() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = Nodes::new(&[(2, Fault::Away), (3, Fault::None)]);
    let store = store_with(folder.path(), &nodes);
    let hash = store.stage(&large()).unwrap().hash;
    let body = large()["weights/a.safetensors"].clone();
    let object = store.put_object(&body).unwrap();
    assert_eq!(store.hashes().unwrap(), [hash.clone(), object.clone()].into());
    for all in [&hash, &object] {
        assert!(store.check(all).unwrap() >= body.len() as u64);
    }
    let weights = folder.path().join(&hash).join("weights/a.safetensors");
    fs::write(&weights, &body[..body.len() / 2]).unwrap();
    let mut flipped = body.clone();
    flipped[7] ^= 4;
    fs::write(folder.path().join("objects").join(&object), &flipped).unwrap();
    for _ in 0..3 {
        for all in [&hash, &object] {
            assert_eq!(store.check(all).unwrap_err().code(), Code::StateDamaged);
        }
    }
    let first = store.object_piece(&object, (0, 100)).unwrap_err();
    assert_eq!(first.code(), Code::StateDamaged, "nobody is given what is damaged");
    assert_eq!((store.counts().damaged, store.counts().repaired), (2, 0));
    store.fetch(&hash, None).unwrap();
    store.fetch_object((&object, body.len() as u64), None).unwrap();
    assert_eq!((store.read(&hash).unwrap(), store.object(&object).unwrap()), (large(), body));
    assert_eq!((store.counts().damaged, store.counts().repaired), (2, 2));
}
