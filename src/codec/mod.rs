//! Payload bytes to readings of LwM2M resources, and written resources to payload bytes.

mod cayenne_lpp;

use crate::config::Profile;
use crate::config::profile::{Codec, Sample};
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

/// What a sample of a profile says that is not so; `None` if it is as it says. What it does not speak of is not looked at.
#[must_use]
pub fn sample_mistake(profile: &Profile, sample: &Sample) -> Option<String> {
    let decoded = decode(profile, sample.fport, &sample.payload, None);
    let understood = decoded.readings.iter().map(|reading| format!("{} = {}", reading.path, shown(&reading.value)));
    let understood = understood.collect::<Vec<_>>().join(", ");
    if let Some(problem) = decoded.problem {
        return Some(format!("the payload is not understood ({problem}); what is: {understood}"));
    }
    sample.expect.iter().find_map(|(path, expected)| {
        let at = |path: &Path| decoded.readings.iter().find(|reading| reading.path == *path);
        let Some(reading) = path.parse().ok().and_then(|path: Path| at(&path)) else {
            return Some(format!("{path} is expected, and not in the payload; what is: {understood}"));
        };
        let is = shown(&reading.value);
        (!equal(&reading.value, expected)).then(|| format!("{path} is {is}, not {expected}"))
    })
}

/// A number may differ by what a file of decimal digits cannot say.
fn equal(value: &Value, expected: &toml::Value) -> bool {
    let number = expected.as_float().or_else(|| expected.as_integer().map(|integer| integer as f64));
    let near = |value: f64| number.is_some_and(|number| (value - number).abs() < 1e-9);
    match value {
        Value::Float(value) => near(*value),
        Value::Integer(value) | Value::Time(value) => near(*value as f64),
        Value::Unsigned(value) => near(*value as f64),
        Value::Boolean(value) => expected.as_bool() == Some(*value),
        Value::String(value) => expected.as_str() == Some(value),
        Value::Opaque(bytes) => {
            expected.as_str().is_some_and(|text| text.eq_ignore_ascii_case(&lpwad_link::hex::encode(bytes)))
        }
        _ => false,
    }
}

/// As it is written in a sample.
fn shown(value: &Value) -> String {
    match value {
        Value::Float(value) => value.to_string(),
        Value::Integer(value) | Value::Time(value) => value.to_string(),
        Value::Unsigned(value) => value.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::String(value) => format!("\"{value}\""),
        Value::Opaque(bytes) => format!("\"{}\"", lpwad_link::hex::encode(bytes)),
        other => format!("{other:?}"),
    }
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

    #[test]
    fn every_sample_of_every_embedded_profile_decodes_as_it_says() {
        let mut samples = 0;
        for profile in read_all(&[]).0.values() {
            assert!(!profile.sample.is_empty(), "{} has no sample", profile.name);
            for sample in &profile.sample {
                assert_eq!(sample_mistake(profile, sample), None);
                let decoded = decode(profile, sample.fport, &sample.payload, None);
                assert_eq!(decoded.readings.len(), sample.expect.len() + 1, "and the raw payload");
                samples += 1;
            }
        }
        assert!(samples >= 2);
    }

    #[test]
    fn the_profile_in_the_manual_is_one_and_shows_the_defaults() {
        let manual = include_str!("../../docs/howto/profiles.md");
        let text = manual.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let profile = Profile::parse(std::path::Path::new("profiles.md"), text).unwrap();
        assert_eq!(profile.downlink, crate::config::profile::Downlink::default());
        assert!(!profile.device.model.is_empty() && profile.lifetime_s.is_some() && profile.stale_after_s.is_some());
        assert!(!profile.actuator.is_empty() && !profile.command.is_empty() && profile.power.is_some());
        assert_eq!(profile.sample.iter().find_map(|sample| sample_mistake(&profile, sample)), None);
        assert!(!profile.sample.is_empty());
    }

    #[test]
    fn what_a_sample_says_wrongly_is_named_with_what_is_so() {
        let profile = |codec: &str, sample: &str| {
            let text = format!("name = 'x'\ncodec = '{codec}'\nexpect_uplink_s = 900\n[[sample]]\nfport = 2\n{sample}");
            let profile = Profile::parse(std::path::Path::new("x.toml"), &text).unwrap();
            sample_mistake(&profile, &profile.sample[0])
        };
        for (codec, sample, want) in [
            ("cayenne-lpp", "payload = '01670110'\nexpect = { '/3303/1/5700' = 27.2 }", None),
            ("cayenne-lpp", "payload = '016700fa'\nexpect = { '/3303/1/5700' = 25 }", None),
            ("cayenne-lpp", "payload = '010001'\nexpect = { '/3200/1/5500' = true }", None),
            ("cayenne-lpp", "payload = '0187ff8000'\nexpect = { '/3335/1/5706' = '#ff8000' }", None),
            ("raw", "payload = '2A00'\nexpect = { '/19/2/0/0' = '2a00' }", None),
            (
                "cayenne-lpp",
                "payload = '01670110'\nexpect = { '/3303/1/5700' = 27.3 }",
                Some("/3303/1/5700 is 27.2, not 27.3"),
            ),
            (
                "cayenne-lpp",
                "payload = '01670110'\nexpect = { '/3303/2/5700' = 27.2 }",
                Some(
                    "/3303/2/5700 is expected, and not in the payload; what is: /3303/1/5700 = 27.2, /19/2/0/0 = \"01670110\"",
                ),
            ),
            (
                "cayenne-lpp",
                "payload = '0163ff'\nexpect = {}",
                Some("the payload is not understood (unknown type); what is: /19/2/0/0 = \"0163ff\""),
            ),
            ("cayenne-lpp", "payload = '010001'\nexpect = { '/3200/1/5500' = 1 }", Some("/3200/1/5500 is true, not 1")),
        ] {
            assert_eq!(profile(codec, sample).as_deref(), want, "{sample}");
        }
    }

    #[test]
    fn write_to_the_actuator_becomes_channel_value_end() {
        let (profiles, _) = read_all(&[]);
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
