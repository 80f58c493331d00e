//! What DTLS costs a node: bytes on the wire, as payload of UDP, exact and since the start of the process.

use lpwad_dtls::Traffic;
use serde::Serialize;

/// Bytes and datagrams of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Handshakes that ended, also those that failed or were given up.
    pub handshakes: u64,
    /// Their datagrams to the server.
    pub handshake_datagrams_out: u64,
    /// Their datagrams from it.
    pub handshake_datagrams_in: u64,
    /// Their bytes to the server.
    pub handshake_bytes_out: u64,
    /// Their bytes from it.
    pub handshake_bytes_in: u64,
    /// Datagrams to the server in open sessions.
    pub datagrams_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Bytes of CoAP in them.
    pub coap_bytes_out: u64,
    /// Datagrams from the server in open sessions.
    pub datagrams_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Bytes of CoAP in them.
    pub coap_bytes_in: u64,
}

impl Cost {
    /// Adds a handshake.
    pub fn handshake(&mut self, traffic: Traffic) {
        self.handshakes += 1;
        self.handshake_datagrams_out += traffic.datagrams_out;
        self.handshake_datagrams_in += traffic.datagrams_in;
        self.handshake_bytes_out += traffic.bytes_out;
        self.handshake_bytes_in += traffic.bytes_in;
    }

    /// The same with the traffic of an open session.
    #[must_use]
    pub fn with_session(mut self, traffic: Traffic) -> Cost {
        self.datagrams_out += traffic.datagrams_out;
        self.bytes_out += traffic.bytes_out;
        self.datagrams_in += traffic.datagrams_in;
        self.bytes_in += traffic.bytes_in;
        self
    }

    /// For `lpwad node show` and `lpwad policy explain`.
    #[must_use]
    pub fn to_json(self) -> serde_json::Value {
        let mut json = serde_json::json!(self);
        json["overhead_bytes"] = self.overhead_bytes().into();
        json
    }

    /// What DTLS adds to CoAP: handshakes, and what records are longer than what is in them.
    #[must_use]
    pub fn overhead_bytes(self) -> u64 {
        let records = (self.bytes_out + self.bytes_in).saturating_sub(self.coap_bytes_out + self.coap_bytes_in);
        self.handshake_bytes_out + self.handshake_bytes_in + records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_06_overhead_is_handshakes_and_what_records_add() {
        let traffic = |bytes_out, bytes_in| Traffic { datagrams_out: 1, bytes_out, datagrams_in: 1, bytes_in };
        let mut cost = Cost::default();
        cost.handshake(traffic(500, 300));
        // 100 records of 20 bytes, 29 more each.
        cost.coap_bytes_out = 100 * 20;
        let cost = cost.with_session(traffic(100 * 49, 0));
        assert_eq!((cost.handshakes, cost.overhead_bytes()), (1, 800 + 2900));
    }
}
