use indexmap::IndexMap;
use std::time::Duration;
use verdict_config::Code;
use verdict_config::model::{ColumnKind, ModelColumn, ModelManifest, ModelTask, ModelValue};

use super::*;
use crate::supervisor::Supervisor;

/// A model whose answer is its only number; it panics, fails or waits on numbers that say so.
struct TestModel {
    manifest: ModelManifest,
    gate: Arc<(Mutex<bool>, Condvar)>,
    batches: Arc<Mutex<Vec<usize>>>,
}

const PANIC: f64 = -1.0;
const BAD_ROW: f64 = -2.0;
const HOLD: f64 = -3.0;

fn manifest() -> ModelManifest {
    ModelManifest {
        format: 1,
        name: "test".into(),
        version: "1".into(),
        task: ModelTask::Classification,
        network: "test".into(),
        labels: vec!["a".into(), "b".into()],
        positive_label: None,
        columns: vec![ModelColumn { name: "x".into(), kind: ColumnKind::Number }],
        temperature: 1.0,
        ood_threshold: None,
        metrics: IndexMap::new(),
        training_data_sha256: None,
        seed: 0,
        parent: None,
        licence: None,
        reference_profile: None,
    }
}

impl Scorer for TestModel {
    fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    fn predict(&self, rows: &[ModelRow]) -> Result<Vec<ModelOutput>, ScoreError> {
        self.batches.lock().push(rows.len());
        rows.iter()
            .map(|row| match row[0] {
                ModelValue::Number(number) => {
                    assert!(number != PANIC, "deliberate");
                    if number == BAD_ROW {
                        let detail = "bad row".to_owned();
                        return Err(ScoreError { code: Code::ModelInput, detail });
                    }
                    if number == HOLD {
                        let (open, opened) = &*self.gate;
                        let mut open = open.lock();
                        while !*open {
                            opened.wait(&mut open);
                        }
                    }
                    Ok(number)
                }
                _ => Ok(0.0),
            })
            .map(|score| {
                #[expect(clippy::cast_possible_truncation)]
                score.map(|score| ModelOutput {
                    scores: vec![score as f32],
                    ood_distance: None,
                    kernel: "test".into(),
                })
            })
            .collect()
    }

    fn explain(
        &self,
        _: &ModelRow,
        label: usize,
        _: usize,
    ) -> Result<Vec<Contribution>, ScoreError> {
        assert!(label < 2, "deliberate");
        Ok(vec![Contribution { column: "x".into(), feature: "1".into(), value: 0.5 }])
    }

    fn bytes(&self) -> usize {
        1_000
    }
}

#[derive(Default)]
struct TestLoader {
    gate: Arc<(Mutex<bool>, Condvar)>,
    batches: Arc<Mutex<Vec<usize>>>,
    loads: AtomicU64,
}

impl TestLoader {
    fn open_gate(&self) {
        *self.gate.0.lock() = true;
        self.gate.1.notify_all();
    }
}

impl ModelLoader for TestLoader {
    fn load(&self, content_hash: &str) -> Result<Arc<dyn Scorer>, ScoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        if content_hash == "absent" {
            let detail = "absent".to_owned();
            return Err(ScoreError { code: Code::ModelNotFound, detail });
        }
        Ok(Arc::new(TestModel {
            manifest: manifest(),
            gate: Arc::clone(&self.gate),
            batches: Arc::clone(&self.batches),
        }))
    }
}

