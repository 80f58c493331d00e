//! Why a session is not open: a table of reasons, each with its name, its hint and how long to wait.

use core::time::Duration;

/// Why a session could not be opened, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Kind of reason.
    pub reason: Reason,
    /// More, for people. Never a key or an identity.
    pub detail: String,
}

impl Down {
    /// A reason with more about it.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Down {
        Down { reason, detail: detail.into() }
    }
}

macro_rules! reasons {
    ($(#[doc = $doc:literal] $reason:ident = $name:literal, $wait:literal s, $hint:literal;)*) => {
        /// Kinds of reasons.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $doc] $reason,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Reason] = &[$(Reason::$reason,)*];

            /// Stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Reason::$reason => $name,)* }
            }

            /// What the operator may do about it.
            #[must_use]
            pub fn hint(self) -> &'static str {
                match self { $(Reason::$reason => $hint,)* }
            }

            /// How long to wait at least before the next try.
            #[must_use]
            pub fn least_wait(self) -> Duration {
                Duration::from_secs(match self { $(Reason::$reason => $wait,)* })
            }
        }
    };
}

reasons! {
    /// The operating system gives no socket.
    Socket = "socket", 5 s, "see the reason; lpwad needs one UDP port and one descriptor a node";
    /// The server's name has no address.
    Unresolved = "unresolved", 5 s, "look at the name of secure_uri and at the name service of this host";
    /// The node has no usable credential for DTLS.
    NoCredential = "no-credential", 60 s, "give the node a psk and psk_identity in its key file: `lpwad key new NODE`";
    /// No answer at all.
    NoAnswer = "no-answer", 5 s, "is the server up, and does its firewall let UDP through to secure_uri?";
    /// The server answers until keys are used, then it is silent: with a wrong PSK nobody says so.
    WrongKey = "wrong-key", 60 s, "probably the psk of this node and the one at the server differ, or the server does not know its psk_identity and says nothing";
    /// The server does not know the PSK identity.
    UnknownIdentity = "unknown-identity", 60 s, "enter identity and key at the server: `lpwad key export --for-server`";
    /// The server's raw public key is not the configured one.
    WrongServerKey = "wrong-server-key", 60 s, "compare server_public_key with the server's key; a change may be an attack";
    /// The server's certificate bears another name.
    WrongName = "wrong-name", 60 s, "the host of secure_uri must stand in the certificate as a DNS name";
    /// The server's certificate is not valid today.
    CertificateExpired = "certificate-expired", 60 s, "renew the server's certificate, or set this host's clock";
    /// The server's certificate is not accepted.
    CertificateRefused = "certificate-refused", 60 s, "see the reason, trust_anchors and server_certificate";
    /// The server does not accept the node's credential.
    CredentialRefused = "credential-refused", 60 s, "does the server trust the node's certificate or public key?";
    /// The clock of this host is not trusted, and certificates have dates.
    ClockUnknown = "clock-unknown", 60 s, "set this host's clock (NTP); a PSK or a raw public key works without";
    /// Server and profile have no cipher suite in common.
    NoCommonSuite = "no-common-suite", 60 s, "enable TLS_PSK_WITH_AES_128_CCM_8 at the server, or another suite by `suites`";
    /// The server does not speak DTLS 1.2.
    Version = "version", 60 s, "lpwad never goes below DTLS 1.2";
    /// The server broke a rule of the handshake.
    Protocol = "protocol", 60 s, "see the reason; the server, or somebody on the way, does not keep to RFC 7925";
    /// The server refused with an alert of another kind.
    Alert = "alert", 60 s, "see the reason and the server's log";
    /// The server closed the session, or its certificate has expired since.
    Ended = "ended", 5 s, "nothing: it is opened again when the node speaks";
    /// Too many forged records came; the session is renewed.
    Forged = "forged", 5 s, "somebody sends records in the server's name; they were dropped";
    /// The credential in the configuration is another one now.
    KeyChanged = "key-changed", 5 s, "nothing: the new one is used from now on";
    /// Put aside to make room; resumed when the node speaks.
    Parked = "parked", 5 s, "nothing, or a larger dtls_live_sessions";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_16_names_are_unique_and_credential_faults_wait_a_minute() {
        let names: std::collections::BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in [Reason::UnknownIdentity, Reason::WrongKey, Reason::WrongServerKey, Reason::CredentialRefused] {
            assert!(reason.least_wait() >= Duration::from_secs(60));
        }
    }
}
