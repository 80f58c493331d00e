//! Cayenne Low Power Payload: `channel, type, data` repeated. Type + 3200 is the IPSO object, the channel is its
//! instance (myDevices, "Cayenne LPP 2.0"; sizes and resolutions as ChirpStack's and The Things Stack's tables have them).
//!
//! Not supported: type 133 (time) beyond `/3333`'s resource 5506, polyline (240), the packed and history frames of LPP 2.0.

use super::EncodeError;
use lpwad_lwm2m::{Path, Value};

/// How the bytes of one type become resources.
struct Kind {
    lpp_type: u8,
    fields: &'static [Field],
}

/// One resource of a type.
struct Field {
    resource: u16,
    bytes: usize,
    signed: bool,
    /// The number is divided by this.
    divisor: f64,
    what: What,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Float,
    Bool,
    Time,
    /// Red, green and blue as text `#rrggbb`.
    Colour,
}

const fn float(resource: u16, bytes: usize, signed: bool, divisor: f64) -> Field {
    Field { resource, bytes, signed, divisor, what: What::Float }
}

const fn other(resource: u16, bytes: usize, what: What) -> Field {
    Field { resource, bytes, signed: false, divisor: 1.0, what }
}

const KINDS: &[Kind] = &[
    Kind { lpp_type: 0, fields: &[other(5500, 1, What::Bool)] },
    Kind { lpp_type: 1, fields: &[other(5550, 1, What::Bool)] },
    Kind { lpp_type: 2, fields: &[float(5600, 2, true, 100.0)] },
    Kind { lpp_type: 3, fields: &[float(5650, 2, true, 100.0)] },
    Kind { lpp_type: 100, fields: &[float(5700, 4, false, 1.0)] },
    Kind { lpp_type: 101, fields: &[float(5700, 2, false, 1.0)] },
    Kind { lpp_type: 102, fields: &[other(5500, 1, What::Bool)] },
    Kind { lpp_type: 103, fields: &[float(5700, 2, true, 10.0)] },
    Kind { lpp_type: 104, fields: &[float(5700, 1, false, 2.0)] },
    Kind {
        lpp_type: 113,
        fields: &[float(5702, 2, true, 1000.0), float(5703, 2, true, 1000.0), float(5704, 2, true, 1000.0)],
    },
    Kind { lpp_type: 115, fields: &[float(5700, 2, false, 10.0)] },
    Kind { lpp_type: 116, fields: &[float(5700, 2, false, 100.0)] },
    Kind { lpp_type: 117, fields: &[float(5700, 2, false, 1000.0)] },
    Kind { lpp_type: 118, fields: &[float(5700, 4, false, 1.0)] },
    Kind { lpp_type: 120, fields: &[float(5700, 1, false, 1.0)] },
    Kind { lpp_type: 121, fields: &[float(5700, 2, true, 1.0)] },
    Kind { lpp_type: 125, fields: &[float(5700, 2, false, 1.0)] },
    Kind { lpp_type: 128, fields: &[float(5700, 2, false, 1.0)] },
    Kind { lpp_type: 130, fields: &[float(5700, 4, false, 1000.0)] },
    Kind { lpp_type: 131, fields: &[float(5700, 4, false, 1000.0)] },
    Kind { lpp_type: 132, fields: &[float(5705, 2, false, 1.0)] },
    Kind { lpp_type: 133, fields: &[other(5506, 4, What::Time)] },
    Kind {
        lpp_type: 134,
        fields: &[float(5702, 2, true, 100.0), float(5703, 2, true, 100.0), float(5704, 2, true, 100.0)],
    },
    Kind { lpp_type: 135, fields: &[other(5706, 3, What::Colour)] },
    Kind {
        lpp_type: 136,
        fields: &[float(6051, 3, true, 10_000.0), float(6052, 3, true, 10_000.0), float(6053, 3, true, 100.0)],
    },
    Kind { lpp_type: 142, fields: &[other(5500, 1, What::Bool)] },
];

/// Reads a payload; what stands behind the first thing not understood is left out and the reason given.
pub(super) fn decode(payload: &[u8]) -> (Vec<(Path, Value)>, Option<&'static str>) {
    let mut values = Vec::new();
    let mut rest = payload;
    while let [channel, lpp_type, data @ ..] = rest {
        let Some(kind) = KINDS.iter().find(|kind| kind.lpp_type == *lpp_type) else {
            return (values, Some("unknown type"));
        };
        let object = 3200 + u16::from(*lpp_type);
        let mut data = data;
        for field in kind.fields {
            let Some((bytes, behind)) = data.split_at_checked(field.bytes) else {
                return (values, Some("data is cut off"));
            };
            values.push((Path::resource(object, u16::from(*channel), field.resource), field.value(bytes)));
            data = behind;
        }
        rest = data;
    }
    (values, (!rest.is_empty()).then_some("data is cut off"))
}

