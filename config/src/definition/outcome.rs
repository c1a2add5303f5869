//! The closed vocabularies of decisions.

use serde::{Deserialize, Serialize};

macro_rules! vocabulary {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $variant_doc:literal])* $variant:ident = $text:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum $name { $($(#[doc = $variant_doc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// Every member, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The member as text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

vocabulary! {
    /// What a decision says to do. Ordered: the outcome of a decision is the maximum of what its
    /// rules, score and abstention ask for, so the order of rules never matters.
    Outcome {
        /// Go ahead.
        Approve = "approve",
        /// Ask for a further proof.
        Challenge = "challenge",
        /// A person looks at it.
        Review = "review",
        /// Refuse.
        Decline = "decline",
        /// Refuse and hold; settles the decision.
        Block = "block",
    }
}

vocabulary! {
    /// Risk categories.
    Category {
        /// Forbidden by law.
        Illegal = "illegal",
        /// Forbidden by policy.
        Prohibited = "prohibited",
        /// Allowed with care.
        HighRisk = "high_risk",
        /// Trade-based money laundering.
        Tbml = "tbml",
        /// Sanctioned names and countries.
        Sanctions = "sanctions",
        /// Fraud.
        Fraud = "fraud",
    }
}

vocabulary! {
    /// How grave a rule's hit is.
    Severity {
        /// Worth noting.
        Low = "low",
        /// Worth a look.
        Medium = "medium",
        /// Grave.
        High = "high",
        /// As grave as it gets.
        Critical = "critical",
    }
}

vocabulary! {
    /// Risk levels of a score.
    Level {
        /// Below every threshold.
        Low = "low",
        /// From the medium threshold.
        Medium = "medium",
        /// From the high threshold.
        High = "high",
        /// From the critical threshold.
        Critical = "critical",
    }
}
