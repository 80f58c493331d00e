//! Payload bytes to readings of LwM2M resources, and written resources to payload bytes.

mod cayenne_lpp;

use crate::config::Profile;
use crate::config::profile::Codec;
use lpwad_lwm2m::{Path, Reading, Value};

/// What a payload meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// Values, by path; the raw payload is always among them, as `/19/<FPort>/0`.
    pub readings: Vec<Reading>,
    /// Why not all of the payload was understood.
    pub problem: Option<&'static str>,
}

/// Reads a payload of at most 242 bytes, received at `unix_ms` (`None`: time not known).
#[must_use]
pub fn decode(profile: &Profile, fport: u8, payload: &[u8], unix_ms: Option<u64>) -> Decoded {
    let (values, problem) = match profile.codec {
        Codec::CayenneLpp => cayenne_lpp::decode(payload),
        Codec::Raw => (Vec::new(), None),
    };
    let raw = (Path::resource_instance(19, u16::from(fport), 0, 0), Value::Opaque(payload.to_vec()));
    let reading = |(path, value)| Reading { path, value, at_unix_ms: unix_ms };
    Decoded { readings: values.into_iter().chain([raw]).map(reading).collect(), problem }
}

/// The payload for a write of `value` to `path`; `None` is an Execute.
///
/// # Errors
/// The profile has no actuator or command for the path, or the value does not fit its encoding.
pub fn encode(profile: &Profile, path: Path, value: Option<&Value>) -> Result<Vec<u8>, EncodeError> {
    match value {
        Some(value) => {
            let actuator = profile.actuator.iter().find(|actuator| actuator.path == path);
            cayenne_lpp::encode(actuator.ok_or(EncodeError::NotSendable)?.channel, value)
        }
        None => {
            let command = profile.command.iter().find(|command| command.path == path);
            Ok(command.ok_or(EncodeError::NotSendable)?.payload.clone())
        }
    }
}

/// Why a value cannot be sent to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The profile has no actuator or command for the path.
    #[error("the device profile has no actuator or command for this resource")]
    NotSendable,
    /// Out of range, or not a number.
    #[error("the value does not fit the payload format")]
    Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::profile::read_all;

    fn number(value: &toml::Value) -> Option<f64> {
        value.as_float().or_else(|| value.as_integer().map(|i| i as f64))
    }

    #[test]
    fn every_sample_of_every_embedded_profile_decodes_as_it_says() {
        let mut samples = 0;
        for profile in read_all(&[]).unwrap().values() {
            assert!(!profile.sample.is_empty(), "{} has no sample", profile.name);
            for sample in &profile.sample {
                let decoded = decode(profile, sample.fport, &sample.payload, None);
                assert_eq!(decoded.problem, None);
                assert_eq!(decoded.readings.len(), sample.expect.len() + 1, "and the raw payload");
                for (path, expected) in &sample.expect {
                    let path: Path = path.parse().unwrap();
                    let reading = decoded.readings.iter().find(|reading| reading.path == path).unwrap();
                    match &reading.value {
                        Value::Float(value) => assert!((value - number(expected).unwrap()).abs() < 1e-9),
                        Value::Boolean(value) => assert_eq!(Some(*value), expected.as_bool()),
                        other => panic!("{other:?}"),
                    }
                }
                samples += 1;
            }
        }
        assert!(samples >= 2);
    }

    #[test]
    fn write_to_the_actuator_becomes_channel_value_end() {
        let profiles = read_all(&[]).unwrap();
        let profile = &profiles["cayenne-lpp"];
        let path = Path::resource(3306, 0, 5850);
        assert_eq!(encode(profile, path, Some(&Value::Boolean(true))).unwrap(), [0x00, 0x00, 0x64, 0xFF]);
        assert_eq!(encode(profile, path, Some(&Value::Boolean(false))).unwrap(), [0x00, 0x00, 0x00, 0xFF]);
        assert_eq!(
            encode(profile, Path::resource(3303, 1, 5700), Some(&Value::Float(1.0))),
            Err(EncodeError::NotSendable)
        );
        assert_eq!(encode(profile, Path::resource(3, 0, 4), None), Err(EncodeError::NotSendable));
    }
}
