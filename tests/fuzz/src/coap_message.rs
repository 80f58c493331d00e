//! One datagram as a CoAP message. What was read must be read the same again from its own encoding.
use lpwad_lwm2m::coap::message::Message;

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
    }
}
