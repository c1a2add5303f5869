//! What an operator's key is completed with, and how its file follows the cluster's authorities. Pure.
//!
//! A file believes an authority that it does not know only if one that it knows has signed it: a node
//! alone, which has no key of an authority unless it votes, cannot make a client trust anyone.

use serde::{Deserialize, Serialize};
use verdict_config::Code;
use verdict_config::definition::ClusterAuthority;
use verdict_config::model::sha256_hex;
use verdict_consensus::peers::is_endorsed;

use crate::envelope::EnvelopeFault;
use crate::key_file::{AdminAddress, KeyFile};

/// What an operator needs beside the private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The cluster.
    pub cluster_id: String,
    /// The name of the key.
    pub name: String,
    /// The certificate and what stands between it and the authority, DER in hexadecimal digits.
    pub chain: Vec<String>,
    /// The authorities, the one that signs first, DER in hexadecimal digits.
    pub authorities: Vec<String>,
    /// Who says that they are; none where the cluster never had others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<ClusterAuthority>,
    /// Nodes that can be asked.
    pub addresses: Vec<AdminAddress>,
}

/// A digest of authorities, DER, the one that signs first.
#[must_use]
pub fn trust_digest(authorities: &[Vec<u8>]) -> String {
    let digests: Vec<String> = authorities.iter().map(|der| sha256_hex(der)).collect();
    sha256_hex(digests.join(" ").as_bytes())
}

impl KeyFile {
    /// Completes a key that was enrolled just now, with what came from a colleague.
    ///
    /// # Errors
    /// It is of another key.
    pub fn complete(&mut self, enrolment: Enrolment) -> Result<(), EnvelopeFault> {
        if enrolment.name != self.name {
            let detail = "this is no enrolment of this key";
            return Err(EnvelopeFault::new(Code::OperatorUnknown, detail));
        }
        self.cluster_id = enrolment.cluster_id;
        self.chain = enrolment.chain;
        self.authorities = enrolment.authorities;
        self.addresses = enrolment.addresses;
        Ok(())
    }

    /// Follows the cluster's authorities, by what a node answered to [`Request::Renew`].
    ///
    /// # Errors
    /// It is of another key or cluster, or names an authority that none of those known here has
    /// signed.
    ///
    /// [`Request::Renew`]: crate::Request::Renew
    pub fn renew(&mut self, enrolment: Enrolment) -> Result<(), EnvelopeFault> {
        if enrolment.cluster_id != self.cluster_id || enrolment.chain.is_empty() {
            let detail = "the renewal is of another cluster";
            return Err(EnvelopeFault::new(Code::EnvelopeForeign, detail));
        }
        let mut known = self.authorities.clone();
        let told = enrolment.authority.iter().flat_map(|authority| &authority.trusted);
        for authority in told {
            let vouched = authority.endorsed.as_ref().is_some_and(|endorsed| {
                let signature = hex::decode(&endorsed.signature).unwrap_or_default();
                let by = known.iter().filter_map(|text| hex::decode(text).ok());
                by.filter(|der| sha256_hex(der) == endorsed.by)
                    .any(|by| is_endorsed(&by, &signature, &self.cluster_id, &authority.der()))
            });
            if vouched && !known.contains(&authority.certificate) {
                known.push(authority.certificate.clone());
            }
        }
        let strange = enrolment.authorities.iter().find(|text| !known.contains(text));
        if strange.is_some() || enrolment.authorities.is_empty() {
            let detail = "the node names an authority that no known one has signed";
            return Err(EnvelopeFault::new(Code::EnvelopeForeign, detail));
        }
        self.complete(enrolment)
    }
}

#[cfg(test)]
mod tests {
    use verdict_config::TimestampMs;
    use verdict_config::definition::{Endorsement, TrustedAuthority};
    use verdict_consensus::peers::Authority;

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_790_000_000_000);

    fn enrolment(issues: &Authority, trusted: &[TrustedAuthority]) -> Enrolment {
        let authority = ClusterAuthority {
            cluster_id: "c".to_owned(),
            issues: sha256_hex(issues.certificate()),
            trusted: trusted.to_vec(),
        };
        Enrolment {
            cluster_id: "c".to_owned(),
            name: "alice".to_owned(),
            chain: vec!["00".to_owned()],
            authorities: authority.certificates().iter().map(hex::encode).collect(),
            authority: Some(authority),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_file_follows_what_a_known_authority_signed_and_nothing_else() {
        let make = || Authority::generate("c", NOW).unwrap();
        let (old, new, wild) = (make(), make(), make());
        let by = |signer: &Authority, of: &Authority| {
            let signature = hex::encode(signer.endorse(of.certificate()).unwrap());
            let endorsed = Endorsement { by: sha256_hex(signer.certificate()), signature };
            TrustedAuthority::new(of.certificate(), Some(endorsed))
        };
        let first = TrustedAuthority::new(old.certificate(), None);
        let next = by(&old, &new);
        let mut file = KeyFile::generate("alice", None).unwrap().file;
        "c".clone_into(&mut file.cluster_id);
        file.authorities = vec![hex::encode(old.certificate())];

        // Of itself, of a stranger, of nobody: refused, and the file stays as it was.
        let before = file.clone();
        for forged in [by(&wild, &wild), TrustedAuthority::new(wild.certificate(), None)] {
            let told = enrolment(&wild, &[first.clone(), forged]);
            assert_eq!(file.renew(told).unwrap_err().code, Code::EnvelopeForeign);
        }
        let mut elsewhere = enrolment(&new, &[first.clone(), next.clone()]);
        "d".clone_into(&mut elsewhere.cluster_id);
        assert!(file.renew(elsewhere).is_err());
        let mut other = enrolment(&new, &[first.clone(), next.clone()]);
        "bob".clone_into(&mut other.name);
        assert!(file.renew(other).is_err());
        assert_eq!(file, before);

        let digits = |authority: &Authority| hex::encode(authority.certificate());
        file.renew(enrolment(&new, &[first, next.clone()])).unwrap();
        assert_eq!(file.authorities, [digits(&new), digits(&old)]);
        // The old one is gone, then the new one makes room for the next.
        file.renew(enrolment(&new, std::slice::from_ref(&next))).unwrap();
        assert_eq!(file.authorities, [digits(&new)]);
        file.renew(enrolment(&wild, &[next, by(&new, &wild)])).unwrap();
        assert_eq!(file.authorities, [digits(&wild), digits(&new)]);
    }

    #[test]
    fn the_digest_tells_which_authority_signs() {
        let digest = |names: &[&[u8]]| {
            trust_digest(&names.iter().map(|name| name.to_vec()).collect::<Vec<_>>())
        };
        assert_ne!(digest(&[b"one", b"two"]), digest(&[b"two", b"one"]));
        assert_ne!(digest(&[b"one"]), digest(&[b"one", b"two"]));
    }
}
