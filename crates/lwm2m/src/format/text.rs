//! Plain text: one value (LwM2M Core 1.1.1 §7.4.1 and Appendix C, column "Text Format").

use super::base64::{self, Variant};
use super::{DecodeError, parse_objlnk};
use crate::object::value::{Value, ValueType};

pub(super) fn encode(value: &Value) -> String {
    match value {
        Value::Boolean(flag) => String::from(if *flag { "1" } else { "0" }),
        Value::Opaque(bytes) => base64::encode(bytes, Variant::Standard),
        other => other.to_string(),
    }
}

pub(super) fn decode(payload: &[u8], value_type: ValueType) -> Result<Value, DecodeError> {
    let text = core::str::from_utf8(payload).map_err(|_| DecodeError::Malformed)?;
    let malformed = DecodeError::Malformed;
    let integer = || text.parse::<i64>().map_err(|_| malformed);
    match value_type {
        ValueType::String => Ok(Value::String(text.into())),
        ValueType::Corelnk => Ok(Value::Corelnk(text.into())),
        ValueType::Integer => Ok(Value::Integer(integer()?)),
        ValueType::Time => Ok(Value::Time(integer()?)),
        ValueType::Unsigned => Ok(Value::Unsigned(text.parse().map_err(|_| malformed)?)),
        ValueType::Float => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(malformed),
        },
        ValueType::Boolean => match text {
            "0" => Ok(Value::Boolean(false)),
            "1" => Ok(Value::Boolean(true)),
            _ => Err(malformed),
        },
        ValueType::Opaque => base64::decode(text, Variant::Standard).map(Value::Opaque).ok_or(malformed),
        ValueType::Objlnk => parse_objlnk(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_value_of_the_type_is_refused() {
        for (text, value_type) in [
            ("", ValueType::Integer),
            ("1.5", ValueType::Integer),
            ("9223372036854775808", ValueType::Integer),
            ("-1", ValueType::Unsigned),
            ("NaN", ValueType::Float),
            ("inf", ValueType::Float),
            ("1e999", ValueType::Float),
            ("true", ValueType::Boolean),
            ("3", ValueType::Objlnk),
            ("3:65536", ValueType::Objlnk),
            ("+3:0", ValueType::Objlnk),
            ("Zg", ValueType::Opaque),
        ] {
            assert_eq!(decode(text.as_bytes(), value_type), Err(DecodeError::Malformed), "{text:?}");
        }
        assert_eq!(decode(&[0xff], ValueType::String), Err(DecodeError::Malformed));
    }

    #[test]
    fn text_forms() {
        assert_eq!(encode(&Value::Boolean(true)), "1");
        assert_eq!(encode(&Value::Float(21.5)), "21.5");
        assert_eq!(encode(&Value::Objlnk(10, 3)), "10:3");
        assert_eq!(encode(&Value::Opaque(b"fo".to_vec())), "Zm8=");
        assert_eq!(decode(b"18446744073709551615", ValueType::Unsigned), Ok(Value::Unsigned(u64::MAX)));
    }
}
