//! SenML JSON (RFC 8428 §5; LwM2M Core 1.1.1 §7.4.4). Base values and sums (`bv`, `bs`) are refused: LwM2M does not use them.

use serde_json::{Map, Value as Json};

use super::base64::{self, Variant};
use super::{DecodeError, MAX_RECORDS, Record, parse_objlnk, senml_names, senml_path, value_type};
use crate::object::definition::ObjectDefinition;
use crate::object::path::Path;
use crate::object::value::Value;

pub(super) fn encode(target: Option<Path>, records: &[Record<'_>]) -> Vec<u8> {
    let mut list = Vec::with_capacity(records.len());
    for record in records {
        let (base, name) = senml_names(target, record.path);
        let mut entry = Map::new();
        if list.is_empty() && !base.is_empty() {
            entry.insert("bn".into(), base.into());
        }
        if !name.is_empty() {
            entry.insert("n".into(), name.into());
        }
        if let Some(at_unix_ms) = record.at_unix_ms {
            entry.insert("t".into(), (at_unix_ms as f64 / 1000.0).into());
        }
        let (label, value) = match record.value {
            Value::String(text) | Value::Corelnk(text) => ("vs", text.as_str().into()),
            Value::Integer(number) | Value::Time(number) => ("v", (*number).into()),
            Value::Unsigned(number) => ("v", (*number).into()),
            Value::Float(number) => ("v", (*number).into()),
            Value::Boolean(flag) => ("vb", (*flag).into()),
            Value::Opaque(bytes) => ("vd", base64::encode(bytes, Variant::UrlUnpadded).into()),
            Value::Objlnk(object, instance) => ("vlo", format!("{object}:{instance}").into()),
        };
        entry.insert(label.into(), value);
        list.push(Json::Object(entry));
    }
    Json::Array(list).to_string().into_bytes()
}

pub(super) fn decode(
    target: Path,
    definition: &ObjectDefinition,
    payload: &[u8],
) -> Result<Vec<(Path, Value)>, DecodeError> {
    // The parser refuses more than 128 levels; everything below the second level is then refused or ignored here.
    let list: Vec<Map<String, Json>> = serde_json::from_slice(payload).map_err(|_| DecodeError::Malformed)?;
    if list.len() > MAX_RECORDS {
        return Err(DecodeError::Malformed);
    }
    let mut base_name = String::new();
    let mut out = Vec::with_capacity(list.len());
    for mut entry in list {
        if entry.keys().any(|label| label.ends_with('_') || label == "bv" || label == "bs") {
            return Err(DecodeError::Malformed);
        }
        if let Some(base) = text(&mut entry, "bn")? {
            base_name = base;
        }
        let name = text(&mut entry, "n")?;
        let mut values =
            ["v", "vs", "vb", "vd", "vlo"].into_iter().filter_map(|label| Some((label, entry.get(label)?)));
        let found = values.next();
        if values.next().is_some() {
            return Err(DecodeError::Malformed);
        }
        let Some((label, value)) = found else {
            match name {
                None => continue,
                Some(_) => return Err(DecodeError::Malformed),
            }
        };
        let path = senml_path(target, &base_name, name.as_deref().unwrap_or_default())?;
        let wanted = value_type(definition, path.resource.ok_or(DecodeError::Malformed)?)?;
        let value = scalar(label, value).ok_or(DecodeError::Malformed)?;
        out.push((path, value.into_type(wanted).ok_or(DecodeError::Malformed)?));
    }
    Ok(out)
}

fn text(entry: &mut Map<String, Json>, label: &str) -> Result<Option<String>, DecodeError> {
    match entry.remove(label) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(DecodeError::Malformed),
    }
}

