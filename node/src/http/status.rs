//! The one place that says which HTTP status a code has.
//!
//! The match has no wildcard: a new code does not compile until somebody decides its status.

use axum::http::StatusCode;
use verdict_config::Code;

/// The status of a problem whose code is `code`.
#[must_use]
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::InputNotJson
        | Code::InputInvalid
        | Code::OutcomeInvalid
        | Code::ModelInput
        | Code::RequestInvalid
        | Code::EnvelopeInvalid
        | Code::EnvelopeForeign => StatusCode::BAD_REQUEST,
        Code::Unauthenticated
        | Code::OperatorUnknown
        | Code::EnvelopeExpired
        | Code::EnvelopeReplayed => StatusCode::UNAUTHORIZED,
        Code::Forbidden
        | Code::OutOfScope
        | Code::ProofMissing
        | Code::KeyNotInCatalogue
        | Code::ProofInvalid
        | Code::OriginRefused => StatusCode::FORBIDDEN,
        Code::HostRefused => StatusCode::MISDIRECTED_REQUEST,
        Code::FlagNotFound
        | Code::FlowNotFound
        | Code::DecisionNotFound
        | Code::ModelNotFound
        | Code::ObjectNotFound
        | Code::RouteNotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::RequestIdConflict
        | Code::ChangeConflict
        | Code::ChangeTooOld
        | Code::MembershipRefused
        | Code::AuthorityRefused => StatusCode::CONFLICT,
        Code::UnitErased
        | Code::ReplayUnavailable
        | Code::RevisionNotRetained
        | Code::RevisionForeign => StatusCode::GONE,
        Code::RevisionNotReached => StatusCode::PRECONDITION_FAILED,
        Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::MediaTypeUnsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::InvalidName
        | Code::FileUnread
        | Code::InvalidSyntax
        | Code::UnknownKey
        | Code::InvalidValue
        | Code::MissingKey
        | Code::DuplicateName
        | Code::UnknownReference
        | Code::LimitExceeded
        | Code::RuleSyntax
        | Code::RuleType
        | Code::RuleUnknownField
        | Code::RuleTestFailed
        | Code::FlowTestFailed
        | Code::RuleTooCostly
        | Code::TableInvalid
        | Code::FlagInvalid
        | Code::ModelInvalid
        | Code::TrainingData
        | Code::ChangeInvalid => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        Code::StateDamaged
        | Code::StateVersion
        | Code::StateLocked
        | Code::StateGap
        | Code::StateForeign
        | Code::NoLeader
        | Code::OutcomeUnknown
        | Code::PeerUnreachable
        | Code::OutboxFull
        | Code::NotReady
        | Code::NotAVoter
        | Code::NodeRemoved
        | Code::ClockDoubtful
        | Code::LeaderUnknown
        | Code::StorageFailed
        | Code::DeadlineExceeded
        | Code::Draining => StatusCode::SERVICE_UNAVAILABLE,
        Code::SettingsInvalid | Code::CertificateInvalid | Code::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}
