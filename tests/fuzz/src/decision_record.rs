//! Decision records, as `lpwad policy verify` reads any file; and the same bytes as the policy's state and as a decision in a
//! damaged store, with which a gateway starts.
use crate::gateway_input::config;
use lpwad::gateway::Gateway;
use lpwad::gateway::control::Request;
use lpwad::gateway::input::{HostFacts, Input, Now};
use lpwad::gateway::output::Output;
use lpwad::policy::analyses::Analyses;
use lpwad::policy::record::Record;
use lpwad::store::{Loaded, POLICY_STATE};
use std::time::Duration;

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(records) = Record::verify_all(text)
    {
        // What is good is written as it was read, and stays good.
        let lines: Vec<String> = records.iter().map(Record::to_line).collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        assert_eq!(Record::verify_all(&lines.join("\n")).as_ref(), Ok(&records));
    }
    let mut disk = Loaded::default();
    for number in [POLICY_STATE, 1, u64::MAX] {
        disk.policy.insert(number, data.to_vec());
    }
    let now = Now { mono: Duration::from_secs(1), unix_ms: Some(1_800_000_000_000) };
    let mut gateway = Gateway::new(now, &config(true), Analyses::default(), HostFacts::default(), &disk, 3);
    while gateway.poll().is_some() {}
    for request in [Request::PolicyList, Request::PolicyRearm, Request::Status] {
        gateway.handle(now, Input::Request(1, request));
        let mut replies = 0;
        while let Some(output) = gateway.poll() {
            replies += usize::from(matches!(output, Output::Reply(1, _)));
        }
        assert_eq!(replies, 1);
    }
}
