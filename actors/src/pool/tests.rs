use std::time::Duration;

use super::*;
use crate::supervisor::Supervisor;

type TestPool = Pool<u64>;

async fn pool(workers: usize, jobs_max: usize) -> (TestPool, Arc<TreeEntry>) {
    let pool = TestPool::new(PoolOptions { name: "rules", workers, jobs_max });
    let root = TreeEntry::new("root", "supervisor");
    Supervisor::start_root(Arc::clone(&root), vec![pool.branch()]).await.unwrap();
    (pool, root)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[tokio::test]
async fn jobs_run_with_a_scratch_that_lives_as_long_as_its_worker() {
    let (pool, _root) = pool(1, 8).await;
    let count = |scratch: &mut u64| {
        *scratch += 1;
        *scratch
    };
    assert_eq!(pool.run(soon(), count).await, Ok(1));
    assert_eq!(pool.run(soon(), count).await, Ok(2));
    let failed = pool.run(soon(), |_| -> u64 { panic!("deliberate") }).await;
    assert_eq!(failed, Err(PoolError::Panicked("deliberate".into())));
    assert_eq!(pool.run(soon(), count).await, Ok(1), "a restarted worker has fresh scratch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_panics_costs_only_the_requests_that_panic() {
    let (pool, root) = pool(2, 1_000).await;
    let jobs = (0..200u64).map(|number| {
        let pool = pool.clone();
        async move {
            let job = move |_: &mut u64| {
                assert!(!number.is_multiple_of(4), "deliberate {number}");
                number
            };
            (number, pool.run(soon(), job).await)
        }
    });
    for (number, result) in futures::future::join_all(jobs).await {
        let expected = if number.is_multiple_of(4) {
            Err(PoolError::Panicked(format!("deliberate {number}")))
        } else {
            Ok(number)
        };
        assert_eq!(result, expected);
    }
    // The last restarts are counted by messages that may still be on their way.
    let counted = async {
        while root.snapshot().restarts_total() < 50 || !root.snapshot().all_running() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.unwrap();
    assert_eq!(root.snapshot().restarts_total(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_sheds_and_a_caller_that_left_is_skipped() {
    let (pool, _root) = pool(1, 2).await;
    let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let holding = {
        let pool = pool.clone();
        let hold = move |_: &mut u64| begun.send(()).is_ok() && held.recv().is_ok();
        Spawner::default().spawn("test", async move { pool.run(soon(), hold).await })
    };
    has_begun.await.unwrap();
    // This caller leaves while its job waits behind the one that is held.
    let ran = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = Arc::clone(&ran);
    let left = pool.run(Instant::now(), move |_| flag.store(true, Ordering::SeqCst)).await;
    assert_eq!(left, Err(PoolError::DeadlineExceeded));
    assert_eq!(pool.run(soon(), |_| ()).await, Err(PoolError::Overloaded("rules")));
    assert_eq!(pool.shed_total(), 1);
    release.send(()).unwrap();
    assert_eq!(holding.await.unwrap(), Some(Ok(true)));
    while pool.run(soon(), |_| ()).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(!ran.load(Ordering::SeqCst));
}

use crate::spawn::Spawner;
