//! Changes in the text of a key file. Comments, order and what is not touched stay as they are.

use super::error::ConfigError;
use super::keys::{self, KeyFile};
use lpwad_lorawan::DevEui;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Key, Table, TableLike, Value};
use zeroize::Zeroizing;

/// New fields of one node's table.
#[derive(Default)]
pub struct Change {
    /// Fields with their values.
    pub set: Vec<(&'static str, Zeroizing<String>)>,
    /// Fields that go.
    pub remove: Vec<&'static str>,
}

/// The text of a key file with a node's table changed, or added at the end. The result was read again: it is a good key
/// file, and none of its nodes shares a secret with the changed one. `path` is for errors only.
///
/// # Errors
/// The text is no key file, before or after; with line and field, never with a value.
pub fn change(path: &Path, text: &str, dev_eui: DevEui, change: &Change) -> Result<Zeroizing<String>, ConfigError> {
    let before = keys::parse_text(path, text)?;
    let mut document: DocumentMut =
        text.parse().map_err(|_| ConfigError::file(path, "cannot be changed: it is no TOML that can be edited"))?;
    let name = document.iter().map(|(name, _)| name.to_string()).find(|name| name.parse() == Ok(dev_eui));
    let name = name.unwrap_or_else(|| {
        let mut table = Table::new();
        if !before.is_empty() {
            table.decor_mut().set_prefix("\n");
        }
        let quoted = format!("\"{dev_eui}\"").parse::<Key>().expect("hex digits in quotes are a key");
        document.as_table_mut().insert_formatted(&quoted, Item::Table(table));
        dev_eui.to_string()
    });
    let table: &mut dyn TableLike = document
        .get_mut(&name)
        .and_then(Item::as_table_like_mut)
        .ok_or_else(|| ConfigError::file(path, "cannot be changed: the node's entry is no table"))?;
    for field in &change.remove {
        table.remove(field);
    }
    for (field, text) in &change.set {
        let mut value = Value::from(text.as_str());
        match table.get_mut(field).and_then(Item::as_value_mut) {
            Some(there) => {
                // A comment behind the value stays.
                *value.decor_mut() = there.decor().clone();
                *there = value;
            }
            None => drop(table.insert(field, Item::Value(value))),
        }
    }
    let changed = Zeroizing::new(document.to_string());
    let after = keys::parse_text(path, &changed)?;
    shared(path, &after, dev_eui).map_or(Ok(changed), Err)
}

/// Whether the node has a secret that another one has.
fn shared(path: &Path, file: &KeyFile, dev_eui: DevEui) -> Option<ConfigError> {
    let node = file.get(&dev_eui)?;
    let others = || file.iter().filter(|(other, _)| **other != dev_eui);
    node.secrets().find_map(|(field, secret)| {
        let (other, theirs) = others()
            .flat_map(|(other, keys)| keys.secrets().map(move |(field, secret)| (other, field, secret)))
            .find_map(|(other, field, theirs)| (theirs == secret).then_some((other, field)))?;
        let problem = format!("is also the {theirs} of {other}");
        let key = Some(format!("[\"{dev_eui}\"] {field}"));
        Some(ConfigError { key, ..ConfigError::file(path, problem) }.hint("each node has keys of its own"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Keys of the site.\n\n# The cellar.\n[\"70B3D57ED0001234\"] # west\napp_key = \"2b7e151628aed2a6abf7158809cf4f3c\" # from the box\n\n\
        # The roof.\n[\"70b3d57ed0001235\"]\npsk = \"603deb1015ca71be2b73aef0857d7781\" # old\npsk_identity = \"roof\"";

    fn edited(
        text: &str,
        node: &str,
        set: &[(&'static str, &str)],
        remove: &[&'static str],
    ) -> Result<String, ConfigError> {
        let set = set.iter().map(|(field, value)| (*field, Zeroizing::new((*value).to_string()))).collect();
        let wanted = Change { set, remove: remove.to_vec() };
        change(Path::new("keys.toml"), text, node.parse().unwrap(), &wanted).map(|text| text.to_string())
    }

    #[test]
    fn comments_order_and_other_nodes_stay() {
        let psk = "1f352c073b6108d72d9810a30914dff4";
        let one = edited(TEXT, "70b3d57ed0001234", &[("psk_identity", "a"), ("psk", psk)], &[]).unwrap();
        let wanted =
            TEXT.replace("# from the box\n", &format!("# from the box\npsk_identity = \"a\"\npsk = \"{psk}\"\n"));
        assert_eq!(one.trim_end(), wanted);
        let two = edited(TEXT, "70b3d57ed0001235", &[("psk", psk)], &[]).unwrap();
        assert_eq!(two.trim_end(), TEXT.replace("603deb1015ca71be2b73aef0857d7781", psk));
        let gone = edited(TEXT, "70b3d57ed0001235", &[], &["psk", "psk_identity"]).unwrap();
        assert!(gone.contains("# The roof.\n[\"70b3d57ed0001235\"]") && !gone.contains("psk"), "{gone}");
    }

    #[test]
    fn a_new_node_comes_at_the_end_also_in_an_empty_file() {
        let key = "1f352c073b6108d72d9810a30914dff4";
        let appended = edited(TEXT, "70b3d57ed0001236", &[("app_key", key)], &[]).unwrap();
        assert_eq!(appended, format!("{TEXT}\n\n[\"70b3d57ed0001236\"]\napp_key = \"{key}\"\n"));
        assert_eq!(
            edited("", "70b3d57ed0001236", &[("app_key", key)], &[]).unwrap(),
            format!("[\"70b3d57ed0001236\"]\napp_key = \"{key}\"\n")
        );
        let inline = format!("\"70b3d57ed0001236\" = {{ app_key = \"{key}\" }}\n");
        let changed = edited(&inline, "70b3d57ed0001236", &[("psk", "603deb1015ca71be2b73aef0857d7781")], &[]).unwrap();
        assert!(changed.contains("psk = "), "{changed}");
    }

    #[test]
    fn p_01_what_would_not_load_is_not_written() {
        let taken = "603deb1015ca71be2b73aef0857d7781";
        for (set, word) in [
            (vec![("app_key", taken)], "is also the psk of 70b3d57ed0001235"),
            (vec![("psk", "11111111111111111111111111111111")], "weak key"),
            (vec![("psk", "603deb")], "has 3 bytes"),
            (vec![("rpk_key", "-----BEGIN CERTIFICATE-----")], "rpk_key"),
        ] {
            let said = edited(TEXT, "70b3d57ed0001234", &set, &[]).unwrap_err().to_string();
            assert!(said.contains(word) && !said.contains("603deb"), "{said}");
        }
        assert!(edited("no toml", "70b3d57ed0001234", &[], &[]).is_err());
    }

    #[test]
    fn pem_of_several_lines_is_read_back_as_it_was() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n";
        let text = edited("", "70b3d57ed0001236", &[("rpk_key", pem)], &[]).unwrap();
        let file = keys::parse_text(Path::new("keys.toml"), &text).unwrap();
        assert_eq!(file.values().next().unwrap().secrets().next().unwrap().1, pem.as_bytes());
        assert!(text.lines().count() > 4, "{text}");
    }
}
