//! One request of every command: what the matrix of roles is made of, and what tests go through.

use verdict_config::ObjectKind;

use crate::request::{
    ChangeRequest, MemberRequest, ObjectName, Request, RollbackRequest, RotateRequest, RotationStep,
};
use crate::transfer::{Transfer, TransferPurpose};

/// One request of every command, and of every step of a transfer. None of them changes a cluster
/// whose nodes have ids below 999, but for `drain`, which is the last.
#[must_use]
pub fn every_request() -> Vec<Request> {
    let text = |text: &str| text.to_owned();
    let node_id = 999;
    let (kind, name) = (ObjectKind::Flag, text("no-such-flag"));
    let mut all = vec![
        Request::Status {},
        Request::Members {},
        Request::History { kind: None, name: None, limit: Some(1), cursor: None },
        Request::Diff { from: 1, to: None },
        Request::Objects { kind, names_only: false },
        Request::Object { kind, name: name.clone(), revision: None },
        Request::Explain { id: text("no-such-decision") },
        Request::Actors {},
        Request::Blobs {},
        Request::Readiness { content_hash: "0".repeat(64) },
        Request::Change(ChangeRequest {
            request_id: text("example"),
            why: text("an example"),
            dry_run: true,
            changes: Vec::new(),
        }),
        Request::Rollback(RollbackRequest {
            request_id: text("example"),
            why: text("an example"),
            dry_run: true,
            to_revision: 1,
            // Of everything it would touch keys, which needs more than its own role.
            objects: vec![ObjectName { kind, name: name.clone() }],
        }),
        Request::Refusals {},
        Request::LogLevel { directives: None, for_s: None, dry_run: false },
        Request::ConfirmClock { dry_run: true },
        Request::Token { valid_s: 1, voter: false, why: None, dry_run: false },
        Request::Promote(MemberRequest::new(node_id)),
        Request::Remove(MemberRequest::new(node_id)),
        Request::Replace(MemberRequest::new(node_id)),
        Request::Retire(MemberRequest::new(node_id)),
        Request::Certify { name: text("no-such-key") },
        Request::Renew {},
        Request::Authority {},
        Request::Rotate(RotateRequest {
            step: RotationStep::Install,
            request_id: text("example"),
            why: text("an example"),
            dry_run: true,
        }),
    ];
    let id = || text("01k0v3z6j8q2m5x4t7b9c1d3e5");
    let steps = [
        Transfer::Begin { purpose: TransferPurpose::Model, bytes: Some(1) },
        Transfer::Send { id: id(), offset: 0, data: String::new() },
        Transfer::Stage { id: id() },
        Transfer::State { id: id() },
        Transfer::Read { id: id(), offset: 0 },
        Transfer::End { id: id() },
        Transfer::Begin { purpose: TransferPurpose::Backup, bytes: None },
    ];
    all.extend(steps.map(Request::Transfer));
    all.push(Request::Drain { dry_run: false });
    all
}
