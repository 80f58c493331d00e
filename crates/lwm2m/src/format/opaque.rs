//! Bytes: one value of type Opaque (LwM2M Core 1.1.1 §7.4.2).

use super::DecodeError;
use crate::object::value::{Value, ValueType};

pub(super) fn encode(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Opaque(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

pub(super) fn decode(payload: &[u8], value_type: ValueType) -> Result<Value, DecodeError> {
    match value_type {
        ValueType::Opaque => Ok(Value::Opaque(payload.to_vec())),
        _ => Err(DecodeError::Unsupported),
    }
}
