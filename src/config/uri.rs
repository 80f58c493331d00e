//! Addresses of LwM2M servers: `coap://HOST[:PORT]`, `coaps://HOST[:PORT]` (RFC 7252 §6.1, §6.2).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Scheme of a server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// CoAP over UDP, no security; default port 5683.
    Coap,
    /// CoAP over DTLS; default port 5684.
    Coaps,
}

/// Address of a server. Paths and queries are not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUri {
    /// Its scheme.
    pub scheme: Scheme,
    /// An IP address or a host name.
    pub host: Host,
    /// UDP port.
    pub port: u16,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A literal address; the only one that can qualify for NoSec.
    Ip(IpAddr),
    /// A name to be resolved.
    Name(String),
}

/// Why a text is no address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUri {
    /// Not `coap://` or `coaps://`.
    #[error("scheme is not coap or coaps")]
    Scheme,
    /// No host, or letters that a host cannot have.
    #[error("host is missing or malformed")]
    Host,
    /// Not a port number from 1 to 65535.
    #[error("port is not a number from 1 to 65535")]
    Port,
    /// Something behind the port.
    #[error("a path or query is not supported here")]
    Path,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Coap => "coap",
            Scheme::Coaps => "coaps",
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(ip) => ip.fmt(f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ServerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "{}://[{ip}]:{}", self.scheme, self.port),
            Host::Ip(ip) => write!(f, "{}://{ip}:{}", self.scheme, self.port),
            Host::Name(name) => write!(f, "{}://{name}:{}", self.scheme, self.port),
        }
    }
}

impl FromStr for ServerUri {
    type Err = BadUri;

    fn from_str(text: &str) -> Result<Self, BadUri> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("coap", rest)) => (Scheme::Coap, rest),
            Some(("coaps", rest)) => (Scheme::Coaps, rest),
            _ => return Err(BadUri::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(BadUri::Path);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (ip, port) = v6.split_once(']').ok_or(BadUri::Host)?;
                (
                    Host::Ip(IpAddr::V6(ip.parse().map_err(|_| BadUri::Host)?)),
                    port.strip_prefix(':')
                        .map_or_else(|| if port.is_empty() { Ok(None) } else { Err(BadUri::Port) }, |p| Ok(Some(p)))?,
                )
            }
            None => {
                let (host, port) = match authority.rsplit_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (authority, None),
                };
                (host_of(host)?, port)
            }
        };
        let port = match port {
            None if scheme == Scheme::Coap => 5683,
            None => 5684,
            Some(text) => text.parse().ok().filter(|port| *port != 0).ok_or(BadUri::Port)?,
        };
        Ok(ServerUri { scheme, host, port })
    }
}

fn host_of(text: &str) -> Result<Host, BadUri> {
    if let Ok(ip) = text.parse() {
        return Ok(Host::Ip(IpAddr::V4(ip)));
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    // Something of digits and dots that is no address would be resolved in surprising ways.
    if text.is_empty()
        || text.len() > 253
        || !text.chars().all(letters)
        || text
            .split('.')
            .any(|label| label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-'))
        || !text.contains(|c: char| c.is_ascii_alphabetic())
    {
        return Err(BadUri::Host);
    }
    Ok(Host::Name(text.to_string()))
}

impl ServerUri {
    /// The socket address, if the host is a literal.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        match &self.host {
            Host::Ip(ip) => Some(SocketAddr::new(*ip, self.port)),
            Host::Name(_) => None,
        }
    }

    /// Whether the host is a literal of 127.0.0.0/8, `::1`, or the former mapped into IPv6 (threat-analysis rule TA11).
    #[must_use]
    pub fn is_loopback_literal(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.to_canonical().is_loopback(),
            Host::Name(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip_with_default_ports() {
        for (text, full) in [
            ("coap://127.0.0.1", "coap://127.0.0.1:5683"),
            ("coap://127.0.0.1/", "coap://127.0.0.1:5683"),
            ("coaps://[::1]", "coaps://[::1]:5684"),
            ("coaps://lwm2m.example.org:12345", "coaps://lwm2m.example.org:12345"),
        ] {
            assert_eq!(text.parse::<ServerUri>().unwrap().to_string(), full);
        }
    }

    #[test]
    fn malformed_addresses_are_named() {
        for (text, error) in [
            ("http://x", BadUri::Scheme),
            ("127.0.0.1:5683", BadUri::Scheme),
            ("coap://", BadUri::Host),
            ("coap://[::1", BadUri::Host),
            ("coap://1.2.3", BadUri::Host),
            ("coap://999.0.0.1", BadUri::Host),
            ("coap://a:0", BadUri::Port),
            ("coap://a:65536", BadUri::Port),
            ("coap://[::1]5683", BadUri::Port),
            ("coap://a/rd", BadUri::Path),
            ("coap://user@a", BadUri::Path),
        ] {
            assert_eq!(text.parse::<ServerUri>(), Err(error), "{text}");
        }
    }

    #[test]
    fn only_literals_of_the_loopback_are_loopback() {
        for (text, loopback) in [
            ("coap://127.0.0.1", true),
            ("coap://127.9.9.9", true),
            ("coap://[::1]", true),
            ("coap://[::ffff:127.0.0.1]", true),
            ("coap://localhost", false),
            ("coap://10.0.0.1", false),
            ("coap://[::ffff:10.0.0.1]", false),
            ("coap://0.0.0.0", false),
        ] {
            assert_eq!(text.parse::<ServerUri>().unwrap().is_loopback_literal(), loopback, "{text}");
        }
    }
}
