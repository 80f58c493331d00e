//! Bytes of a record of the store, read as each kind, and of its sealing key. A record that was read is written and read back the same.
use lpwad::io::seal_key;
use lpwad::store::record::{
    BacklogRecord, ProxyRecord, ValuesRecord, device_from_bytes, device_to_bytes, mailbox_from_bytes, mailbox_to_bytes,
};
use lpwad_lwm2m::{Client, ClientConfig, Registry, Snapshot};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| Arc::new(Registry::embedded()));

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    // Bytes are compared, not records: a NaN is not equal to itself.
    if let Ok(record) = device_from_bytes(data) {
        let bytes = device_to_bytes(&record);
        assert_eq!(device_from_bytes(&bytes).map(|again| device_to_bytes(&again)), Ok(bytes));
    }
    if let Ok(record) = ValuesRecord::from_bytes(data) {
        let bytes = record.to_bytes();
        assert_eq!(ValuesRecord::from_bytes(&bytes).map(|again| again.to_bytes()), Ok(bytes));
    }
    if let Ok((dropped, pending)) = mailbox_from_bytes(data) {
        let bytes = mailbox_to_bytes(dropped, &pending);
        assert_eq!(mailbox_from_bytes(&bytes).map(|(d, p)| mailbox_to_bytes(d, &p)), Ok(bytes));
    }
    if let Ok(record) = BacklogRecord::from_bytes(data) {
        let bytes = record.to_bytes();
        assert_eq!(BacklogRecord::from_bytes(&bytes).map(|again| again.to_bytes()), Ok(bytes));
    }
    // What all of it is sealed with: 32 bytes, or the same as 64 hex digits.
    if let Some(key) = seal_key::parse(data) {
        assert!(data == key.as_slice() || data.len() >= 64);
        assert_eq!(seal_key::parse(lpwad_link::hex::encode(key.as_slice()).as_bytes()), Some(key));
    }
    if let Ok(record) = ProxyRecord::from_bytes(data) {
        let bytes = record.to_bytes();
        assert_eq!(ProxyRecord::from_bytes(&bytes).map(|again| again.to_bytes()), Ok(bytes));
        restart(record.snapshot);
    }
}

/// A client starts from the record and runs for some deadlines.
fn restart(snapshot: Option<Snapshot>) {
    let config = ClientConfig {
        endpoint: "node".into(),
        lifetime_s: 600,
        queue_mode: false,
        default_pmin_s: 0,
        default_pmax_s: 0,
        short_server_id: 1,
        storing: false,
        max_block: 1024,
        stale_after: None,
        seed: 7,
    };
    let mut client = Client::new(config, REGISTRY.clone(), snapshot);
    let mut now = Duration::from_secs(1);
    client.session_up(now, false, 1024);
    client.alive(now, Some(1_700_000_000_000));
    for _ in 0..20 {
        while client.poll().is_some() {}
        let Some(due) = client.deadline() else { break };
        now = now.max(due);
        client.tick(now, Some(1_700_000_000_000 + now.as_millis() as u64));
    }
}
