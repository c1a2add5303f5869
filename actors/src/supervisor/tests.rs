use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;

/// Fails as often as it is told to, counting its starts.
struct Fragile;

#[derive(Clone, Default)]
struct Record {
    starts: Arc<AtomicU64>,
    cell: Arc<parking_lot::Mutex<Option<ActorRef<()>>>>,
}

impl Actor for Fragile {
    type Msg = ();
    type State = ();
    type Arguments = Record;

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        record: Record,
    ) -> Result<(), ActorProcessingErr> {
        record.starts.fetch_add(1, Ordering::SeqCst);
        *record.cell.lock() = Some(myself);
        Ok(())
    }

    async fn handle(&self, _: ActorRef<()>, (): (), (): &mut ()) -> Result<(), ActorProcessingErr> {
        panic!("deliberate")
    }
}

fn policy(restarts_max: usize, exhausted: Exhausted) -> RestartPolicy {
    RestartPolicy {
        window: Duration::from_secs(60),
        restarts_max,
        immediate: restarts_max,
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(1),
        exhausted,
    }
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "never reached: {what}");
}

fn fail(record: &Record) {
    record.cell.lock().as_ref().unwrap().cast(()).unwrap();
}

#[tokio::test]
async fn a_child_that_panics_is_restarted_alone_and_counted() {
    let (fragile, sibling) = (Record::default(), Record::default());
    let root = TreeEntry::new("root", "supervisor");
    let child = |name: &str, record: &Record| {
        let record = record.clone();
        let policy = policy(5, Exhausted::KeepTrying);
        ChildSpec::new::<Fragile, _>(TreeEntry::new(name, "worker"), policy, move || {
            (Fragile, record.clone())
        })
    };
    let children = vec![child("fragile", &fragile), child("sibling", &sibling)];
    let actor = Supervisor::start_root(Arc::clone(&root), children).await.unwrap();
    assert!(root.snapshot().all_running());
    for starts in 2..=4 {
        fail(&fragile);
        until("the restart", || fragile.starts.load(Ordering::SeqCst) == starts).await;
    }
    until("all run", || root.snapshot().all_running()).await;
    let tree = root.snapshot();
    assert_eq!(tree.children[0].restarts, 3);
    assert_eq!(tree.children[0].last_panic.as_deref(), Some("deliberate"));
    assert_eq!(tree.children[1].restarts, 0);
    assert_eq!(sibling.starts.load(Ordering::SeqCst), 1);
    actor.stop_and_wait(None, Some(Duration::from_secs(5))).await.unwrap();
    assert_eq!(root.snapshot().state, NodeState::Stopped);
}

#[tokio::test]
async fn a_child_that_comes_later_is_supervised_like_the_others() {
    let late = Record::default();
    let root = TreeEntry::new("root", "supervisor");
    let actor = Supervisor::start_root(Arc::clone(&root), Vec::new()).await.unwrap();
    let entry = TreeEntry::with_gauge("late", "service", Some(Arc::new(|| (2, 8))));
    let child = ChildSpec::new::<Fragile, _>(entry, policy(5, Exhausted::KeepTrying), {
        let late = late.clone();
        move || (Fragile, late.clone())
    });
    let added = actor.call(|reply| SupervisorMessage::Add(Box::new(child), reply), None).await;
    assert!(matches!(added, Ok(ractor::rpc::CallResult::Success(Ok(())))));
    assert!(root.snapshot().all_running());
    fail(&late);
    until("the restart", || late.starts.load(Ordering::SeqCst) == 2).await;
    until("all run", || root.snapshot().all_running()).await;
    let found = &root.snapshot().children[0];
    assert_eq!((found.name.as_str(), found.restarts), ("late", 1));
    assert_eq!(found.last_panic.as_deref(), Some("deliberate"));
    assert_eq!((found.queue_depth, found.queue_limit), (Some(2), Some(8)));
    actor.stop(None);
}

#[tokio::test]
async fn an_exhausted_child_takes_its_branch_with_it() {
    let (fragile, sibling) = (Record::default(), Record::default());
    let root = TreeEntry::new("root", "supervisor");
    let child = |name: &str, record: &Record| {
        let record = record.clone();
        let policy = policy(2, Exhausted::Escalate);
        ChildSpec::new::<Fragile, _>(TreeEntry::new(name, "worker"), policy, move || {
            (Fragile, record.clone())
        })
    };
    let branch = ChildSpec::branch(
        TreeEntry::new("branch", "supervisor"),
        policy(5, Exhausted::KeepTrying),
        vec![child("fragile", &fragile), child("sibling", &sibling)],
    );
    let actor = Supervisor::start_root(Arc::clone(&root), vec![branch]).await.unwrap();
    for starts in 2..=3 {
        fail(&fragile);
        until("the restart", || fragile.starts.load(Ordering::SeqCst) == starts).await;
    }
    fail(&fragile);
    until("the sibling's restart", || sibling.starts.load(Ordering::SeqCst) == 2).await;
    until("all run", || root.snapshot().all_running()).await;
    let tree = root.snapshot();
    assert_eq!(tree.children[0].restarts, 1, "the branch was restarted once");
    assert!(tree.children[0].last_panic.as_deref().unwrap().contains("fails too often"));
    actor.stop(None);
}
