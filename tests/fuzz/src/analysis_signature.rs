//! A file of allowed signers, a byte 0, a signature, a byte 0, and the file that was signed.
use lpwad::policy::signature::{MAX_BYTES, Signers};
use std::path::Path;

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let (Some(signers), signature, message) = (parts.next(), parts.next(), parts.next()) else { return };
    let Ok(text) = std::str::from_utf8(signers) else { return };
    match Signers::parse(Path::new("signers"), text) {
        Ok(signers) => {
            let Some(Ok(signature)) = signature.map(std::str::from_utf8) else { return };
            let message = message.unwrap_or_default();
            if let Ok(principals) = signers.verify(message, signature) {
                assert!(signature.len() <= MAX_BYTES && text.contains(principals));
                let changed = [message, b"x"].concat();
                assert!(signers.verify(&changed, signature).is_err(), "it is over this message only");
            }
        }
        Err(errors) => assert!(!errors.0.is_empty()),
    }
}
