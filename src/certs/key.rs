//! The private key of a certificate.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};

use super::{
    CertsError,
    pem::{PRIVATE_KEY, from_pem, to_pem},
};

/// A private key. `Debug` does not show it.
pub struct Key(KeyPair);

impl Key {
    /// A new one, of ECDSA over P-256: every TLS library knows it, and it signs fast.
    ///
    /// Errors: `NotSigned` when the machine has no random numbers.
    pub fn generate() -> Result<Self, CertsError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// The first key in the text: PKCS #8, as `annals certs` writes it.
    ///
    /// Errors: `NoKey`, `DamagedPem`, `DamagedKey`.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertsError> {
        let blocks = from_pem(text, PRIVATE_KEY)?;
        let key = blocks.first().ok_or(CertsError::NoKey)?;
        KeyPair::try_from(key.as_slice())
            .map(Self)
            .map_err(|_| CertsError::DamagedKey)
    }

    /// The key itself, as a text to be written to a file that nobody else may read.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem(PRIVATE_KEY, self.0.serialized_der())
    }

    /// The public half, as certificates have it (DER of `SubjectPublicKeyInfo`).
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.0
    }

    pub(super) fn into_pair(self) -> KeyPair {
        self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_is_not_shown() {
        let key = Key::generate().unwrap();
        let again = Key::from_pem(key.to_pem().as_bytes()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_ne!(Key::generate().unwrap().public(), key.public());
        assert_eq!(format!("{key:?}"), "Key(hidden)");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let refused = |text: &[u8]| Key::from_pem(text).unwrap_err();
        assert_eq!(refused(b""), CertsError::NoKey);
        assert_eq!(refused(b"\xff\x00"), CertsError::NoKey);
        let whole = Key::generate().unwrap().to_pem();
        assert_eq!(refused(&whole.as_bytes()[..100]), CertsError::DamagedPem);
        assert_eq!(
            refused(to_pem(PRIVATE_KEY, b"no key").as_bytes()),
            CertsError::DamagedKey
        );
        assert_eq!(
            refused(to_pem("CERTIFICATE", b"no key").as_bytes()),
            CertsError::NoKey
        );
    }
}