fn scalar(label: &str, value: &Json) -> Option<Value> {
    match (label, value) {
        ("v", Json::Number(number)) => number
            .as_i64()
            .map(Value::Integer)
            .or_else(|| number.as_u64().map(Value::Unsigned))
            .or_else(|| number.as_f64().map(Value::Float)),
        ("vs", Json::String(text)) => Some(Value::String(text.clone())),
        ("vb", Json::Bool(flag)) => Some(Value::Boolean(*flag)),
        ("vd", Json::String(text)) => base64::decode(text, Variant::UrlUnpadded).map(Value::Opaque),
        ("vlo", Json::String(text)) => parse_objlnk(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::registry::Registry;

    const DEVICE: Path = Path::instance(3, 0);

    fn read(payload: &str) -> Result<Vec<(Path, Value)>, DecodeError> {
        decode(DEVICE, Registry::embedded().object(3).unwrap(), payload.as_bytes())
    }

    /// The form of the example of LwM2M Core 1.1.1 §7.4.4 (GET /3/0), shortened.
    #[test]
    fn core_7_4_4_object_instance() {
        let values = [
            (Path::resource(3, 0, 0), Value::String("Open Mobile Alliance".into())),
            (Path::resource_instance(3, 0, 6, 0), Value::Integer(1)),
            (Path::resource_instance(3, 0, 6, 1), Value::Integer(5)),
            (Path::resource(3, 0, 9), Value::Integer(100)),
            (Path::resource(3, 0, 13), Value::Time(1367491215)),
        ];
        let text = concat!(
            r#"[{"bn":"/3/0/","n":"0","vs":"Open Mobile Alliance"},{"n":"6/0","v":1},{"n":"6/1","v":5},"#,
            r#"{"n":"9","v":100},{"n":"13","v":1367491215}]"#
        );
        let records: Vec<_> =
            values.iter().map(|(path, value)| Record { path: *path, value, at_unix_ms: None }).collect();
        assert_eq!(String::from_utf8(encode(Some(DEVICE), &records)).unwrap(), text);
        assert_eq!(read(text), Ok(values.to_vec()));
    }

    #[test]
    fn a_single_resource_is_named_by_the_base_name_alone() {
        let path = Path::resource(3303, 0, 5700);
        let record = Record { path, value: &Value::Float(21.5), at_unix_ms: Some(1_700_000_000_500) };
        assert_eq!(
            String::from_utf8(encode(Some(path), &[record])).unwrap(),
            r#"[{"bn":"/3303/0/5700","t":1700000000.5,"v":21.5}]"#
        );
    }

    /// RFC 8428 §4: base names join as text, may stand alone and may change; §4.4: labels ending in `_` must be understood.
    #[test]
    fn base_names_and_labels() {
        let time = |seconds| Ok(vec![(Path::resource(3, 0, 13), Value::Time(seconds))]);
        assert_eq!(read(r#"[{"bn":"/3/0/1"},{"n":"3","v":7}]"#), time(7));
        assert_eq!(read(r#"[{"bn":"/9/9/","bt":1e9,"bver":10},{"bn":"/3/0/","n":"13","v":7,"x":[{}]}]"#), time(7));
        assert_eq!(read(r#"[{"n":"/3/0/13","v":7.0}]"#), time(7));
        for bad in [
            r#"[{"n":"/3/0/13","v":7,"must_":1}]"#,
            r#"[{"n":"/3/0/13","v":7,"bv":1}]"#,
            r#"[{"n":"/3/0/13","v":7,"vs":"7"}]"#,
            r#"[{"n":"/3/0/13"}]"#,
            r#"[{"n":"/3/0/13","v":"7"}]"#,
            r#"[{"n":"/3/0/13","v":7.5}]"#,
            r#"[{"n":"/3/0/13","v":null}]"#,
            r#"[{"n":"/3/0","v":7}]"#,
            r#"[{"n":13,"v":7}]"#,
            r#"{"n":"/3/0/13","v":7}"#,
            r#"[{"n":"/3/0/13","v":7}"#,
            "",
        ] {
            assert_eq!(read(bad), Err(DecodeError::Malformed), "{bad}");
        }
    }

    #[test]
    fn deep_nesting_and_many_records_are_refused() {
        let deep = format!(r#"[{{"n":"/3/0/13","v":7,"x":{}{}}}]"#, "[".repeat(5000), "]".repeat(5000));
        assert_eq!(read(&deep), Err(DecodeError::Malformed));
        let many = format!("[{}{{}}]", "{},".repeat(MAX_RECORDS));
        assert_eq!(read(&many), Err(DecodeError::Malformed));
    }

    #[test]
    fn integers_beyond_2_to_53_keep_their_digits() {
        let path = Path::resource(3, 0, 13);
        let value = Value::Time(9_007_199_254_740_993);
        let bytes = encode(Some(path), &[Record { path, value: &value, at_unix_ms: None }]);
        assert_eq!(read(core::str::from_utf8(&bytes).unwrap()), Ok(vec![(path, value)]));
    }
}
