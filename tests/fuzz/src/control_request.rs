//! A line of the control socket.
use lpwad::gateway::control::Request;

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let text = serde_json::to_string(&request).expect("a request is plain text");
        assert_eq!(serde_json::from_str::<Request>(&text).ok(), Some(request));
    }
}
