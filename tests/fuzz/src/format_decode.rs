//! First byte: data format; second and third: what is written to; the rest: the payload. A value that was read must come
//! back the same from its own encoding.
use lpwad_lwm2m::format::{ContentFormat, MAX_RECORDS, Record, decode, encode};
use lpwad_lwm2m::{Path, Registry, Value};
use std::sync::LazyLock;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::embedded);

const FORMATS: [ContentFormat; 7] = [
    ContentFormat::Text,
    ContentFormat::Opaque,
    ContentFormat::Cbor,
    ContentFormat::SenmlJson,
    ContentFormat::SenmlCbor,
    ContentFormat::Tlv,
    ContentFormat::Link,
];

/// Together they have every type that any embedded object has (all but Corelnk), single and multiple.
const OBJECTS: [u16; 8] = [1, 3, 6, 19, 3303, 3306, 3333, 3412];

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    let [format, object, resource, payload @ ..] = data else { return };
    let format = FORMATS[usize::from(*format) % FORMATS.len()];
    let definition = REGISTRY.object(OBJECTS[usize::from(*object) % OBJECTS.len()]).expect("an embedded object");
    let target = match definition.resources().get(usize::from(*resource & 0x7f)) {
        Some(found) if found.multiple && *resource >= 0x80 => Path::resource_instance(definition.id, 0, found.id, 1),
        Some(found) => Path::resource(definition.id, 0, found.id),
        None => Path::instance(definition.id, 0),
    };
    let Ok(values) = decode(format, target, definition, payload) else { return };
    assert!(values.len() <= MAX_RECORDS);
    for (path, value) in values {
        assert!(target.contains(&path), "{path} is not below {target}");
        let resource = path.resource.and_then(|id| definition.resource(id)).expect("a resource of the object");
        assert_eq!(Some(value.value_type()), resource.value_type);
        assert!(!matches!(value, Value::Float(number) if !number.is_finite()));
        let bytes = encode(format, path, &[Record { path, value: &value, at_unix_ms: None }]).expect("it was read so");
        assert_eq!(decode(format, path, definition, &bytes), Ok(vec![(path, value)]));
    }
}