async fn start(options: InferenceOptions) -> (Inference, Arc<TestLoader>, Arc<TreeEntry>) {
    let loader = Arc::new(TestLoader::default());
    let inference = Inference::new(options, Arc::clone(&loader) as Arc<dyn ModelLoader>);
    let root = TreeEntry::new("root", "supervisor");
    Supervisor::start_root(Arc::clone(&root), vec![inference.branch()]).await.unwrap();
    (inference, loader, root)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn row(number: f64) -> ModelRow {
    vec![ModelValue::Number(number)]
}

fn model(name: &str) -> Arc<str> {
    name.into()
}

async fn score(inference: &Inference, number: f64) -> Result<f32, InferenceError> {
    let output = inference.predict(&model("m"), row(number), soon()).await?;
    Ok(output.scores[0])
}

async fn until(mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
}

#[tokio::test]
async fn rows_that_wait_become_one_batch_and_a_panic_costs_one_of_them() {
    let (inference, loader, root) = start(InferenceOptions::default()).await;
    let held = {
        let inference = inference.clone();
        crate::spawn::Spawner::default().spawn("test", async move { score(&inference, HOLD).await })
    };
    until(|| *loader.batches.lock() == [1]).await;
    let waiting: Vec<_> = [1.0, PANIC, 2.0, BAD_ROW, 3.0]
        .into_iter()
        .map(|number| {
            let inference = inference.clone();
            crate::spawn::Spawner::default()
                .spawn("test", async move { score(&inference, number).await })
        })
        .collect();
    until(|| root.snapshot().children[0].queue_depth == Some(5)).await;
    loader.open_gate();
    let mut answers = Vec::new();
    for task in waiting {
        answers.push(task.await.unwrap().unwrap());
    }
    let bad_row = ScoreError { code: Code::ModelInput, detail: "bad row".into() };
    assert_eq!(
        answers,
        [
            Ok(1.0),
            Err(InferenceError::Panicked("deliberate".into())),
            Ok(2.0),
            Err(InferenceError::Failed(bad_row)),
            Ok(3.0),
        ]
    );
    assert_eq!(held.await.unwrap().unwrap(), Ok(-3.0));
    assert_eq!(*loader.batches.lock(), [1, 5, 1, 1, 1, 1, 1], "one batch, then each for itself");
    until(|| root.snapshot().restarts_total() == 1).await;
    assert_eq!(score(&inference, 4.0).await, Ok(4.0), "the thread was restarted");
}

#[tokio::test]
async fn results_are_cached_by_model_and_row() {
    let (inference, loader, _root) = start(InferenceOptions::default()).await;
    for _ in 0..3 {
        assert_eq!(score(&inference, 7.0).await, Ok(7.0));
    }
    assert_eq!(loader.batches.lock().len(), 1);
    inference.predict(&model("other"), row(7.0), soon()).await.unwrap();
    assert_eq!(loader.batches.lock().len(), 2);
}

#[tokio::test]
async fn a_model_that_fails_in_a_row_is_given_a_rest() {
    let breaker = BreakerOptions { failures_max: 3, open_for: Duration::from_secs(3_600) };
    let (inference, _loader, root) =
        start(InferenceOptions { breaker, ..InferenceOptions::default() }).await;
    for _ in 0..3 {
        let panicked = Err(InferenceError::Panicked("deliberate".into()));
        assert_eq!(score(&inference, PANIC).await, panicked);
    }
    assert_eq!(score(&inference, 1.0).await, Err(InferenceError::CircuitOpen));
    assert_eq!(inference.status().circuits_open, ["m"]);
    let other = inference.predict(&model("other"), row(1.0), soon()).await;
    assert!(other.is_ok(), "the circuit is the model's own");
    until(|| root.snapshot().restarts_total() == 3).await;
}

#[tokio::test]
async fn a_full_queue_sheds_and_a_late_caller_is_told() {
    let options = InferenceOptions { queue_rows_max: 1, ..InferenceOptions::default() };
    let (inference, loader, root) = start(options).await;
    let hold = |number: f64| {
        let inference = inference.clone();
        crate::spawn::Spawner::default()
            .spawn("test", async move { score(&inference, number).await })
    };
    let held = hold(HOLD);
    until(|| loader.batches.lock().len() == 1).await;
    let waits = hold(1.0);
    until(|| root.snapshot().children[0].queue_depth == Some(1)).await;
    assert_eq!(score(&inference, 2.0).await, Err(InferenceError::Overloaded));
    let late = inference.predict(&model("other"), row(1.0), Instant::now()).await;
    assert_eq!(late, Err(InferenceError::DeadlineExceeded));
    loader.open_gate();
    assert_eq!(held.await.unwrap().unwrap(), Ok(-3.0));
    assert_eq!(waits.await.unwrap().unwrap(), Ok(1.0));
}

#[tokio::test]
async fn explanations_and_absent_models_are_answered() {
    let (inference, _loader, root) = start(InferenceOptions::default()).await;
    let explained = inference.explain(&model("m"), row(1.0), (1, 5), soon()).await.unwrap();
    assert_eq!(explained[0].column, "x");
    let panicked = inference.explain(&model("m"), row(1.0), (9, 5), soon()).await;
    assert_eq!(panicked, Err(InferenceError::Panicked("deliberate".into())));
    let absent = inference.predict(&model("absent"), row(1.0), soon()).await.unwrap_err();
    assert!(matches!(absent, InferenceError::Failed(error) if error.code == Code::ModelNotFound));
    until(|| root.snapshot().restarts_total() == 1).await;
}

#[tokio::test]
async fn two_hundred_swaps_leave_memory_flat() {
    let (inference, loader, _root) = start(InferenceOptions::default()).await;
    let mut before: Option<Arc<str>> = None;
    for number in 0..200 {
        let next = model(&format!("version-{number}"));
        inference.warm(&next).unwrap();
        inference.predict(&next, row(1.0), soon()).await.unwrap();
        inference.retain(&before.into_iter().chain([Arc::clone(&next)]).collect());
        let status = inference.status();
        assert!(status.resident_bytes <= 2_000 && status.models <= 2, "{status:?}");
        before = Some(next);
    }
    assert_eq!(loader.loads.load(Ordering::SeqCst), 200);
}

#[tokio::test]
async fn models_beyond_the_limit_are_unloaded_and_loaded_again_when_asked() {
    let options = InferenceOptions { resident_bytes_max: 2_000, ..InferenceOptions::default() };
    let (inference, loader, _root) = start(options).await;
    for name in ["a", "b", "c"] {
        inference.warm(&model(name)).unwrap();
    }
    assert_eq!(inference.status().models_loaded, 2);
    assert!(inference.predict(&model("a"), row(1.0), soon()).await.is_ok());
    assert_eq!(loader.loads.load(Ordering::SeqCst), 4, "the least recently used was unloaded");
    assert_eq!(inference.status().resident_bytes, 2_000);
}
