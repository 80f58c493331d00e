//! Resource values and their types (LwM2M Core 1.1.1 Appendix C).

use core::fmt;

use serde::{Deserialize, Serialize};

use super::path::Path;

/// The data type of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// UTF-8 text.
    String,
    /// Signed integer, 64 bit.
    Integer,
    /// Unsigned integer, 64 bit.
    Unsigned,
    /// IEEE 754 double; NaN and infinities are refused everywhere in this crate.
    Float,
    /// True or false.
    Boolean,
    /// Bytes.
    Opaque,
    /// Seconds since 1970-01-01 00:00 UTC.
    Time,
    /// Object link.
    Objlnk,
    /// RFC 6690 link text.
    Corelnk,
}

/// One resource value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// UTF-8 text.
    String(String),
    /// Signed integer.
    Integer(i64),
    /// Unsigned integer.
    Unsigned(u64),
    /// Finite IEEE 754 double.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Bytes.
    Opaque(Vec<u8>),
    /// Seconds since 1970-01-01 00:00 UTC.
    Time(i64),
    /// Object id and object instance id.
    Objlnk(u16, u16),
    /// RFC 6690 link text.
    Corelnk(String),
}

/// A value reported by a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// A resource or a resource instance. A resource path of a multiple resource means its instance 0.
    pub path: Path,
    /// The value; its type is adapted to the object definition where no information is lost.
    pub value: Value,
    /// Wall time of the measurement, unix milliseconds; `None` when no trusted clock has stamped it.
    pub at_unix_ms: Option<u64>,
}

impl Value {
    /// The type of this value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::String(_) => ValueType::String,
            Value::Integer(_) => ValueType::Integer,
            Value::Unsigned(_) => ValueType::Unsigned,
            Value::Float(_) => ValueType::Float,
            Value::Boolean(_) => ValueType::Boolean,
            Value::Opaque(_) => ValueType::Opaque,
            Value::Time(_) => ValueType::Time,
            Value::Objlnk(..) => ValueType::Objlnk,
            Value::Corelnk(_) => ValueType::Corelnk,
        }
    }

    /// The same value as `wanted`, if nothing is lost: numbers among one another (a float only if it is integral), text and
    /// link text. `None` otherwise, and for a float that is not finite.
    pub fn into_type(self, wanted: ValueType) -> Option<Value> {
        if let Value::Float(number) = self
            && !number.is_finite()
        {
            return None;
        }
        if self.value_type() == wanted {
            return Some(self);
        }
        match (wanted, self) {
            (ValueType::Float, Value::Integer(number) | Value::Time(number)) => Some(Value::Float(number as f64)),
            (ValueType::Float, Value::Unsigned(number)) => Some(Value::Float(number as f64)),
            (ValueType::Integer, value) => value.integral().and_then(|n| n.try_into().ok()).map(Value::Integer),
            (ValueType::Time, value) => value.integral().and_then(|n| n.try_into().ok()).map(Value::Time),
            (ValueType::Unsigned, value) => value.integral().and_then(|n| n.try_into().ok()).map(Value::Unsigned),
            (ValueType::String, Value::Corelnk(text)) => Some(Value::String(text)),
            (ValueType::Corelnk, Value::String(text)) => Some(Value::Corelnk(text)),
            _ => None,
        }
    }

    /// The number, for Integer, Unsigned, Float and Time.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Integer(number) | Value::Time(number) => Some(*number as f64),
            Value::Unsigned(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Length of text or bytes, 0 for the other types.
    pub fn byte_len(&self) -> usize {
        match self {
            Value::String(text) | Value::Corelnk(text) => text.len(),
            Value::Opaque(bytes) => bytes.len(),
            _ => 0,
        }
    }

    fn integral(&self) -> Option<i128> {
        match self {
            Value::Integer(number) | Value::Time(number) => Some(i128::from(*number)),
            Value::Unsigned(number) => Some(i128::from(*number)),
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 2f64.powi(64) => Some(*number as i128),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(text) | Value::Corelnk(text) => f.write_str(text),
            Value::Integer(number) | Value::Time(number) => write!(f, "{number}"),
            Value::Unsigned(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number}"),
            Value::Boolean(flag) => write!(f, "{flag}"),
            Value::Opaque(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Value::Objlnk(object, instance) => write!(f, "{object}:{instance}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_change_type_only_without_loss() {
        assert_eq!(Value::Integer(21).into_type(ValueType::Float), Some(Value::Float(21.0)));
        assert_eq!(Value::Float(21.0).into_type(ValueType::Integer), Some(Value::Integer(21)));
        assert_eq!(Value::Float(21.5).into_type(ValueType::Integer), None);
        assert_eq!(Value::Integer(-1).into_type(ValueType::Unsigned), None);
        assert_eq!(Value::Float(1e30).into_type(ValueType::Integer), None);
        assert_eq!(Value::Unsigned(u64::MAX).into_type(ValueType::Unsigned), Some(Value::Unsigned(u64::MAX)));
        assert_eq!(Value::Unsigned(u64::MAX).into_type(ValueType::Time), None);
    }

    #[test]
    fn text_and_numbers_do_not_mix_and_nan_is_refused() {
        assert_eq!(Value::String("1".into()).into_type(ValueType::Integer), None);
        assert_eq!(Value::Boolean(true).into_type(ValueType::Integer), None);
        assert_eq!(Value::Float(f64::NAN).into_type(ValueType::Float), None);
        assert_eq!(Value::Float(f64::INFINITY).into_type(ValueType::Float), None);
    }
}
