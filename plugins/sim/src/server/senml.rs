//! Values in payloads: SenML JSON (RFC 8428) and plain text in, SenML JSON out.

use super::path::Path;
use serde::Serialize;
use serde_json::{Map, Number, Value, json};

/// Content-Format of plain text.
pub const TEXT: u16 = 0;
/// Content-Format of SenML JSON.
pub const SENML_JSON: u16 = 110;

/// What a payload said.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Data {
    /// The newest value of each path. Opaque values stay base64url text.
    pub values: Map<String, Value>,
    /// Time of the newest value in seconds, if it has one: since 1970, or relative to now below 2^28 (RFC 8428 §4.5.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<f64>,
    /// If there are several times: all of it, oldest first, values without a time last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stamped: Vec<Stamped>,
}

/// The values of one time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stamped {
    /// As in [`Data::ts`].
    pub ts: Option<f64>,
    /// Values by path.
    pub values: Map<String, Value>,
}

/// Reads a payload. `path` is what was asked for; it names a value in plain text. `None` if the payload is malformed or
/// its format is not known here.
#[must_use]
pub fn decode(path: &Path, format: Option<u16>, payload: &[u8]) -> Option<Data> {
    match format.unwrap_or(TEXT) {
        TEXT => {
            let text = std::str::from_utf8(payload).ok()?;
            let value = text.parse::<Number>().map_or_else(|_| text.into(), Value::Number);
            Some(Data { values: Map::from_iter([(path.to_string(), value)]), ..Data::default() })
        }
        SENML_JSON => decode_senml(payload),
        _ => None,
    }
}

/// A SenML JSON pack.
#[must_use]
pub fn decode_senml(payload: &[u8]) -> Option<Data> {
    let records: Vec<Map<String, Value>> = serde_json::from_slice(payload).ok()?;
    let mut base_name = String::new();
    let mut base_time = None;
    let mut stamped: Vec<Stamped> = Vec::new();
    for record in records {
        if record.keys().any(|key| key.ends_with('_')) {
            return None; // must be understood (RFC 8428 §4.4)
        }
        if let Some(name) = record.get("bn") {
            base_name = name.as_str()?.to_owned();
        }
        if let Some(time) = record.get("bt") {
            base_time = Some(time.as_f64()?);
        }
        let Some(value) = ["v", "vs", "vb", "vd", "vlo"].iter().find_map(|key| record.get(*key)) else { continue };
        let name = base_name.clone() + record.get("n").map_or(Some(""), Value::as_str)?;
        let time = match record.get("t") {
            Some(time) => Some(base_time.unwrap_or_default() + time.as_f64()?),
            None => base_time,
        };
        match stamped.iter_mut().find(|entry| entry.ts == time) {
            Some(entry) => _ = entry.values.insert(name, value.clone()),
            None => stamped.push(Stamped { ts: time, values: Map::from_iter([(name, value.clone())]) }),
        }
    }
    stamped.sort_by(|a, b| a.ts.unwrap_or(f64::INFINITY).total_cmp(&b.ts.unwrap_or(f64::INFINITY)));
    let mut values = Map::new();
    for entry in &stamped {
        values.extend(entry.values.clone());
    }
    let ts = stamped.last().and_then(|entry| entry.ts);
    let stamped = if stamped.len() > 1 { stamped } else { Vec::new() };
    Some(Data { values, ts, stamped })
}

/// The SenML JSON pack that writes `value` to `path`. For an object instance, `value` is an object by resource id.
#[must_use]
pub fn encode(path: &Path, value: &Value) -> Vec<u8> {
    let records: Vec<Value> = match value {
        Value::Object(resources) => resources.iter().map(|(id, value)| record(format!("{path}/{id}"), value)).collect(),
        value => vec![record(path.to_string(), value)],
    };
    Value::Array(records).to_string().into_bytes()
}

fn record(name: String, value: &Value) -> Value {
    match value {
        Value::Bool(flag) => json!({"n": name, "vb": flag}),
        Value::Number(number) => json!({"n": name, "v": number}),
        Value::String(text) => json!({"n": name, "vs": text}),
        other => json!({"n": name, "vs": other.to_string()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Value {
        serde_json::to_value(decode_senml(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn names_join_and_base_fields_carry_on() {
        // the shape of LwM2M Core 1.1.1 §7.4.4
        let text = r#"[{"bn":"/3303/0/","n":"5700","v":21.5},{"n":"5701","vs":"Cel"},{"bn":"/3306/0/5850","vb":true}]"#;
        assert_eq!(
            decoded(text),
            json!({"values": {"/3303/0/5700": 21.5, "/3303/0/5701": "Cel", "/3306/0/5850": true}})
        );
    }

    #[test]
    fn a_history_is_in_order_and_its_newest_value_stands_out() {
        let text = r#"[{"bn":"/3303/0/5700","bt":1700000000,"t":20,"v":3},{"v":1},{"t":10,"v":2}]"#;
        assert_eq!(
            decoded(text),
            json!({"values": {"/3303/0/5700": 3}, "ts": 1_700_000_020.0, "stamped": [
                {"ts": 1_700_000_000.0, "values": {"/3303/0/5700": 1}},
                {"ts": 1_700_000_010.0, "values": {"/3303/0/5700": 2}},
                {"ts": 1_700_000_020.0, "values": {"/3303/0/5700": 3}},
            ]})
        );
    }

    #[test]
    fn an_empty_pack_has_no_values() {
        assert_eq!(decoded("[]"), json!({"values": {}}));
    }

    #[test]
    fn malformed_packs_are_refused() {
        for bad in ["", "{}", "[1]", r#"[{"bn":1}]"#, r#"[{"n":2,"v":1}]"#, r#"[{"x_":1}]"#, r#"[{"bt":"x","v":1}]"#] {
            assert_eq!(decode_senml(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn text_is_a_number_or_a_string() {
        let path: Path = "/3303/0/5700".parse().unwrap();
        let value = |payload: &[u8]| decode(&path, None, payload).map(|data| data.values["/3303/0/5700"].clone());
        assert_eq!(value(b"21.5"), Some(json!(21.5)));
        assert_eq!(value(b"on"), Some(json!("on")));
        assert_eq!(value(b"\xff"), None);
        assert_eq!(decode(&path, Some(11542), b"21.5"), None);
    }

    #[test]
    fn writes_name_the_whole_path() {
        let text = |path: &str, value| String::from_utf8(encode(&path.parse().unwrap(), &value)).unwrap();
        assert_eq!(text("/3306/0/5850", json!(true)), r#"[{"n":"/3306/0/5850","vb":true}]"#);
        assert_eq!(
            text("/3306/0", json!({"5850": false, "5851": 10})),
            r#"[{"n":"/3306/0/5850","vb":false},{"n":"/3306/0/5851","v":10}]"#
        );
    }
}
