//! The thread that appends.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::folder::{io, write_whole};
use super::frames::{self, FILE_HEAD_BYTES, push_frame};
use super::recovery::{State, log_name};
use super::{LocalLogOptions, Message, Reply, snapshots};
use crate::apply::{Applied, apply};
use crate::catalogue::Catalogue;
use crate::command::{Author, BODY_BYTES_MAX, ChangeSet, Command, Propose};
use crate::error::{LogError, ProposeError, disk_failure};
use crate::log::LogStatus;

pub struct Writer {
    state: State,
    options: LocalLogOptions,
    publish: watch::Sender<Arc<Catalogue>>,
    status: Arc<Mutex<LogStatus>>,
    /// Commands since the last attempt at a snapshot.
    commands: u64,
    /// Bytes of the file at which the next attempt is made.
    snapshot_at_bytes: u64,
}

/// Proposals that share one write and one sync.
struct Group {
    catalogue: Arc<Catalogue>,
    index: u64,
    frames: Vec<u8>,
    accepted: Vec<(Reply, Applied)>,
    taken: u64,
}

impl Writer {
    pub fn new(
        state: State,
        options: LocalLogOptions,
        publish: watch::Sender<Arc<Catalogue>>,
        status: Arc<Mutex<LogStatus>>,
    ) -> Self {
        let snapshot_at_bytes = options.snapshot_bytes;
        Self { state, options, publish, status, commands: 0, snapshot_at_bytes }
    }

    /// Works until the log is closed, or the disk fails.
    pub fn run(mut self, receiver: &Receiver<Message>) {
        let mut open = true;
        while open {
            let Ok(Message::Propose { change_set, author, reply }) = receiver.recv() else { break };
            let mut group = self.group();
            self.take(&mut group, *change_set, author, reply);
            while (group.taken as usize) < self.options.group_max
                && group.frames.len() < BODY_BYTES_MAX
            {
                match receiver.try_recv() {
                    Ok(Message::Propose { change_set, author, reply }) => {
                        self.take(&mut group, *change_set, author, reply);
                    }
                    Ok(Message::Close) => {
                        open = false;
                        break;
                    }
                    Err(_) => break,
                }
            }
            if let Err(failure) = self.commit(group) {
                self.refuse_all(receiver, &failure);
                return;
            }
            self.snapshot_if_due();
        }
        // What was sent before the end is answered, not dropped.
        self.finish(receiver);
    }

    fn finish(&mut self, receiver: &Receiver<Message>) {
        let mut group = self.group();
        while let Ok(message) = receiver.try_recv() {
            if let Message::Propose { change_set, author, reply } = message {
                self.take(&mut group, *change_set, author, reply);
            }
        }
        if let Err(failure) = self.commit(group) {
            self.refuse_all(receiver, &failure);
        }
    }

    fn group(&self) -> Group {
        Group {
            catalogue: Arc::clone(&self.state.catalogue),
            index: self.state.index,
            frames: Vec::new(),
            accepted: Vec::new(),
            taken: 0,
        }
    }

    /// Applies one proposal to the group's catalogue; a refused one is answered at once.
    fn take(&self, group: &mut Group, change_set: ChangeSet, author: Author, reply: Reply) {
        group.taken += 1;
        let at = (self.options.clock)();
        let author = author.without_proof();
        let command = Command::Propose(Propose { change_set, author, at });
        let index = group.index + 1;
        let transition = apply(&group.catalogue, &command, index, &*self.options.validator);
        let transition = match transition {
            Ok(transition) => transition,
            Err(refused) => {
                self.status.lock().refused += 1;
                let _ = reply.send(Err(refused.into()));
                return;
            }
        };
        if !transition.applied.repeated {
            match command.encode() {
                Ok(bytes) => push_frame(&mut group.frames, index, &bytes),
                Err(error) => {
                    let _ = reply.send(Err(ProposeError::Storage(error.to_string())));
                    return;
                }
            }
            group.index = index;
            group.catalogue = Arc::new(transition.catalogue);
        }
        // A retry waits as well: what it repeats may stand in this very group.
        group.accepted.push((reply, transition.applied));
    }

