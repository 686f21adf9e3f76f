//! PEM: bytes between two lines that say what they are.

use base64::{Engine, prelude::BASE64_STANDARD};
use x509_parser::pem::{Pem, PemIterator};

use super::CertsError;

/// The label of a certificate.
pub(super) const CERTIFICATE: &str = "CERTIFICATE";
/// The label of a private key in PKCS #8.
pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Characters of a line (RFC 7468, section 2).
const LINE: usize = 64;

/// Bytes as a block of PEM.
pub(super) fn to_pem(label: &str, bytes: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let encoded = BASE64_STANDARD.encode(bytes);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// What the blocks with this label have in them, in their order.
///
/// Errors: `DamagedPem` when a block of whatever label is not whole.
pub(super) fn from_pem(text: &[u8], label: &str) -> Result<Vec<Vec<u8>>, CertsError> {
    let mut found = Vec::new();
    let blocks: PemIterator<_> = Pem::iter_from_buffer(text);
    for block in blocks {
        // A block that is not whole ends the text: what would follow cannot be told from it.
        let block = block.map_err(|_| CertsError::DamagedPem)?;
        if block.label == label {
            found.push(block.contents);
        }
    }
    Ok(found)
}
