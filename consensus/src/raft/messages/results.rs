//! How results of proposals and of changes of members travel back.

use serde::{Deserialize, Serialize};
use verdict_config::{Code, Fault};

use crate::apply::{Applied, AppliedChange};
use crate::command::{EnvelopeError, ObjectIdV1, Op};
use crate::error::{ChangeRefused, Conflict, ProposeError};
use crate::proof::Denied;
use crate::raft::members::{MemberAnswer, MemberPlan, MembershipError, PlannedMember};

/// The result of a proposal.
pub type ProposalResultV1 = Result<AppliedV1, ProposeErrorV1>;

#[derive(Serialize, Deserialize)]
pub struct AppliedV1 {
    revision: u64,
    applied: Vec<(ObjectIdV1, Op)>,
    repeated: bool,
}

/// Why a proposal failed. Grows at its end only.
#[derive(Serialize, Deserialize)]
pub enum ProposeErrorV1 {
    Conflict(Vec<ConflictV1>),
    RequestIdConflict { request_id: String, revision: u64 },
    TooOld { request_id: String },
    Invalid(Vec<FaultV1>),
    NotRetained { revision: u64, oldest: u64, newest: u64 },
    Overloaded,
    Draining,
    Storage(String),
    NoLeader,
    OutcomeUnknown,
    Denied { code: String, detail: String },
    NeverMade { revision: u64, after: u64, from: u64 },
}

/// A refusal for want of proof, as it was sent. A newer program may know codes that this one does not.
fn denied(code: &str, detail: String) -> Denied {
    Denied { code: Code::from_text(code).unwrap_or(Code::Forbidden), detail }
}

#[derive(Serialize, Deserialize)]
pub struct ConflictV1 {
    object: ObjectIdV1,
    expected_revision: Option<u64>,
    found_revision: u64,
    message: String,
}

#[derive(Serialize, Deserialize)]
pub struct FaultV1 {
    path: String,
    code: String,
    message: String,
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
}

impl From<Fault> for FaultV1 {
    fn from(fault: Fault) -> Self {
        Self {
            path: fault.path,
            code: fault.code.as_str().to_owned(),
            message: fault.message,
            file: fault.file,
            line: fault.line,
            column: fault.column,
        }
    }
}

impl From<FaultV1> for Fault {
    fn from(fault: FaultV1) -> Self {
        // A newer program may know codes that this one does not.
        let known = Code::ALL.iter().find(|code| code.as_str() == fault.code);
        Self {
            path: fault.path,
            code: known.copied().unwrap_or(Code::ChangeInvalid),
            message: fault.message,
            file: fault.file,
            line: fault.line,
            column: fault.column,
        }
    }
}

/// A result as it is sent.
pub fn to_wire(result: Result<Applied, ProposeError>) -> ProposalResultV1 {
    match result {
        Ok(applied) => {
            let changes = applied.applied.iter().map(|change| ((&change.object).into(), change.op));
            Ok(AppliedV1 {
                revision: applied.revision,
                applied: changes.collect(),
                repeated: applied.repeated,
            })
        }
        Err(error) => Err(match error {
            ProposeError::Refused(refused) => refusal(refused),
            ProposeError::Overloaded => ProposeErrorV1::Overloaded,
            ProposeError::Draining => ProposeErrorV1::Draining,
            ProposeError::Storage(detail) => ProposeErrorV1::Storage(detail),
            // The node that was asked looks for another leader.
            ProposeError::NoLeader | ProposeError::ClockDoubtful => ProposeErrorV1::NoLeader,
            ProposeError::OutcomeUnknown => ProposeErrorV1::OutcomeUnknown,
            ProposeError::Denied(Denied { code, detail }) => {
                ProposeErrorV1::Denied { code: code.as_str().to_owned(), detail }
            }
        }),
    }
}

fn refusal(refused: ChangeRefused) -> ProposeErrorV1 {
    match refused {
        ChangeRefused::Conflict(conflicts) => {
            let conflict = |conflict: Conflict| ConflictV1 {
                object: (&conflict.object).into(),
                expected_revision: conflict.expected_revision,
                found_revision: conflict.found_revision,
                message: conflict.message,
            };
            ProposeErrorV1::Conflict(conflicts.into_iter().map(conflict).collect())
        }
        ChangeRefused::RequestIdConflict { request_id, revision } => {
            ProposeErrorV1::RequestIdConflict { request_id, revision }
        }
        ChangeRefused::TooOld { request_id } => ProposeErrorV1::TooOld { request_id },
        ChangeRefused::Invalid(faults) => {
            ProposeErrorV1::Invalid(faults.into_iter().map(Into::into).collect())
        }
        ChangeRefused::NotRetained { revision, oldest, newest } => {
            ProposeErrorV1::NotRetained { revision, oldest, newest }
        }
        ChangeRefused::NeverMade { revision, after, from } => {
            ProposeErrorV1::NeverMade { revision, after, from }
        }
    }
}

