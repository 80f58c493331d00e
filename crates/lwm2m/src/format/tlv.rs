//! LwM2M TLV (LwM2M Core 1.1.1 §7.4.5).
//!
//! ```text
//! bit  7 6 | 5            | 4 3                | 2 1 0
//!      kind| id is 16 bit | bytes of the length| length, if 4 3 are 0
//! ```

use super::{DecodeError, MAX_RECORDS, Record, value_type};
use crate::object::definition::ObjectDefinition;
use crate::object::path::Path;
use crate::object::value::{Value, ValueType};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    ObjectInstance = 0,
    ResourceInstance = 1,
    MultipleResource = 2,
    Resource = 3,
}

/// Values below an object are wrapped in their object instance; those below an instance or a resource are not (§7.4.5.2).
pub(super) fn encode(target: Path, records: &[Record<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    if target.instance.is_none() {
        for chunk in records.chunk_by(|a, b| a.path.instance == b.path.instance) {
            let Some(id) = chunk.first().and_then(|record| record.path.instance) else { continue };
            let mut inner = Vec::new();
            resources(&mut inner, chunk);
            put(&mut out, Kind::ObjectInstance, id, &inner);
        }
    } else if target.resource_instance.is_some() {
        resource_instances(&mut out, records);
    } else {
        resources(&mut out, records);
    }
    out
}

fn resources(out: &mut Vec<u8>, records: &[Record<'_>]) {
    for chunk in records.chunk_by(|a, b| a.path.resource == b.path.resource) {
        let [first, ..] = chunk else { continue };
        let Some(id) = first.path.resource else { continue };
        if first.path.resource_instance.is_some() {
            let mut inner = Vec::new();
            resource_instances(&mut inner, chunk);
            put(out, Kind::MultipleResource, id, &inner);
        } else {
            put(out, Kind::Resource, id, &bytes(first.value));
        }
    }
}

fn resource_instances(out: &mut Vec<u8>, records: &[Record<'_>]) {
    for record in records {
        if let Some(id) = record.path.resource_instance {
            put(out, Kind::ResourceInstance, id, &bytes(record.value));
        }
    }
}

fn put(out: &mut Vec<u8>, kind: Kind, id: u16, value: &[u8]) {
    let len = value.len().min(0xff_ffff);
    let [_, len_high, len_mid, len_low] = (len as u32).to_be_bytes();
    let (len_type, len_bytes): (u8, &[u8]) = match len {
        0..=7 => (len as u8, &[]),
        8..=0xff => (1 << 3, &[len_low]),
        0x100..=0xffff => (2 << 3, &[len_mid, len_low]),
        _ => (3 << 3, &[len_high, len_mid, len_low]),
    };
    let [id_high, id_low] = id.to_be_bytes();
    let wide = u8::from(id_high != 0) << 5;
    out.push(((kind as u8) << 6) | wide | len_type);
    if id_high != 0 {
        out.push(id_high);
    }
    out.push(id_low);
    out.extend_from_slice(len_bytes);
    out.extend_from_slice(value.get(..len).unwrap_or_default());
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) | Value::Corelnk(text) => text.as_bytes().to_vec(),
        Value::Integer(number) | Value::Time(number) => integer(*number),
        // With a leading zero byte where the top bit is set: servers that read it as signed get the same number.
        Value::Unsigned(number) => i64::try_from(*number).map_or(number.to_be_bytes().to_vec(), integer),
        Value::Float(number) => {
            let short = *number as f32;
            if f64::from(short) == *number { short.to_be_bytes().to_vec() } else { number.to_be_bytes().to_vec() }
        }
        Value::Boolean(flag) => vec![u8::from(*flag)],
        Value::Opaque(bytes) => bytes.clone(),
        Value::Objlnk(object, instance) => [object.to_be_bytes(), instance.to_be_bytes()].concat(),
    }
}

fn integer(number: i64) -> Vec<u8> {
    if let Ok(short) = i8::try_from(number) {
        short.to_be_bytes().to_vec()
    } else if let Ok(short) = i16::try_from(number) {
        short.to_be_bytes().to_vec()
    } else if let Ok(short) = i32::try_from(number) {
        short.to_be_bytes().to_vec()
    } else {
        number.to_be_bytes().to_vec()
    }
}

/// One element, its value not yet looked into.
struct Element<'a> {
    kind: Kind,
    id: u16,
    value: &'a [u8],
}

/// All elements of one level.
fn elements(mut rest: &[u8]) -> Result<Vec<Element<'_>>, DecodeError> {
    let mut list = Vec::new();
    while !rest.is_empty() {
        if list.len() >= MAX_RECORDS {
            return Err(DecodeError::Malformed);
        }
        let (element, after) = element(rest).ok_or(DecodeError::Malformed)?;
        list.push(element);
        rest = after;
    }
    Ok(list)
}

