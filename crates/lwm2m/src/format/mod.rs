//! Data formats of LwM2M 1.1 (LwM2M Core 1.1.1 §7.4): values to payload and back.
//!
//! Decoding takes outside bytes: it is bounded by the size of the payload and by [`MAX_RECORDS`], never recurses deeper than the
//! four levels of the object tree, and never panics. Not here: LwM2M JSON (11543), LwM2M CBOR (11544), SenML-ETCH.

mod base64;
mod cbor;
pub(crate) mod link;
mod opaque;
mod senml_cbor;
mod senml_json;
mod text;
mod tlv;

use crate::object::definition::{ObjectDefinition, ResourceDefinition};
use crate::object::path::Path;
use crate::object::value::{Value, ValueType};

/// Records of one payload that are decoded at most.
/// Counted: `errors_answered`.
pub const MAX_RECORDS: usize = 256;

/// A data format this client speaks, with its CoAP Content-Format number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentFormat {
    /// 0: text/plain, one value.
    Text,
    /// 40: link format, for registration and Discover only.
    Link,
    /// 42: bytes, one value of type Opaque.
    Opaque,
    /// 60: CBOR, one value.
    Cbor,
    /// 110: SenML JSON.
    SenmlJson,
    /// 112: SenML CBOR.
    SenmlCbor,
    /// 11542: LwM2M TLV.
    Tlv,
}

impl ContentFormat {
    /// `None` for a format this client does not speak.
    pub fn from_number(number: u32) -> Option<ContentFormat> {
        match number {
            0 => Some(ContentFormat::Text),
            40 => Some(ContentFormat::Link),
            42 => Some(ContentFormat::Opaque),
            60 => Some(ContentFormat::Cbor),
            110 => Some(ContentFormat::SenmlJson),
            112 => Some(ContentFormat::SenmlCbor),
            11542 => Some(ContentFormat::Tlv),
            _ => None,
        }
    }

    /// The CoAP Content-Format number.
    pub fn number(self) -> u16 {
        match self {
            ContentFormat::Text => 0,
            ContentFormat::Link => 40,
            ContentFormat::Opaque => 42,
            ContentFormat::Cbor => 60,
            ContentFormat::SenmlJson => 110,
            ContentFormat::SenmlCbor => 112,
            ContentFormat::Tlv => 11542,
        }
    }
}

/// One value on its way out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    /// A resource, or a resource instance.
    pub path: Path,
    /// The value; floats are finite.
    pub value: &'a Value,
    /// Wall time of the value. Only SenML can carry it; live reads leave it out.
    pub at_unix_ms: Option<u64>,
}

/// Why a payload was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// 4.00: not the stated format, a wrong type, or paths outside the target.
    #[error("malformed payload")]
    Malformed,
    /// 4.04: the object has no such resource.
    #[error("unknown resource")]
    UnknownResource,
    /// 4.15: the format cannot address this target.
    #[error("format not usable for this target")]
    Unsupported,
}

