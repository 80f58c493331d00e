//! SenML CBOR (RFC 8428 §6; LwM2M Core 1.1.1 §7.4.4). Base values and sums are refused: LwM2M does not use them.

use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};

use super::cbor::{self, Written};
use super::{DecodeError, MAX_RECORDS, Record, parse_objlnk, senml_names, senml_path, value_type};
use crate::object::definition::ObjectDefinition;
use crate::object::path::Path;
use crate::object::value::Value;

/// Labels (RFC 8428 §6, table 4).
mod label {
    pub(super) const BASE_SUM: i64 = -6;
    pub(super) const BASE_VALUE: i64 = -5;
    pub(super) const BASE_NAME: i64 = -2;
    pub(super) const NAME: i64 = 0;
    pub(super) const VALUE: i64 = 2;
    pub(super) const STRING: i64 = 3;
    pub(super) const BOOLEAN: i64 = 4;
    pub(super) const TIME: i64 = 6;
    pub(super) const DATA: i64 = 8;
    /// LwM2M Core 1.1.1 §7.4.4: object links have no number.
    pub(super) const OBJECT_LINK: &str = "vlo";
}

pub(super) fn encode(target: Option<Path>, records: &[Record<'_>]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    put(&mut encoder, target, records).expect("writing to a vector cannot fail");
    encoder.into_writer()
}

fn put(encoder: &mut cbor::Writer, target: Option<Path>, records: &[Record<'_>]) -> Written {
    encoder.array(records.len() as u64)?;
    for (index, record) in records.iter().enumerate() {
        let (base, name) = senml_names(target, record.path);
        let based = index == 0 && !base.is_empty();
        let fields = 1 + u64::from(based) + u64::from(!name.is_empty()) + u64::from(record.at_unix_ms.is_some());
        encoder.map(fields)?;
        if based {
            encoder.i64(label::BASE_NAME)?.str(&base)?;
        }
        if !name.is_empty() {
            encoder.i64(label::NAME)?.str(&name)?;
        }
        if let Some(at_unix_ms) = record.at_unix_ms {
            encoder.i64(label::TIME)?.f64(at_unix_ms as f64 / 1000.0)?;
        }
        match record.value {
            Value::String(_) | Value::Corelnk(_) => encoder.i64(label::STRING)?,
            Value::Integer(_) | Value::Unsigned(_) | Value::Float(_) | Value::Time(_) => encoder.i64(label::VALUE)?,
            Value::Boolean(_) => encoder.i64(label::BOOLEAN)?,
            Value::Opaque(_) => encoder.i64(label::DATA)?,
            Value::Objlnk(..) => encoder.str(label::OBJECT_LINK)?,
        };
        cbor::put(encoder, record.value)?;
    }
    Ok(())
}

/// One record as it stands in the payload.
#[derive(Default)]
struct Entry {
    base_name: Option<String>,
    name: Option<String>,
    value: Option<Value>,
}

pub(super) fn decode(
    target: Path,
    definition: &ObjectDefinition,
    payload: &[u8],
) -> Result<Vec<(Path, Value)>, DecodeError> {
    let mut decoder = Decoder::new(payload);
    let entries = entries(&mut decoder).map_err(|_| DecodeError::Malformed)?;
    if decoder.position() != payload.len() {
        return Err(DecodeError::Malformed);
    }
    let mut base_name = String::new();
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some(base) = entry.base_name {
            base_name = base;
        }
        let value = match (entry.value, &entry.name) {
            (Some(value), _) => value,
            (None, None) => continue,
            (None, Some(_)) => return Err(DecodeError::Malformed),
        };
        let path = senml_path(target, &base_name, entry.name.as_deref().unwrap_or_default())?;
        let wanted = value_type(definition, path.resource.ok_or(DecodeError::Malformed)?)?;
        out.push((path, value.into_type(wanted).ok_or(DecodeError::Malformed)?));
    }
    Ok(out)
}

/// Runs `each` once per item of an array or map of known or unknown length, at most [`MAX_RECORDS`] times.
fn items<'b>(
    decoder: &mut Decoder<'b>,
    len: Option<u64>,
    mut each: impl FnMut(&mut Decoder<'b>) -> Result<(), Error>,
) -> Result<(), Error> {
    for count in 0.. {
        let end = match len {
            Some(len) => count == len,
            None if decoder.datatype()? == Type::Break => {
                decoder.skip()?;
                true
            }
            None => false,
        };
        if end {
            break;
        }
        if count >= MAX_RECORDS as u64 {
            return Err(Error::message("too many items"));
        }
        each(decoder)?;
    }
    Ok(())
}

fn entries(decoder: &mut Decoder<'_>) -> Result<Vec<Entry>, Error> {
    let mut list = Vec::new();
    let len = decoder.array()?;
    items(decoder, len, |decoder| {
        let mut entry = Entry::default();
        let len = decoder.map()?;
        items(decoder, len, |decoder| field(decoder, &mut entry))?;
        list.push(entry);
        Ok(())
    })?;
    Ok(list)
}

fn field(decoder: &mut Decoder<'_>, entry: &mut Entry) -> Result<(), Error> {
    let value = match decoder.datatype()? {
        Type::String | Type::StringIndef => {
            let name = cbor::text(decoder)?;
            if name.ends_with('_') {
                return Err(Error::message("a field that must be understood"));
            }
            if name != label::OBJECT_LINK {
                return decoder.skip();
            }
            parse_objlnk(&cbor::text(decoder)?).map_err(|_| Error::message("not an object link"))?
        }
        _ => match decoder.i64()? {
            label::BASE_NAME => {
                entry.base_name = Some(cbor::text(decoder)?);
                return Ok(());
            }
            label::NAME => {
                entry.name = Some(cbor::text(decoder)?);
                return Ok(());
            }
            label::BASE_VALUE | label::BASE_SUM => return Err(Error::message("base values are not used by LwM2M")),
            kind @ (label::VALUE | label::STRING | label::BOOLEAN | label::DATA) => {
                let value = cbor::scalar(decoder)?;
                let fits = match value {
                    Value::String(_) => kind == label::STRING,
                    Value::Boolean(_) => kind == label::BOOLEAN,
                    Value::Opaque(_) => kind == label::DATA,
                    _ => kind == label::VALUE,
                };
                if !fits {
                    return Err(Error::message("a value under the label of another type"));
                }
                value
            }
            _ => return decoder.skip(),
        },
    };
    match entry.value.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::message("two values in one record")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::registry::Registry;

    fn read(payload: &[u8]) -> Result<Vec<(Path, Value)>, DecodeError> {
        decode(Path::instance(3, 0), Registry::embedded().object(3).unwrap(), payload)
    }

    /// The record forms of RFC 8428 §6 (labels of table 4), for two resources of the device object.
    #[test]
    fn golden_bytes() {
        let values =
            [(Path::resource(3, 0, 0), Value::String("OMA".into())), (Path::resource(3, 0, 9), Value::Integer(100))];
        let mut bytes = vec![0x82, 0xa3, 0x21, 0x65];
        bytes.extend(b"/3/0/");
        bytes.extend([0x00, 0x61, b'0', 0x03, 0x63, b'O', b'M', b'A']);
        bytes.extend([0xa2, 0x00, 0x61, b'9', 0x02, 0x18, 100]);
        let records: Vec<_> =
            values.iter().map(|(path, value)| Record { path: *path, value, at_unix_ms: None }).collect();
        assert_eq!(encode(Some(Path::instance(3, 0)), &records), bytes);
        assert_eq!(read(&bytes), Ok(values.to_vec()));
    }

    /// Indefinite lengths, unknown labels, time and tagged time are read (RFC 8428 §6; C 7.4.4).
    #[test]
    fn indefinite_lengths_and_foreign_labels() {
        let mut bytes = vec![0x9f, 0xbf, 0x21, 0x66];
        bytes.extend(b"/3/0/1");
        bytes.extend([0xff, 0xbf, 0x00, 0x61, b'3', 0x02, 0xc1, 0x07, 0x06, 0x01, 0x18, 99, 0x81, 0xa0, 0xff, 0xff]);
        assert_eq!(read(&bytes), Ok(vec![(Path::resource(3, 0, 13), Value::Time(7))]));
    }

    #[test]
    fn malformed_records_are_refused() {
        let record = |fields: &[u8], count: u8| {
            let mut bytes = vec![0x81, 0xa0 | (count + 1), 0x00, 0x67];
            bytes.extend(b"/3/0/13");
            bytes.extend(fields);
            read(&bytes)
        };
        assert!(record(&[0x02, 0x07], 1).is_ok());
        let malformed = Err(DecodeError::Malformed);
        assert_eq!(record(&[0x03, 0x07], 1), malformed, "a number as string");
        assert_eq!(record(&[0x02, 0x61, b'7'], 1), malformed, "a string as number");
        assert_eq!(record(&[0x02, 0x07, 0x02, 0x07], 2), malformed, "two values");
        assert_eq!(record(&[0x24, 0x07, 0x02, 0x07], 2), malformed, "a base value");
        assert_eq!(record(&[0x62, b'x', b'_', 0x07, 0x02, 0x07], 2), malformed, "a field that must be understood");
        assert_eq!(record(&[], 0), malformed, "no value");
        assert_eq!(record(&[0x02, 0x07, 0x00], 1), malformed, "bytes left over");
        assert_eq!(read(&[0x9b, 255, 255, 255, 255, 255, 255, 255, 255]), malformed, "a length without items");
        assert_eq!(read(&[0x9f]), malformed);
    }
}
