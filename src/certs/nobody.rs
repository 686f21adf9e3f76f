//! Certificates that are nobody's.

/// The most bytes of a subject: a URI with the longest names of a cluster and a client has 146.
pub(super) const SUBJECT_BYTES_MAX: usize = 256;

/// A certificate says of nobody that it is theirs. Whoever has it is refused, though an authority signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesNobody {
    /// It has no name that counts.
    #[error(
        "the certificate names nobody: it has neither a URI nor a DNS name, and its common name counts only with \
         tls.allow_common_name = true"
    )]
    NoName,
    /// It has no name at all.
    #[error("the certificate names nobody: it has no URI, no DNS name and no common name")]
    Nameless,
    /// It claims to be somebody of a cluster, several times, or not as identities are written.
    #[error(
        "the certificate names nobody: of what it claims in annals:// exactly one must be a node or a client, as \
         annals://CLUSTER/client/NAME"
    )]
    UnclearIdentity,
    /// Its name would be mistaken for another one, or cannot be written into a rule.
    #[error(
        "the certificate names nobody: its name is not 1 to {SUBJECT_BYTES_MAX} printable ASCII characters without spaces, \
         commas and quotes, or looks like a name of another kind"
    )]
    UnsuitableName,
}