/// Writes the values at or below `target`, in tree order. `None` if the format cannot carry them (more than one value in a
/// format for one value; another type than Opaque as bytes).
pub fn encode(format: ContentFormat, target: Path, records: &[Record<'_>]) -> Option<Vec<u8>> {
    let single = || match records {
        [record] if target.is_resource() && (record.path == target) => Some(record.value),
        _ => None,
    };
    match format {
        ContentFormat::Text => Some(text::encode(single()?).into_bytes()),
        ContentFormat::Opaque => opaque::encode(single()?),
        ContentFormat::Cbor => Some(cbor::encode(single()?)),
        ContentFormat::SenmlJson => Some(senml_json::encode(Some(target), records)),
        ContentFormat::SenmlCbor => Some(senml_cbor::encode(Some(target), records)),
        ContentFormat::Tlv => Some(tlv::encode(target, records)),
        ContentFormat::Link => None,
    }
}

/// Writes values of any objects, with full paths as names, for Send (LwM2M Core 1.1.1 §6.4.6). `None` for a format that is not
/// SenML.
pub fn encode_pack(format: ContentFormat, records: &[Record<'_>]) -> Option<Vec<u8>> {
    match format {
        ContentFormat::SenmlJson => Some(senml_json::encode(None, records)),
        ContentFormat::SenmlCbor => Some(senml_cbor::encode(None, records)),
        _ => None,
    }
}

/// Reads the values a server writes to `target`: an object instance, a resource or a resource instance of `definition`.
/// Every path in the result lies at or below the target and names a resource of the object; each value has its type.
pub fn decode(
    format: ContentFormat,
    target: Path,
    definition: &ObjectDefinition,
    payload: &[u8],
) -> Result<Vec<(Path, Value)>, DecodeError> {
    let single = || match target.resource {
        Some(id) => value_type(definition, id),
        None => Err(DecodeError::Unsupported),
    };
    let value = match format {
        ContentFormat::Text => text::decode(payload, single()?)?,
        ContentFormat::Opaque => opaque::decode(payload, single()?)?,
        ContentFormat::Cbor => cbor::decode(payload, single()?)?,
        ContentFormat::SenmlJson => return senml_json::decode(target, definition, payload),
        ContentFormat::SenmlCbor => return senml_cbor::decode(target, definition, payload),
        ContentFormat::Tlv => return tlv::decode(target, definition, payload),
        ContentFormat::Link => return Err(DecodeError::Unsupported),
    };
    Ok(vec![(target, value)])
}

fn value_type(definition: &ObjectDefinition, resource: u16) -> Result<ValueType, DecodeError> {
    let found: &ResourceDefinition = definition.resource(resource).ok_or(DecodeError::UnknownResource)?;
    found.value_type.ok_or(DecodeError::Malformed)
}

/// `object:instance` (LwM2M Core 1.1.1 Appendix C, Objlnk in text, JSON and CBOR).
fn parse_objlnk(text: &str) -> Result<Value, DecodeError> {
    let (object, instance) = text.split_once(':').ok_or(DecodeError::Malformed)?;
    let id = |digits: &str| {
        if digits.starts_with('+') {
            Err(DecodeError::Malformed)
        } else {
            digits.parse().map_err(|_| DecodeError::Malformed)
        }
    };
    Ok(Value::Objlnk(id(object)?, id(instance)?))
}

/// A SenML name (base name and name joined, RFC 8428 §4.5.1) as a path at or below the target.
fn senml_path(target: Path, base_name: &str, name: &str) -> Result<Path, DecodeError> {
    let path: Path = format!("{base_name}{name}").parse().map_err(|_| DecodeError::Malformed)?;
    if target.contains(&path) && path.is_resource() { Ok(path) } else { Err(DecodeError::Malformed) }
}

/// Base name for all records of a target, and the name of one record under it; without a target the whole path is the name.
fn senml_names(target: Option<Path>, path: Path) -> (String, String) {
    let Some(target) = target else { return (String::new(), path.to_string()) };
    let base = target.to_string();
    let full = path.to_string();
    match full.strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix('/')) {
        Some(rest) => {
            let rest = String::from(rest);
            (base + "/", rest)
        }
        None => (base, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One object with every type, single and multiple.
    pub(super) fn all_types() -> ObjectDefinition {
        let types = ["string", "integer", "unsigned", "float", "boolean", "opaque", "time", "objlnk", "corelnk"];
        let mut text = String::from("id = 3442\nname = \"x\"\nversion = \"1.0\"\nmultiple = true\nresources = [\n");
        for (index, name) in types.iter().enumerate() {
            text += &format!("{{ id = {index}, name = \"s\", operations = \"RW\", type = \"{name}\" }},\n");
            text += &format!(
                "{{ id = {}, name = \"m\", operations = \"RW\", type = \"{name}\", multiple = true }},\n",
                1000 + index
            );
        }
        ObjectDefinition::parse(&(text + "]\n")).unwrap()
    }

    fn any_value() -> impl Strategy<Value = (u16, Value)> {
        prop_oneof![
            ".{0,40}".prop_map(|text| (0, Value::String(text))),
            any::<i64>().prop_map(|number| (1, Value::Integer(number))),
            (-300i64..300).prop_map(|number| (1, Value::Integer(number))),
            any::<u64>().prop_map(|number| (2, Value::Unsigned(number))),
            (0u64..300).prop_map(|number| (2, Value::Unsigned(number))),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|number| (3, Value::Float(number))),
            (-1000i32..1000).prop_map(|number| (3, Value::Float(f64::from(number) / 4.0))),
            any::<bool>().prop_map(|flag| (4, Value::Boolean(flag))),
            proptest::collection::vec(any::<u8>(), 0..400).prop_map(|bytes| (5, Value::Opaque(bytes))),
            any::<i64>().prop_map(|number| (6, Value::Time(number))),
            any::<(u16, u16)>().prop_map(|(object, instance)| (7, Value::Objlnk(object, instance))),
            "[ -~]{0,40}".prop_map(|text| (8, Value::Corelnk(text))),
        ]
    }

    const MANY: [ContentFormat; 3] = [ContentFormat::SenmlJson, ContentFormat::SenmlCbor, ContentFormat::Tlv];
    const ONE: [ContentFormat; 2] = [ContentFormat::Text, ContentFormat::Cbor];

    proptest! {
        #[test]
        fn a_single_value_survives_every_format((resource, value) in any_value(), instance in 0u16..65535) {
            let definition = all_types();
            let single = Path::resource(3442, instance, resource);
            let multiple = Path::resource_instance(3442, instance, 1000 + resource, 65534);
            for path in [single, multiple] {
                for format in MANY.into_iter().chain(ONE) {
                    let record = Record { path, value: &value, at_unix_ms: None };
                    let bytes = encode(format, path, &[record]).unwrap();
                    prop_assert_eq!(decode(format, path, &definition, &bytes), Ok(vec![(path, value.clone())]), "{:?}", format);
                }
            }
            let bytes = encode(ContentFormat::Opaque, single, &[Record { path: single, value: &value, at_unix_ms: None }]);
            match &value {
                Value::Opaque(inner) => prop_assert_eq!(bytes.as_ref(), Some(inner)),
                _ => prop_assert_eq!(bytes, None),
            }
        }

        #[test]
        fn an_instance_survives_every_format_for_many_values(
            values in proptest::collection::btree_map(0u16..20, any_value(), 0..9),
        ) {
            let definition = all_types();
            let target = Path::instance(3442, 300);
            let mut list: Vec<(Path, Value)> = Vec::new();
            for (index, (resource, value)) in values {
                let path = if index < 10 {
                    Path::resource(3442, 300, resource)
                } else {
                    Path::resource_instance(3442, 300, 1000 + resource, index * 100)
                };
                list.retain(|(existing, _)| *existing != path);
                list.push((path, value));
            }
            list.sort_by_key(|(path, _)| *path);
            let records: Vec<Record> =
                list.iter().map(|(path, value)| Record { path: *path, value, at_unix_ms: Some(1_700_000_000_123) }).collect();
            for format in MANY {
                let bytes = encode(format, target, &records).unwrap();
                prop_assert_eq!(decode(format, target, &definition, &bytes), Ok(list.clone()), "{:?}", format);
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), resource in 0u16..9) {
            let definition = all_types();
            let targets = [
                Path::instance(3442, 0),
                Path::resource(3442, 0, resource),
                Path::resource_instance(3442, 0, 1000 + resource, 0),
            ];
            for format in MANY.into_iter().chain(ONE).chain([ContentFormat::Opaque, ContentFormat::Link]) {
                for target in targets {
                    let _ = decode(format, target, &definition, &bytes);
                }
            }
        }

        /// Valid payloads with some bytes overwritten reach deeper than noise.
        #[test]
        fn damaged_payloads_never_panic(
            (resource, value) in any_value(), at in 0usize..400, byte: u8, cut in 0usize..400,
        ) {
            let definition = all_types();
            let path = Path::resource(3442, 0, resource);
            for format in MANY {
                let record = Record { path, value: &value, at_unix_ms: None };
                let mut bytes = encode(format, Path::instance(3442, 0), &[record]).unwrap();
                if let Some(target) = bytes.get_mut(at) {
                    *target = byte;
                }
                bytes.truncate(cut.max(1));
                let _ = decode(format, Path::instance(3442, 0), &definition, &bytes);
            }
        }
    }

    /// D3: an empty set is still a stated format.
    #[test]
    fn d3_an_empty_set_has_a_form_in_each_format_for_many_values() {
        let target = Path::instance(3303, 0);
        assert_eq!(encode(ContentFormat::SenmlJson, target, &[]).unwrap(), b"[]");
        assert_eq!(encode(ContentFormat::SenmlCbor, target, &[]).unwrap(), [0x80]);
        assert_eq!(encode(ContentFormat::Tlv, target, &[]), Some(Vec::new()));
        assert_eq!(encode(ContentFormat::Text, target, &[]), None);
    }

    #[test]
    fn formats_for_one_value_do_not_address_an_instance() {
        let definition = all_types();
        for format in [ContentFormat::Text, ContentFormat::Opaque, ContentFormat::Cbor, ContentFormat::Link] {
            assert_eq!(decode(format, Path::instance(3442, 0), &definition, b"1"), Err(DecodeError::Unsupported));
        }
    }

    #[test]
    fn unknown_resources_are_told_apart_from_malformed_payloads() {
        let definition = all_types();
        let target = Path::instance(3442, 0);
        let json = br#"[{"bn":"/3442/0/","n":"77","v":1}]"#;
        assert_eq!(decode(ContentFormat::SenmlJson, target, &definition, json), Err(DecodeError::UnknownResource));
        assert_eq!(decode(ContentFormat::Tlv, target, &definition, &[0xc1, 77, 1]), Err(DecodeError::UnknownResource));
        let json = br#"[{"n":"/3442/1/1","v":1}]"#;
        assert_eq!(decode(ContentFormat::SenmlJson, target, &definition, json), Err(DecodeError::Malformed));
    }
}
