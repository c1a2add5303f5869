//! The stable codes of everything that can go wrong, in one table.
//!
//! A code never changes its meaning and is never reused. Ranges: `VD01` catalogue text and names,
//! `VD02` rules, `VD03` flags, `VD04` decision input, `VD05` models, `VD06` changes and the log,
//! `VD07` journal and state folders, `VD08` HTTP, keys and limits, `VD09` faults of our own.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $title:literal, $advice:literal;)*) => {
        /// A stable error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $name,)* }

        impl Code {
            /// Every code, in order of its number.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code as clients see it, for example `VD0101`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// The code of such a text; `None` for one that this program does not know.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str() == text)
            }

            /// What happened, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// What whoever meets it can do.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Code::$name => $advice,)* }
            }
        }
    };
}

codes! {
    InvalidName = "VD0101", "invalid name", "Use 1 to 64 characters of a-z, 0-9, '.', '_' and '-', starting with a letter or digit.";
    InvalidSyntax = "VD0102", "the text cannot be parsed", "Correct the text at the place named.";
    UnknownKey = "VD0103", "unknown key", "Remove the key or correct its spelling as the message says.";
    InvalidValue = "VD0104", "a value is not allowed here", "Write a value as the message describes it.";
    MissingKey = "VD0105", "a required key is missing", "Add the key.";
    DuplicateName = "VD0106", "a name is used twice", "Rename or remove one of the two.";
    UnknownReference = "VD0107", "a reference names nothing", "Create the object it names, or correct the name.";
    LimitExceeded = "VD0108", "a limit is exceeded", "Make it smaller, or split it.";
    FileUnread = "VD0109", "a file that nothing reads", "Move or rename the file, or remove it from the catalogue folder.";
    RuleSyntax = "VD0201", "a rule expression cannot be parsed", "Correct the expression at the column named.";
    RuleType = "VD0202", "a rule expression mixes types", "Compare and combine values of one type.";
    RuleUnknownField = "VD0203", "a rule names an unknown field", "Add the field to the flow or correct its name.";
    RuleTestFailed = "VD0204", "a rule's own test fails", "Correct the rule or its test.";
    RuleTooCostly = "VD0205", "a rule set may cost more than its limit", "Make the rules simpler or raise the limit.";
    TableInvalid = "VD0206", "a decision table is not valid", "Correct the table at the row or column named.";
    FlowTestFailed = "VD0207", "a flow's own test fails", "Compare what the test expects with what came out, and correct the flow, what it reads, or the test.";
    FlagInvalid = "VD0301", "a flag definition is not valid", "Correct the definition at the path named.";
    FlagNotFound = "VD0302", "no such flag", "Create the flag or correct its key.";
    InputNotJson = "VD0401", "the body is not JSON", "Send one JSON object in UTF-8.";
    InputInvalid = "VD0402", "the input does not fit the flow's schema", "Correct the fields that are named.";
    FlowNotFound = "VD0403", "no such flow", "Correct the flow's name: GET /v1/objects/flow lists the flows.";
    DecisionNotFound = "VD0404", "no such decision", "Check the id. It may be older than the journal keeps, or of another cluster.";
    RequestIdConflict = "VD0405", "this request_id was used with another body", "Use a new request_id for a new request.";
    UnitErased = "VD0406", "the unit was erased", "Leave out what needs the unit's sensitive fields: their key was destroyed for good.";
    ReplayUnavailable = "VD0407", "the decision cannot be replayed", "Read the record instead (GET /v1/decisions/{id}): the revision it was decided under is no longer retained.";
    OutcomeInvalid = "VD0408", "an outcome is not valid", "Correct the field that is named.";
    ModelNotFound = "VD0501", "no such model", "Push the model or correct its name.";
    ModelInvalid = "VD0502", "a model folder is not valid", "Train or export the model again.";
    ModelInput = "VD0503", "the input does not fit the model", "Send the columns that the model's schema names.";
    TrainingData = "VD0504", "the training data cannot be used", "Correct the file as the message describes.";
    ChangeConflict = "VD0601", "another change came first", "Read the object again and send the change with its new revision.";
    ChangeInvalid = "VD0602", "the change set is refused", "Correct every fault that is named; nothing was applied.";
    RevisionNotRetained = "VD0603", "that revision is not retained", "Ask for a later revision: GET /v1/history shows which are retained.";
    ChangeTooOld = "VD0604", "the request_id has expired", "Send the change again under a new request_id.";
    ObjectNotFound = "VD0605", "no such object", "Correct the name: GET /v1/objects/{kind} lists what there is.";
    NoLeader = "VD0606", "the cluster has no leader that can be reached", "Try again with the same request_id; check that a majority of the voters runs.";
    OutcomeUnknown = "VD0607", "the change may or may not have been applied", "Send it again with the same request_id: it is applied once.";
    MembershipRefused = "VD0608", "the change of members is refused", "Correct what the detail names.";
    PeerUnreachable = "VD0609", "another node that is needed cannot be reached", "Try again; check that the node runs and that its peer address is open.";
    OutboxFull = "VD0610", "too much waits for nodes that are away", "Try again later; bring the nodes back, or remove those that are gone for ever.";
    NotReady = "VD0611", "nodes are not ready for the change", "Try again, or see to the nodes named, which go on fetching and loading. Nothing changed.";
    AuthorityRefused = "VD0612", "the step of the authority's rotation is refused", "Do what the detail names; GET /v1/admin/authority shows how far each node is.";
    NotAVoter = "VD0613", "the node that was asked does not vote", "Ask a voter: GET /v1/admin/members lists them.";
    CertificateInvalid = "VD0614", "the certificate that the node was given cannot be used", "Correct what the detail names in the files of cluster.tls_certificate, tls_key and tls_authorities.";
    RevisionForeign = "VD0615", "that revision was made in another cluster", "Read again what you need, and go on from the revision of that response: the cluster was restored or recovered from an older state.";
    NodeRemoved = "VD0620", "this node was removed from the cluster", "Stop it; to add the machine again, start it with an empty state folder and a new token.";
    ClockDoubtful = "VD0621", "the node's clock is in doubt", "Correct the clock; if it is right, confirm it with `verdict admin clock confirm`.";
    LeaderUnknown = "VD0622", "the node does not know its leader", "Start the voters that the node knows; where they are gone, stop the node and name a leader with `verdict recover --trust-leader NODE`.";
    StateDamaged = "VD0701", "a file of the state folder is damaged", "Restore the folder from a backup, or move the file away and start again.";
    StateVersion = "VD0702", "the state folder was written by a newer program", "Start the newer program, or restore a backup that this one has written.";
    StateLocked = "VD0703", "another process uses the state folder", "Stop the other process first.";
    StorageFailed = "VD0704", "the disk refused a write", "Free space where the disk is full, else check its health. Then restart the node where the message says so.";
    StateGap = "VD0705", "acknowledged entries of the log are gone", "Move the folder away and join again under a new node id.";
    StateForeign = "VD0706", "the state folder belongs to another node or cluster", "Start with the folder that belongs to these settings.";
    Unauthenticated = "VD0801", "no valid API key", "Send Authorization: Bearer KEY, or X-API-Key.";
    Forbidden = "VD0802", "the API key's role may not do this", "Ask for a key with the role that is named.";
    BodyTooLarge = "VD0803", "the body is too large", "Send at most the number of bytes that is named.";
    Overloaded = "VD0804", "the node is busy", "Try again after the time in Retry-After.";
    DeadlineExceeded = "VD0805", "the request took too long", "Try again with the same request_id: the outcome is unknown.";
    RouteNotFound = "VD0806", "no such route", "Correct the path: GET /openapi.json lists the routes.";
    MethodNotAllowed = "VD0807", "the route does not take this method", "Use a method in the Allow header.";
    RequestInvalid = "VD0808", "the request is not valid", "Correct what the detail names.";
    RevisionNotReached = "VD0809", "the node has not reached that revision", "Try again, or ask another node.";
    MediaTypeUnsupported = "VD0810", "unsupported media type", "Send application/json.";
    Draining = "VD0811", "the node is shutting down", "Send the request to another node.";
    SettingsInvalid = "VD0812", "the settings are not valid", "Correct every fault that is named.";
    EnvelopeInvalid = "VD0813", "the admin request cannot be read", "Use a client of the cluster's version.";
    EnvelopeExpired = "VD0814", "the admin request has expired or is not yet valid", "Sign it again; check the clocks of both machines.";
    EnvelopeReplayed = "VD0815", "the admin request was seen before", "Sign it again with a new nonce.";
    EnvelopeForeign = "VD0816", "the admin request is for another cluster or node", "Connect to the node it is for, with a key of its cluster.";
    OperatorUnknown = "VD0817", "no operator's key that is accepted", "Have the key enrolled by an operator; it may be revoked or expired.";
    OutOfScope = "VD0818", "outside the scope of the key", "Use a key whose flows and regions cover it.";
    ProofMissing = "VD0819", "the request comes without a person's proof", "Send it with an API key, or as a signed admin request: the leader believes no node's word.";
    KeyNotInCatalogue = "VD0820", "the leader does not know the API key", "Put the key into the catalogue (docs/keys.md): a key of one node's settings file counts on that node only.";
    ProofInvalid = "VD0821", "the proof does not cover the request", "Sign the request that is meant, and send it again.";
    HostRefused = "VD0822", "the Host header names another host", "Use the node's address or localhost, or add the name to http.hosts.";
    OriginRefused = "VD0823", "a web page of another origin may not change anything here", "Add the page's origin to http.cors_origins if it is yours.";
    Internal = "VD0901", "a fault of our own", "Report the decision or request id with the node's log. The node goes on.";
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_ordered() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].as_str() < pair[1].as_str(), "{} before {}", pair[0], pair[1]);
        }
    }

    /// What advice begins with: an action of the reader.
    const ACTIONS: [&str; 40] = [
        "Add", "Ask", "Begin", "Bring", "Change", "Check", "Choose", "Close", "Compare", "Confirm",
        "Connect", "Correct", "Create", "Do", "Free", "Give", "Have", "Leave", "Lower", "Make",
        "Move", "Name", "Push", "Put", "Raise", "Read", "Remove", "Rename", "Report", "Restore",
        "Send", "Sign", "Start", "Stop", "Train", "Try", "Upgrade", "Use", "Wait", "Write",
    ];

    #[test]
    fn each_code_says_what_happened_and_names_an_action() {
        for code in Code::ALL {
            let (title, advice) = (code.title(), code.advice());
            assert!(!title.is_empty() && !title.ends_with('.'), "{code}: {title}");
            let first = advice.split([' ', ',']).next().unwrap_or_default();
            assert!(ACTIONS.contains(&first) && advice.ends_with('.'), "{code}: {advice}");
        }
    }
}
