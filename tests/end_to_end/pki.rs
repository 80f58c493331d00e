//! Keys and certificates of a test, made by the `openssl` program in a directory.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory with keys `NAME.key`, their public keys `NAME.pub`, certificates `NAME.pem`, and an authority `ca`.
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// With an authority.
    pub fn new(dir: &Path) -> Pki {
        let pki = Pki { dir: dir.into() };
        pki.authority("ca");
        pki
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A new authority, with a key of its own.
    pub fn authority(&self, name: &str) {
        self.key(name);
        let (key, certificate) = (self.path(&format!("{name}.key")), self.path(&format!("{name}.pem")));
        self.openssl(&["req", "-x509", "-new", "-key", &key, "-subj", "/CN=ca", "-days", "30", "-out", &certificate]);
    }

    /// A new key on the curve P-256, mode 0600, with its public key beside it.
    pub fn key(&self, name: &str) {
        let (private, public) = (self.path(&format!("{name}.key")), self.path(&format!("{name}.pub")));
        self.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &private]);
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
        self.openssl(&["ec", "-in", &private, "-pubout", "-out", &public]);
    }

    /// A new key with a certificate of the authority: its common name, subject alternative name (`DNS:..`; may be empty),
    /// and days of validity, below 0 for one that has expired.
    pub fn certify(&self, name: &str, common_name: &str, alternative: &str, days: &str) {
        self.key(name);
        let (request, extensions) = (self.path("request"), self.path("extensions"));
        let key = self.path(&format!("{name}.key"));
        self.openssl(&["req", "-new", "-key", &key, "-subj", &format!("/CN={common_name}"), "-out", &request]);
        let alternative =
            if alternative.is_empty() { String::new() } else { format!("subjectAltName={alternative}\n") };
        std::fs::write(&extensions, alternative).unwrap();
        let (ca, ca_key, certificate) = (self.path("ca.pem"), self.path("ca.key"), self.path(&format!("{name}.pem")));
        let by = ["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", days, "-extfile", &extensions];
        self.openssl(&[&["x509", "-req", "-in", &request, "-out", &certificate], &by[..]].concat());
    }

    pub fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
