//! First byte: FPort; the rest: a payload, as a verified uplink brings it, under the embedded Cayenne LPP profile.
use lpwad::config::Profile;
use lpwad::config::profile::read_all;
use lpwad_lwm2m::{Path, Value};
use std::sync::{Arc, LazyLock};

static PROFILE: LazyLock<Arc<Profile>> = LazyLock::new(|| read_all(&[]).0["cayenne-lpp"].clone());

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    let [fport, payload @ ..] = data else { return };
    let payload = &payload[..payload.len().min(242)];
    let decoded = lpwad::codec::decode(&PROFILE, *fport, payload, None);
    let raw = Path::resource_instance(19, u16::from(*fport), 0, 0);
    assert!(decoded.readings.iter().any(|r| r.path == raw && r.value == Value::Opaque(payload.to_vec())));
    assert!(decoded.readings.len() <= 1 + payload.len());
    assert!(decoded.readings.iter().all(|r| !matches!(r.value, Value::Float(number) if !number.is_finite())));
}
