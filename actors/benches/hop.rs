//! What one hop to a supervised worker costs: five ways to run a short job away from its caller.
//!
//! `inline` is the limit (no hop, a catch of panics only). `queue` is what the crate does. The
//! others are what it was chosen over: ractor's factory, a mailbox an actor, threads of their own.

#![allow(clippy::print_stdout, reason = "a test or a benchmark fails by panicking, and prints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a benchmark")]

use std::future::Future;
use std::hint::black_box;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use ractor::factory::{
    Factory, FactoryArguments, FactoryMessage, Job, JobOptions, Worker, WorkerBuilder, WorkerId,
    queues, routing,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use verdict_actors::pool::{Pool, PoolOptions};
use verdict_actors::supervisor::{Supervisor, TreeEntry};

const WORKERS: usize = 2;
/// About the work of a hundred rules.
const SPINS: u64 = 600;

fn job(seed: u64) -> u64 {
    (0..SPINS).fold(seed, |sum, number| black_box(sum.rotate_left(5) ^ number))
}

struct Mailbox;

impl Actor for Mailbox {
    type Msg = Request;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        Request(seed, answer): Self::Msg,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let _ = answer.send(job(seed));
        Ok(())
    }
}

struct FactoryWorker;

struct Request(u64, oneshot::Sender<u64>);

impl ractor::Message for Request {}

impl Worker for FactoryWorker {
    type Key = u64;
    type Message = Request;
    type Arguments = ();
    type State = ();

    async fn pre_start(
        &self,
        _: WorkerId,
        _: &ActorRef<FactoryMessage<u64, Request>>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: WorkerId,
        _: &ActorRef<FactoryMessage<u64, Request>>,
        Job { msg: Request(seed, answer), key, .. }: Job<u64, Request>,
        (): &mut (),
    ) -> Result<u64, ActorProcessingErr> {
        let _ = answer.send(job(seed));
        Ok(key)
    }
}

struct Builder;

impl WorkerBuilder<FactoryWorker, ()> for Builder {
    fn build(&mut self, _: WorkerId) -> (FactoryWorker, ()) {
        (FactoryWorker, ())
    }
}

type JobFactory = Factory<
    u64,
    Request,
    (),
    FactoryWorker,
    routing::QueuerRouting<u64, Request>,
    queues::DefaultQueue<u64, Request>,
>;

async fn start_factory() -> ActorRef<FactoryMessage<u64, Request>> {
    let arguments = FactoryArguments::builder()
        .worker_builder(Box::new(Builder))
        .queue(queues::DefaultQueue::default())
        .router(routing::QueuerRouting::default())
        .num_initial_workers(WORKERS)
        .build();
    Actor::spawn(None, JobFactory::default(), arguments).await.expect("the factory starts").0
}

type ThreadJob = (u64, oneshot::Sender<u64>);

/// Threads of their own behind one bounded channel.
fn start_threads() -> std::sync::mpsc::SyncSender<ThreadJob> {
    let (send, receive) = std::sync::mpsc::sync_channel::<ThreadJob>(1_024);
    let receive = Arc::new(std::sync::Mutex::new(receive));
    for _ in 0..WORKERS {
        let receive = Arc::clone(&receive);
        std::thread::spawn(move || {
            loop {
                let next = receive.lock().expect("no holder panics").recv();
                let Ok((seed, answer)) = next else { return };
                let _ = answer.send(job(seed));
            }
        });
    }
    send
}

/// Runs `call` from `callers` tasks, as a server does, and gives the time of each call.
fn measure<F, Fut>(runtime: &Runtime, callers: u64, each: u64, call: F) -> Vec<Duration>
where
    F: Fn(u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = u64> + Send,
{
    let call = Arc::new(call);
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let call = Arc::clone(&call);
            runtime.spawn(async move {
                let mut times = Vec::with_capacity(usize::try_from(each).unwrap_or(0));
                for number in 0..each {
                    let started = Instant::now();
                    black_box(call(caller ^ number).await);
                    times.push(started.elapsed());
                }
                times
            })
        })
        .collect();
    runtime.block_on(async {
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.expect("no call panics"));
        }
        all
    })
}

fn report<F, Fut>(runtime: &Runtime, name: &str, call: F)
where
    F: Fn(u64) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = u64> + Send,
{
    for callers in [1, 2, 16] {
        measure(runtime, callers, 2_000, call.clone());
        let started = Instant::now();
        let mut times = measure(runtime, callers, 40_000 / callers, call.clone());
        let elapsed = started.elapsed();
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let rate = times.len() as f64 / elapsed.as_secs_f64();
        eprintln!(
            "{name:10} callers {callers:2}: p50 {:>9.2?} p99 {:>9.2?} p99.9 {:>9.2?} {rate:>9.0}/s",
            at(0.50),
            at(0.99),
            at(0.999)
        );
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("a runtime");
    report(&runtime, "inline", |seed| async move {
        std::panic::catch_unwind(AssertUnwindSafe(|| job(seed))).unwrap_or(0)
    });
    let pool: Pool<()> =
        Pool::new(PoolOptions { name: "rules", workers: WORKERS, jobs_max: 1_024 });
    let root = TreeEntry::new("root", "supervisor");
    runtime.block_on(Supervisor::start_root(root, vec![pool.branch()])).expect("the pool starts");
    let shared = pool.clone();
    report(&runtime, "queue", move |seed| {
        let pool = shared.clone();
        async move {
            let deadline = Instant::now() + Duration::from_secs(10);
            pool.run(deadline, move |()| job(seed)).await.unwrap_or(0)
        }
    });
    let actors: Vec<_> = (0..WORKERS)
        .map(|_| runtime.block_on(Actor::spawn(None, Mailbox, ())).expect("an actor").0)
        .collect();
    report(&runtime, "mailbox", move |seed| {
        let actor = actors[usize::try_from(seed).unwrap_or(0) % WORKERS].clone();
        async move {
            let (answer, answered) = oneshot::channel();
            let _ = actor.cast(Request(seed, answer));
            answered.await.unwrap_or(0)
        }
    });
    let factory = runtime.block_on(start_factory());
    report(&runtime, "factory", move |seed| {
        let factory = factory.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            let msg = Request(seed, answer);
            let job = Job { key: seed, msg, options: JobOptions::default(), accepted: None };
            let _ = factory.cast(FactoryMessage::Dispatch(job));
            answered.await.unwrap_or(0)
        }
    });
    let threads = start_threads();
    report(&runtime, "threads", move |seed| {
        let threads = threads.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            let _ = threads.send((seed, answer));
            answered.await.unwrap_or(0)
        }
    });
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("hop/job_alone", |bench| bench.iter(|| job(black_box(7))));
    criterion.final_summary();
}
