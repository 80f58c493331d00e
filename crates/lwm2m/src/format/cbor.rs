//! CBOR: one value (LwM2M Core 1.1.1 §7.4.3; RFC 8949), and the scalars SenML CBOR is made of.

use core::convert::Infallible;

use minicbor::data::{Tag, Type};
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};

use super::{DecodeError, parse_objlnk};
use crate::object::value::{Value, ValueType};

pub(super) type Writer = Encoder<Vec<u8>>;
pub(super) type Written = Result<(), minicbor::encode::Error<Infallible>>;

pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    put(&mut encoder, value).expect("writing to a vector cannot fail");
    encoder.into_writer()
}

/// One scalar. Floats take the shorter of 4 and 8 bytes that keeps the number.
pub(super) fn put(encoder: &mut Writer, value: &Value) -> Written {
    match value {
        Value::String(text) | Value::Corelnk(text) => encoder.str(text)?,
        Value::Integer(number) | Value::Time(number) => encoder.i64(*number)?,
        Value::Unsigned(number) => encoder.u64(*number)?,
        Value::Float(number) => {
            let short = *number as f32;
            if f64::from(short) == *number { encoder.f32(short)? } else { encoder.f64(*number)? }
        }
        Value::Boolean(flag) => encoder.bool(*flag)?,
        Value::Opaque(bytes) => encoder.bytes(bytes)?,
        Value::Objlnk(object, instance) => encoder.str(&format!("{object}:{instance}"))?,
    };
    Ok(())
}

pub(super) fn decode(payload: &[u8], value_type: ValueType) -> Result<Value, DecodeError> {
    let mut decoder = Decoder::new(payload);
    let value = scalar(&mut decoder).map_err(|_| DecodeError::Malformed)?;
    if decoder.position() != payload.len() {
        return Err(DecodeError::Malformed);
    }
    match (value_type, value) {
        (ValueType::Objlnk, Value::String(text)) => parse_objlnk(&text),
        (wanted, value) => value.into_type(wanted).ok_or(DecodeError::Malformed),
    }
}

/// A number (with or without the tag for epoch time, RFC 8949 §3.4.2), a boolean, text or bytes.
pub(super) fn scalar(decoder: &mut Decoder<'_>) -> Result<Value, Error> {
    if decoder.datatype()? == Type::Tag {
        if decoder.tag()? != Tag::new(1) {
            return Err(Error::message("a tag other than epoch time"));
        }
        return number(decoder);
    }
    match decoder.datatype()? {
        Type::Bool => Ok(Value::Boolean(decoder.bool()?)),
        Type::String | Type::StringIndef => Ok(Value::String(text(decoder)?)),
        Type::Bytes | Type::BytesIndef => {
            let mut bytes = Vec::new();
            for part in decoder.bytes_iter()? {
                bytes.extend_from_slice(part?);
            }
            Ok(Value::Opaque(bytes))
        }
        _ => number(decoder),
    }
}

/// Text, in one piece or in chunks.
pub(super) fn text(decoder: &mut Decoder<'_>) -> Result<String, Error> {
    decoder.str_iter()?.collect()
}

fn number(decoder: &mut Decoder<'_>) -> Result<Value, Error> {
    match decoder.datatype()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            let number = decoder.u64()?;
            Ok(i64::try_from(number).map_or(Value::Unsigned(number), Value::Integer))
        }
        Type::F16 => half(decoder).map(Value::Float),
        Type::F32 => Ok(Value::Float(f64::from(decoder.f32()?))),
        Type::F64 => Ok(Value::Float(decoder.f64()?)),
        _ => Ok(Value::Integer(decoder.i64()?)),
    }
}

/// A half-precision float (RFC 8949 Appendix D), without a dependency for it.
fn half(decoder: &mut Decoder<'_>) -> Result<f64, Error> {
    let position = decoder.position();
    let Some([0xf9, high, low]) = decoder.input().get(position..).and_then(|rest| rest.first_chunk()) else {
        return Err(Error::end_of_input());
    };
    decoder.set_position(position + 3);
    let bits = u16::from_be_bytes([*high, *low]);
    let exponent = i32::from(bits >> 10 & 0x1f);
    let mantissa = f64::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    Ok(if bits & 0x8000 == 0 { magnitude } else { -magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(bytes: &[u8]) -> Result<Value, DecodeError> {
        decode(bytes, ValueType::Float)
    }

    /// RFC 8949 Appendix A
    #[test]
    fn rfc8949_appendix_a() {
        assert_eq!(encode(&Value::Integer(-1000)), [0x39, 0x03, 0xe7]);
        assert_eq!(encode(&Value::Unsigned(u64::MAX)), [0x1b, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(encode(&Value::Float(1.1)), [0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a]);
        assert_eq!(encode(&Value::Float(100000.0)), [0xfa, 0x47, 0xc3, 0x50, 0x00]);
        assert_eq!(encode(&Value::Boolean(true)), [0xf5]);
        assert_eq!(encode(&Value::Opaque(vec![1, 2, 3, 4])), [0x44, 1, 2, 3, 4]);
        assert_eq!(encode(&Value::String("IETF".into())), [0x64, 0x49, 0x45, 0x54, 0x46]);
        assert_eq!(float(&[0xf9, 0x3e, 0x00]), Ok(Value::Float(1.5)));
        assert_eq!(float(&[0xf9, 0x7b, 0xff]), Ok(Value::Float(65504.0)));
        assert_eq!(float(&[0xf9, 0x00, 0x01]), Ok(Value::Float(5.960464477539063e-8)));
        assert_eq!(float(&[0xf9, 0xc4, 0x00]), Ok(Value::Float(-4.0)));
        assert_eq!(decode(&[0x5f, 0x42, 1, 2, 0x41, 3, 0xff], ValueType::Opaque), Ok(Value::Opaque(vec![1, 2, 3])));
        let time = [0xc1, 0x1a, 0x51, 0x4b, 0x67, 0xb0];
        assert_eq!(decode(&time, ValueType::Time), Ok(Value::Time(1363896240)));
        assert_eq!(decode(&time[1..], ValueType::Time), Ok(Value::Time(1363896240)), "the tag is optional");
    }

    #[test]
    fn what_is_not_one_value_of_the_type_is_refused() {
        for bytes in [
            &[0xf9, 0x7c, 0x00][..],
            &[0xf9, 0x7e, 0x00],
            &[0xf9, 0x3e],
            &[0x18],
            &[0x01, 0x01],
            &[0x81, 0x01],
            &[0xf6],
            &[0xc2, 0x41, 0x01],
            &[],
        ] {
            assert_eq!(float(bytes), Err(DecodeError::Malformed), "{bytes:02x?}");
        }
        assert_eq!(decode(&[0x20], ValueType::Unsigned), Err(DecodeError::Malformed));
        assert_eq!(decode(&[0x61, b'1'], ValueType::Integer), Err(DecodeError::Malformed));
        assert_eq!(decode(&[0x63, b'3', b':', b'0'], ValueType::Objlnk), Ok(Value::Objlnk(3, 0)));
    }
}