fn element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (head, rest) = bytes.split_first()?;
    let kind = match head >> 6 {
        0 => Kind::ObjectInstance,
        1 => Kind::ResourceInstance,
        2 => Kind::MultipleResource,
        _ => Kind::Resource,
    };
    let (id, rest) = big_endian(rest, if head & 0x20 == 0 { 1 } else { 2 })?;
    let (len, rest) = match usize::from(head >> 3 & 0x3) {
        0 => (u32::from(head & 0x7), rest),
        width => big_endian(rest, width)?,
    };
    let (value, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    Some((Element { kind, id: u16::try_from(id).ok()?, value }, rest))
}

fn big_endian(bytes: &[u8], width: usize) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_at_checked(width)?;
    Some((number.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)), rest))
}

/// Accepts a wrapping that repeats what the target already says, if it says the same.
pub(super) fn decode(
    target: Path,
    definition: &ObjectDefinition,
    payload: &[u8],
) -> Result<Vec<(Path, Value)>, DecodeError> {
    let instance = target.instance.ok_or(DecodeError::Unsupported)?;
    let mut level = elements(payload)?;
    if let [Element { kind: Kind::ObjectInstance, id, value }] = level.as_slice() {
        if *id != instance {
            return Err(DecodeError::Malformed);
        }
        level = elements(value)?;
    }
    let mut out = Vec::new();
    for element in &level {
        match (element.kind, target.resource) {
            (Kind::ResourceInstance, Some(resource)) => {
                put_value(&mut out, target, definition, (instance, resource, Some(element.id)), element.value)?;
            }
            (Kind::Resource, None) => {
                put_value(&mut out, target, definition, (instance, element.id, None), element.value)?;
            }
            (Kind::Resource, Some(resource)) if resource == element.id => {
                put_value(&mut out, target, definition, (instance, resource, None), element.value)?;
            }
            (Kind::MultipleResource, wanted) if wanted.is_none_or(|resource| resource == element.id) => {
                value_type(definition, element.id)?;
                for inner in elements(element.value)? {
                    if inner.kind != Kind::ResourceInstance {
                        return Err(DecodeError::Malformed);
                    }
                    put_value(&mut out, target, definition, (instance, element.id, Some(inner.id)), inner.value)?;
                }
            }
            _ => return Err(DecodeError::Malformed),
        }
    }
    Ok(out)
}

fn put_value(
    out: &mut Vec<(Path, Value)>,
    target: Path,
    definition: &ObjectDefinition,
    (instance, resource, resource_instance): (u16, u16, Option<u16>),
    bytes: &[u8],
) -> Result<(), DecodeError> {
    let path = Path { resource_instance, ..Path::resource(target.object, instance, resource) };
    if !target.contains(&path) || out.len() >= MAX_RECORDS {
        return Err(DecodeError::Malformed);
    }
    out.push((path, value(bytes, value_type(definition, resource)?).ok_or(DecodeError::Malformed)?));
    Ok(())
}

fn value(bytes: &[u8], value_type: ValueType) -> Option<Value> {
    let text = || core::str::from_utf8(bytes).ok().map(String::from);
    match value_type {
        ValueType::String => Some(Value::String(text()?)),
        ValueType::Corelnk => Some(Value::Corelnk(text()?)),
        ValueType::Integer => Some(Value::Integer(signed(bytes)?)),
        ValueType::Time => Some(Value::Time(signed(bytes)?)),
        ValueType::Unsigned if matches!(bytes.len(), 1 | 2 | 4 | 8) => {
            Some(Value::Unsigned(bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))))
        }
        ValueType::Unsigned => None,
        ValueType::Float => {
            let number = match bytes.len() {
                4 => f64::from(f32::from_be_bytes(bytes.try_into().ok()?)),
                _ => f64::from_be_bytes(bytes.try_into().ok()?),
            };
            number.is_finite().then_some(Value::Float(number))
        }
        ValueType::Boolean => match bytes {
            [0] => Some(Value::Boolean(false)),
            [1] => Some(Value::Boolean(true)),
            _ => None,
        },
        ValueType::Opaque => Some(Value::Opaque(bytes.to_vec())),
        ValueType::Objlnk => {
            let [a, b, c, d] = bytes.try_into().ok()?;
            Some(Value::Objlnk(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
        }
    }
}