    /// Makes a group durable, shows it, and answers.
    fn commit(&mut self, group: Group) -> Result<(), String> {
        let appended = group.index > self.state.index;
        if appended {
            let started = Instant::now();
            if let Err(error) = self.append(&group) {
                let failure = disk_failure(&error.to_string());
                tracing::error!(code = %error.code(), %error, "the log takes no more changes");
                self.status.lock().failed = Some(failure.clone());
                for (reply, _) in group.accepted {
                    let _ = reply.send(Err(ProposeError::Storage(failure.clone())));
                }
                return Err(failure);
            }
            let sync_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.commands += group.index - self.state.index;
            self.state.index = group.index;
            self.state.catalogue = Arc::clone(&group.catalogue);
            self.status.lock().sync_us_last = sync_us;
        }
        {
            let mut status = self.status.lock();
            status.waiting = status.waiting.saturating_sub(group.taken);
            status.applied += group.accepted.iter().filter(|(_, a)| !a.repeated).count() as u64;
            status.last_index = self.state.index;
            status.revision = self.state.catalogue.revision();
            status.log_bytes = self.state.file_bytes;
        }
        if appended {
            self.publish.send_replace(group.catalogue);
        }
        for (reply, applied) in group.accepted {
            let _ = reply.send(Ok(applied));
        }
        Ok(())
    }

    fn append(&mut self, group: &Group) -> Result<(), LogError> {
        let state = &mut self.state;
        state
            .file
            .write_all(&group.frames)
            .and_then(|()| state.file.sync_data())
            .map_err(|source| io(&state.file_path, source))?;
        state.file_bytes += group.frames.len() as u64;
        state.mark.advance(group.index)
    }

    fn refuse_all(&self, receiver: &Receiver<Message>, failure: &str) {
        while let Ok(message) = receiver.recv() {
            match message {
                Message::Propose { reply, .. } => {
                    let _ = reply.send(Err(ProposeError::Storage(failure.to_owned())));
                }
                Message::Close => return,
            }
        }
    }

    /// A failed snapshot costs nothing but room: the log goes on, and it is tried again later.
    fn snapshot_if_due(&mut self) {
        let due = self.commands >= self.options.snapshot_commands
            || self.state.file_bytes >= self.snapshot_at_bytes;
        if !due {
            return;
        }
        self.commands = 0;
        self.snapshot_at_bytes = self.state.file_bytes.saturating_add(self.options.snapshot_bytes);
        match self.snapshot() {
            Ok(()) => {
                self.snapshot_at_bytes = self.options.snapshot_bytes;
                let mut status = self.status.lock();
                status.snapshot_index = self.state.snapshot_index;
                status.log_bytes = self.state.file_bytes;
            }
            Err(error) => tracing::warn!(code = %error.code(), %error, "no snapshot was made"),
        }
    }

    /// Writes a snapshot and begins a new log file; then lets go of what neither the new snapshot
    /// nor the one before it needs.
    fn snapshot(&mut self) -> Result<(), LogError> {
        let state = &mut self.state;
        if state.index == state.snapshot_index {
            return Ok(());
        }
        snapshots::write(&state.folder, state.index, &state.catalogue)?;
        let name = log_name(state.index + 1);
        write_whole(&state.folder.path, &name, &frames::file_head())?;
        let path = state.folder.path.join(&name);
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| io(&path, e))?;
        (state.file, state.file_path) = (file, path);
        state.file_bytes = FILE_HEAD_BYTES as u64;
        let previous = state.snapshot_index;
        state.snapshot_index = state.index;
        for (index, path) in state.folder.numbered("snapshot", ".vsnap")? {
            if index < previous {
                fs::remove_file(&path).map_err(|source| io(&path, source))?;
            }
        }
        // A file is needed if the next one begins behind the first command that is.
        let logs = state.folder.numbered("log", ".vlog")?;
        for pair in logs.windows(2) {
            if pair[1].0 <= previous + 1 {
                fs::remove_file(&pair[0].1).map_err(|source| io(&pair[0].1, source))?;
            }
        }
        Ok(())
    }
}