impl Field {
    fn value(&self, bytes: &[u8]) -> Value {
        let unsigned = bytes.iter().fold(0i64, |number, byte| number << 8 | i64::from(*byte));
        let bits = 8 * bytes.len() as u32;
        let number = if self.signed && unsigned >= 1 << (bits - 1) { unsigned - (1 << bits) } else { unsigned };
        match self.what {
            What::Float => Value::Float(number as f64 / self.divisor),
            What::Bool => Value::Boolean(number != 0),
            What::Time => Value::Time(number),
            What::Colour => Value::String(format!("#{number:06x}")),
        }
    }
}

/// A downlink for an actuator: channel, value times 100 as a signed 16-bit number (most significant byte first), 0xFF.
pub(super) fn encode(channel: u8, value: &Value) -> Result<Vec<u8>, EncodeError> {
    let number = match value {
        Value::Boolean(on) => f64::from(u8::from(*on)),
        Value::Integer(number) => *number as f64,
        Value::Unsigned(number) => *number as f64,
        Value::Float(number) => *number,
        _ => return Err(EncodeError::Value),
    };
    let hundredths = (number * 100.0).round();
    if !(f64::from(i16::MIN)..=f64::from(i16::MAX)).contains(&hundredths) {
        return Err(EncodeError::Value);
    }
    let [high, low] = (hundredths as i16).to_be_bytes();
    Ok(vec![channel, high, low, 0xFF])
}

#[cfg(test)]
mod tests {
    use super::*;
    use lpwad_lwm2m::Registry;

    fn hex(text: &str) -> Vec<u8> {
        lpwad_link::hex::decode(text).unwrap()
    }

    /// Payloads and meanings from the examples of the Cayenne LPP documentation (myDevices, "Cayenne LPP": device with
    /// 2 temperature sensors; with temperature and acceleration sensors; with GPS).
    #[test]
    fn examples_of_the_documentation() {
        let (values, problem) = decode(&hex("03670110056700ff"));
        assert_eq!(problem, None);
        assert_eq!(
            values,
            [(Path::resource(3303, 3, 5700), Value::Float(27.2)), (Path::resource(3303, 5, 5700), Value::Float(25.5))]
        );
        let (values, _) = decode(&hex("0167ffd7067104d2fb2e0000"));
        assert_eq!(values[0].1, Value::Float(-4.1));
        assert_eq!(
            values[1..].iter().map(|(_, v)| v.clone()).collect::<Vec<_>>(),
            [Value::Float(1.234), Value::Float(-1.234), Value::Float(0.0)]
        );
        let (values, _) = decode(&hex("018806765ff2960a0003e8"));
        assert_eq!(
            values.iter().map(|(_, v)| v.clone()).collect::<Vec<_>>(),
            [Value::Float(42.3519), Value::Float(-87.9094), Value::Float(10.0)]
        );
    }

    #[test]
    fn cut_off_or_unknown_data_keeps_what_came_before() {
        for (payload, kept, problem) in [
            ("0167ffd701", 1, "data is cut off"),
            ("0167ffd70167ff", 1, "data is cut off"),
            ("0167ffd70163ff", 1, "unknown type"),
            ("01", 0, "data is cut off"),
        ] {
            let (values, why) = decode(&hex(payload));
            assert_eq!((values.len(), why), (kept, Some(problem)), "{payload}");
        }
    }

    #[test]
    fn every_type_maps_to_a_resource_that_its_object_has() {
        let registry = Registry::embedded();
        for kind in KINDS {
            let object = 3200 + u16::from(kind.lpp_type);
            let definition = registry.object(object).unwrap_or_else(|| panic!("object {object}"));
            for field in kind.fields {
                assert!(definition.resource(field.resource).is_some(), "/{object}/x/{}", field.resource);
            }
        }
    }

    #[test]
    fn values_outside_the_format_are_refused() {
        assert_eq!(encode(1, &Value::Float(327.67)).unwrap(), [1, 0x7F, 0xFF, 0xFF]);
        assert_eq!(encode(1, &Value::Integer(-1)).unwrap(), [1, 0xFF, 0x9C, 0xFF]);
        for value in
            [Value::Float(327.68), Value::Float(f64::NAN), Value::Float(f64::INFINITY), Value::String("1".into())]
        {
            assert_eq!(encode(1, &value), Err(EncodeError::Value));
        }
    }
}