fn signed(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        1 => Some(i64::from(i8::from_be_bytes(bytes.try_into().ok()?))),
        2 => Some(i64::from(i16::from_be_bytes(bytes.try_into().ok()?))),
        4 => Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
        _ => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::registry::Registry;

    /// Part of the example of LwM2M Core 1.1.1 §7.4.5.2 (GET /3/0): manufacturer, available power sources, power source
    /// voltage, battery level, current time, time zone offset, binding.
    fn example() -> (Vec<(Path, Value)>, Vec<u8>) {
        let at = |resource| Path::resource(3, 0, resource);
        let instance = |resource, id| Path::resource_instance(3, 0, resource, id);
        let values = vec![
            (at(0), Value::String("Open Mobile Alliance".into())),
            (at(2), Value::String("345000123".into())),
            (instance(6, 0), Value::Integer(1)),
            (instance(6, 1), Value::Integer(5)),
            (instance(7, 0), Value::Integer(3800)),
            (instance(7, 1), Value::Integer(5000)),
            (at(9), Value::Integer(100)),
            (at(13), Value::Time(1367491215)),
            (at(14), Value::String("+02:00".into())),
            (at(16), Value::String("U".into())),
        ];
        let mut bytes = vec![0xc8, 0x00, 0x14];
        bytes.extend(b"Open Mobile Alliance");
        bytes.extend([0xc8, 0x02, 0x09]);
        bytes.extend(b"345000123");
        bytes.extend([0x86, 0x06, 0x41, 0x00, 0x01, 0x41, 0x01, 0x05]);
        bytes.extend([0x88, 0x07, 0x08, 0x42, 0x00, 0x0e, 0xd8, 0x42, 0x01, 0x13, 0x88]);
        bytes.extend([0xc1, 0x09, 0x64]);
        bytes.extend([0xc4, 0x0d, 0x51, 0x82, 0x42, 0x8f]);
        bytes.extend([0xc6, 0x0e, 0x2b, 0x30, 0x32, 0x3a, 0x30, 0x30]);
        bytes.extend([0xc1, 0x10, 0x55]);
        (values, bytes)
    }

    fn records(values: &[(Path, Value)]) -> Vec<Record<'_>> {
        values.iter().map(|(path, value)| Record { path: *path, value, at_unix_ms: None }).collect()
    }

    #[test]
    fn core_7_4_5_2_single_object_instance() {
        let registry = Registry::embedded();
        let (values, bytes) = example();
        assert_eq!(encode(Path::instance(3, 0), &records(&values)), bytes);
        assert_eq!(decode(Path::instance(3, 0), registry.object(3).unwrap(), &bytes), Ok(values.clone()));

        let mut wrapped = vec![0x08, 0x00, bytes.len() as u8];
        wrapped.extend(&bytes);
        assert_eq!(encode(Path::object(3), &records(&values)), wrapped);
        assert_eq!(decode(Path::instance(3, 0), registry.object(3).unwrap(), &wrapped), Ok(values));
        assert_eq!(
            decode(Path::instance(3, 1), registry.object(3).unwrap(), &wrapped),
            Err(DecodeError::Malformed),
            "D4: the payload must agree with the path"
        );
    }

    /// The length classes of §7.4.5.1: 3 bit, 8 bit, 16 bit, and ids of 16 bit.
    #[test]
    fn length_and_id_classes() {
        let heads: [(usize, u16, &[u8]); 6] = [
            (0, 5, &[0xc0, 5]),
            (7, 5, &[0xc7, 5]),
            (8, 5, &[0xc8, 5, 8]),
            (255, 255, &[0xc8, 255, 255]),
            (256, 256, &[0xf0, 1, 0, 1, 0]),
            (0x1_0000, 5700, &[0xf8, 0x16, 0x44, 1, 0, 0]),
        ];
        for (len, id, head) in heads {
            let mut out = Vec::new();
            put(&mut out, Kind::Resource, id, &vec![1; len]);
            assert_eq!(&out[..head.len()], head, "length {len}");
            let parsed = elements(&out).unwrap();
            assert_eq!((parsed[0].id, parsed[0].value.len(), parsed.len()), (id, len, 1));
        }
    }

    #[test]
    fn shortest_numbers() {
        let len = |value: Value| bytes(&value).len();
        assert_eq!([-128, 127, 128, -32768, 40000, 3_000_000_000].map(|n| len(Value::Integer(n))), [1, 1, 2, 2, 4, 8]);
        assert_eq!([100, 200, u64::MAX].map(|n| len(Value::Unsigned(n))), [1, 2, 8]);
        assert_eq!([21.5, 0.1].map(|n| len(Value::Float(n))), [4, 8]);
        assert_eq!(value(&[0xc8], ValueType::Unsigned), Some(Value::Unsigned(200)));
        assert_eq!(value(&[1, 2, 3], ValueType::Integer), None);
        assert_eq!(value(&[0x7f, 0xc0, 0, 0], ValueType::Float), None, "NaN");
        assert_eq!(value(&[2], ValueType::Boolean), None);
    }

    #[test]
    fn a_resource_target_takes_its_own_elements_only() {
        let registry = Registry::embedded();
        let device = registry.object(3).unwrap();
        let target = Path::resource(3, 0, 7);
        let first = (Path::resource_instance(3, 0, 7, 0), Value::Integer(5));
        assert_eq!(decode(target, device, &[0x83, 7, 0x41, 0, 5]), Ok(vec![first.clone()]));
        assert_eq!(decode(target, device, &[0x41, 0, 5]), Ok(vec![first]), "bare resource instances");
        assert_eq!(decode(target, device, &[0xc1, 9, 5]), Err(DecodeError::Malformed));
        assert_eq!(decode(target, device, &[0x83, 7, 0xc1, 0, 5]), Err(DecodeError::Malformed));
        assert_eq!(decode(target, device, &[0xc5, 7, 1]), Err(DecodeError::Malformed), "cut short");
    }
}
