//! A compute thread and the actor that stands for it in the tree.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use verdict_config::Code;
use verdict_config::model::{ModelOutput, ModelRow};

use super::model::{Ask, Item, ModelQueue};
use super::{InferenceError, ScoreError, Scorer, Shared};
use crate::spawn::panic_text;

/// The shell of one compute thread. It fails when its thread reports a panic; the thread ends with it.
pub(super) struct ComputeThread;

/// What the thread tells its shell.
pub(super) enum ComputeMessage {
    /// A model panicked with this text, and the thread has ended.
    Panicked(String),
}

impl ractor::Message for ComputeMessage {}

/// Ends the thread when the shell's state is dropped, however that happens.
pub(super) struct StopThread {
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Drop for StopThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.shared.wake.notify_all();
    }
}

impl Actor for ComputeThread {
    type Msg = ComputeMessage;
    type State = StopThread;
    type Arguments = (String, Arc<Shared>);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (name, shared): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let stop = Arc::new(AtomicBool::new(false));
        let state = StopThread { stop: Arc::clone(&stop), shared: Arc::clone(&shared) };
        std::thread::Builder::new().name(format!("verdict-{name}")).spawn(move || {
            if let Err(text) = compute(&shared, &stop) {
                // Without a shell the tree is stopping, and nobody needs to know.
                drop(myself.cast(ComputeMessage::Panicked(text)));
            }
        })?;
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ComputeMessage::Panicked(text) => Err(text.into()),
        }
    }
}

/// Runs batches until told to stop or until a model panics; that batch is still answered.
fn compute(shared: &Shared, stop: &AtomicBool) -> Result<(), String> {
    while let Some(model) = shared.next_ready(stop) {
        let batch = shared.take_batch(&model, Instant::now());
        if batch.is_empty() {
            continue;
        }
        let panic = match guarded(|| shared.load(&model)) {
            Ok(Ok(scorer)) => run_batch(shared, &model, &*scorer, batch),
            Ok(Err(error)) => {
                fail_all(&model, batch, &error);
                None
            }
            Err(text) => {
                fail_all(&model, batch, &InferenceError::Panicked(text.clone()));
                Some(text)
            }
        };
        if let Some(text) = panic {
            return Err(text);
        }
    }
    Ok(())
}

fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_text(&*panic))
}

fn fail_all(model: &ModelQueue, batch: Vec<Item>, error: &InferenceError) {
    record_failure(model);
    for item in batch {
        item.ask.fail(error.clone());
    }
}

fn record_failure(model: &ModelQueue) {
    if model.breaker.lock().failed(Instant::now()) {
        metrics::counter!("verdict_circuit_opened_total").increment(1);
        tracing::warn!(model = &*model.hash, "a model failed often: its circuit is open");
    }
}

/// Answers a batch. Returns the text of a panic, if there was one.
fn run_batch(
    shared: &Shared,
    model: &ModelQueue,
    scorer: &dyn Scorer,
    batch: Vec<Item>,
) -> Option<String> {
    let (scores, explanations): (Vec<Item>, Vec<Item>) =
        batch.into_iter().partition(|item| matches!(item.ask, Ask::Score { .. }));
    let mut panic = None;
    for item in explanations {
        if let Err(text) = run_explanation(scorer, item) {
            record_failure(model);
            panic = Some(text);
        }
    }
    if scores.is_empty() {
        return panic;
    }
    let rows: Vec<ModelRow> = scores.iter().map(|item| item.row.clone()).collect();
    let started = Instant::now();
    match guarded(|| predict_checked(scorer, &rows)) {
        Ok(Ok(outputs)) => {
            report_batch(model, rows.len(), started.elapsed());
            model.breaker.lock().succeeded();
            for (item, output) in scores.into_iter().zip(outputs) {
                answer_score(shared, item, Ok(output));
            }
            panic
        }
        // One row spoils the batch: each for itself, so that only that row pays.
        Ok(Err(_)) | Err(_) if scores.len() > 1 => run_singly(shared, model, scorer, scores),
        Ok(Err(error)) => {
            finish_single(shared, model, scores, InferenceError::Failed(error));
            panic
        }
        Err(text) => {
            finish_single(shared, model, scores, InferenceError::Panicked(text.clone()));
            Some(text)
        }
    }
}

fn run_singly(
    shared: &Shared,
    model: &ModelQueue,
    scorer: &dyn Scorer,
    items: Vec<Item>,
) -> Option<String> {
    let mut panic = None;
    for item in items {
        let rows = [item.row.clone()];
        match guarded(|| predict_checked(scorer, &rows)) {
            Ok(Ok(mut outputs)) => {
                model.breaker.lock().succeeded();
                let output = outputs.pop().ok_or_else(|| wrong_count(0, 1));
                answer_score(shared, item, output.map_err(InferenceError::Failed));
            }
            Ok(Err(error)) => {
                finish_single(shared, model, vec![item], InferenceError::Failed(error));
            }
            Err(text) => {
                let error = InferenceError::Panicked(text.clone());
                finish_single(shared, model, vec![item], error);
                panic = Some(text);
            }
        }
    }
    panic
}

/// A row that does not fit is its sender's fault and does not count against the model.
fn finish_single(shared: &Shared, model: &ModelQueue, items: Vec<Item>, error: InferenceError) {
    let fault_of_row =
        matches!(&error, InferenceError::Failed(ScoreError { code: Code::ModelInput, .. }));
    if !fault_of_row {
        record_failure(model);
    }
    for item in items {
        answer_score(shared, item, Err(error.clone()));
    }
}

fn predict_checked(scorer: &dyn Scorer, rows: &[ModelRow]) -> Result<Vec<ModelOutput>, ScoreError> {
    let outputs = scorer.predict(rows)?;
    if outputs.len() == rows.len() {
        return Ok(outputs);
    }
    Err(wrong_count(outputs.len(), rows.len()))
}

fn wrong_count(outputs: usize, rows: usize) -> ScoreError {
    let detail = format!("the model gave {outputs} outputs for {rows} rows");
    ScoreError { code: Code::Internal, detail }
}

fn answer_score(shared: &Shared, item: Item, result: Result<ModelOutput, InferenceError>) {
    if let Ask::Score { key, answer } = item.ask {
        if let Ok(output) = &result {
            shared.cache.insert(key, output);
        }
        // A caller that left needs no answer; the result stays in the cache.
        drop(answer.send(result));
    }
}

fn run_explanation(scorer: &dyn Scorer, item: Item) -> Result<(), String> {
    let Ask::Explain { label, top, answer } = item.ask else { return Ok(()) };
    match guarded(|| scorer.explain(&item.row, label, top)) {
        Ok(result) => {
            drop(answer.send(result.map_err(InferenceError::Failed)));
            Ok(())
        }
        Err(text) => {
            drop(answer.send(Err(InferenceError::Panicked(text.clone()))));
            Err(text)
        }
    }
}

fn report_batch(model: &ModelQueue, rows: usize, took: Duration) {
    model.cost.lock().record(rows, took);
    metrics::histogram!("verdict_inference_batch_seconds").record(took.as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "a batch has few rows")]
    metrics::histogram!("verdict_inference_batch_rows").record(rows as f64);
}