/// Reads a result.
pub fn from_wire(result: ProposalResultV1) -> Result<Result<Applied, ProposeError>, EnvelopeError> {
    let error = match result {
        Ok(applied) => {
            let change = |(object, op): (ObjectIdV1, Op)| {
                Ok::<_, EnvelopeError>(AppliedChange { object: object.try_into()?, op })
            };
            let changes = applied.applied.into_iter().map(change).collect::<Result<_, _>>()?;
            let AppliedV1 { revision, repeated, .. } = applied;
            return Ok(Ok(Applied { revision, applied: changes, repeated }));
        }
        Err(error) => error,
    };
    let refused = match error {
        ProposeErrorV1::Conflict(conflicts) => {
            let conflict = |conflict: ConflictV1| {
                Ok::<_, EnvelopeError>(Conflict {
                    object: conflict.object.try_into()?,
                    expected_revision: conflict.expected_revision,
                    found_revision: conflict.found_revision,
                    message: conflict.message,
                })
            };
            ChangeRefused::Conflict(conflicts.into_iter().map(conflict).collect::<Result<_, _>>()?)
        }
        ProposeErrorV1::RequestIdConflict { request_id, revision } => {
            ChangeRefused::RequestIdConflict { request_id, revision }
        }
        ProposeErrorV1::TooOld { request_id } => ChangeRefused::TooOld { request_id },
        ProposeErrorV1::Invalid(faults) => {
            ChangeRefused::Invalid(faults.into_iter().map(Into::into).collect())
        }
        ProposeErrorV1::NotRetained { revision, oldest, newest } => {
            ChangeRefused::NotRetained { revision, oldest, newest }
        }
        ProposeErrorV1::NeverMade { revision, after, from } => {
            ChangeRefused::NeverMade { revision, after, from }
        }
        ProposeErrorV1::Overloaded => return Ok(Err(ProposeError::Overloaded)),
        ProposeErrorV1::Draining => return Ok(Err(ProposeError::Draining)),
        ProposeErrorV1::Storage(detail) => return Ok(Err(ProposeError::Storage(detail))),
        ProposeErrorV1::NoLeader => return Ok(Err(ProposeError::NoLeader)),
        ProposeErrorV1::OutcomeUnknown => return Ok(Err(ProposeError::OutcomeUnknown)),
        ProposeErrorV1::Denied { code, detail } => {
            return Ok(Err(ProposeError::Denied(denied(&code, detail))));
        }
    };
    Ok(Err(ProposeError::Refused(refused)))
}

/// The result of a change of members.
#[derive(Serialize, Deserialize)]
pub enum MemberResultV1 {
    Done,
    Allocated { node_id: u64 },
    NoLeader,
    Refused(String),
    InProgress,
    OutcomeUnknown,
    Storage(String),
    Denied { code: String, detail: String },
}

impl From<Result<MemberAnswer, MembershipError>> for MemberResultV1 {
    fn from(result: Result<MemberAnswer, MembershipError>) -> Self {
        match result {
            Ok(MemberAnswer::Done) => Self::Done,
            Ok(MemberAnswer::Allocated(node_id)) => Self::Allocated { node_id },
            Err(MembershipError::NoLeader) => Self::NoLeader,
            Err(MembershipError::Refused(detail)) => Self::Refused(detail),
            Err(MembershipError::InProgress) => Self::InProgress,
            Err(MembershipError::OutcomeUnknown) => Self::OutcomeUnknown,
            Err(MembershipError::Storage(detail)) => Self::Storage(detail),
            Err(MembershipError::Denied(Denied { code, detail })) => {
                Self::Denied { code: code.as_str().to_owned(), detail }
            }
        }
    }
}

impl From<MemberResultV1> for Result<MemberAnswer, MembershipError> {
    fn from(result: MemberResultV1) -> Self {
        match result {
            MemberResultV1::Done => Ok(MemberAnswer::Done),
            MemberResultV1::Allocated { node_id } => Ok(MemberAnswer::Allocated(node_id)),
            MemberResultV1::NoLeader => Err(MembershipError::NoLeader),
            MemberResultV1::Refused(detail) => Err(MembershipError::Refused(detail)),
            MemberResultV1::InProgress => Err(MembershipError::InProgress),
            MemberResultV1::OutcomeUnknown => Err(MembershipError::OutcomeUnknown),
            MemberResultV1::Storage(detail) => Err(MembershipError::Storage(detail)),
            MemberResultV1::Denied { code, detail } => {
                Err(MembershipError::Denied(denied(&code, detail)))
            }
        }
    }
}

/// What a change of the members would make of them, or why it may not be made.
#[derive(Serialize, Deserialize)]
pub enum PlanResultV1 {
    /// Members by id, and whether they vote.
    Planned { leader: u64, before: Vec<(u64, bool)>, after: Vec<(u64, bool)> },
    /// As the change itself would fail.
    Failed(MemberResultV1),
}

impl From<Result<MemberPlan, MembershipError>> for PlanResultV1 {
    fn from(result: Result<MemberPlan, MembershipError>) -> Self {
        let list = |members: Vec<PlannedMember>| {
            members.into_iter().map(|member| (member.node_id, member.voter)).collect()
        };
        match result {
            Ok(MemberPlan { leader, before, after }) => {
                Self::Planned { leader, before: list(before), after: list(after) }
            }
            Err(error) => Self::Failed(Err(error).into()),
        }
    }
}

impl From<PlanResultV1> for Result<MemberPlan, MembershipError> {
    fn from(result: PlanResultV1) -> Self {
        let list = |members: Vec<(u64, bool)>| {
            let member = |(node_id, voter)| PlannedMember { node_id, voter };
            members.into_iter().map(member).collect()
        };
        match result {
            PlanResultV1::Planned { leader, before, after } => {
                Ok(MemberPlan { leader, before: list(before), after: list(after) })
            }
            PlanResultV1::Failed(failed) => match failed.into() {
                Err(error) => Err(error),
                // Nobody says that a plan failed by having been carried out.
                Ok(_) => Err(MembershipError::OutcomeUnknown),
            },
        }
    }
}
