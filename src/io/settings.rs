//! Settings of plugins: what `plugin.toml` declares, and whether the user's values are that.

use crate::config::error::nearest;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A setting that a plugin understands.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// `string`, `integer`, `number`, `boolean`, `path` or `list`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it must be there.
    #[serde(default)]
    pub required: bool,
    /// Its unit, if it has one.
    #[serde(default)]
    pub unit: String,
    /// What holds without it.
    pub default: Option<toml::Value>,
    /// What it can be, if that is a short list.
    #[serde(default)]
    pub values: Vec<toml::Value>,
    /// Smallest number that it can be.
    pub min: Option<f64>,
    /// Largest number that it can be.
    pub max: Option<f64>,
    /// One line of help.
    #[serde(default)]
    pub help: String,
}

/// A mistake in the settings of a radio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Name of the setting.
    pub setting: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub hint: String,
}

/// What is wrong with a radio's `settings` by the plugin's own declarations: unknown names, missing ones, values of another
/// type or outside what they can be.
#[must_use]
pub fn mistakes(declared: &BTreeMap<String, Setting>, settings: &Map<String, Value>) -> Vec<Mistake> {
    let unknown = settings.keys().filter(|name| !declared.contains_key(*name)).map(|name| {
        let known = || declared.keys().map(String::as_str);
        let hint = match nearest(name, known()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("its settings: {}", known().collect::<Vec<_>>().join(", ")),
        };
        Mistake { setting: name.clone(), problem: "the plugin has no such setting".into(), hint }
    });
    let missing = declared.iter().filter(|(name, setting)| setting.required && !settings.contains_key(*name));
    let missing = missing.map(|(name, setting)| Mistake {
        setting: name.clone(),
        problem: "is missing".into(),
        hint: setting.about(),
    });
    let wrong = settings.iter().filter_map(|(name, value)| {
        let (problem, hint) = declared.get(name)?.mistake(name, value)?;
        Some(Mistake { setting: name.clone(), problem, hint })
    });
    unknown.chain(missing).chain(wrong).collect()
}

impl Setting {
    /// What is wrong with the declaration itself.
    #[must_use]
    pub fn own_mistake(&self) -> Option<String> {
        if !["string", "integer", "number", "boolean", "path", "list"].contains(&self.kind.as_str()) {
            return Some("type is none of string, integer, number, boolean, path, list".into());
        }
        let numeric = ["integer", "number"].contains(&self.kind.as_str());
        if (self.min.is_some() || self.max.is_some()) && !numeric {
            return Some("min and max are for integer and number".into());
        }
        let json = |value: &toml::Value| serde_json::to_value(value).unwrap_or_default();
        if self.values.iter().any(|value| !self.is_of_type(&json(value))) {
            return Some(format!("one of its values is not of type {}", self.kind));
        }
        let (problem, _) = self.mistake("default", &json(self.default.as_ref()?))?;
        Some(format!("its default {problem}"))
    }

    fn is_of_type(&self, value: &Value) -> bool {
        match self.kind.as_str() {
            "string" => value.is_string(),
            "path" => value.as_str().is_some_and(|path| !path.is_empty()),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            _ => value.is_array(),
        }
    }

    /// What is wrong with a value, and what to do.
    fn mistake(&self, name: &str, value: &Value) -> Option<(String, String)> {
        if !self.is_of_type(value) {
            let wanted = match self.kind.as_str() {
                "string" => "text in quotes",
                "path" => "a path in quotes",
                "integer" => "a whole number",
                "number" => "a number",
                "boolean" => "true or false",
                _ => "a list",
            };
            let bare = value
                .as_str()
                .filter(|text| text.parse::<f64>().is_ok() && ["integer", "number"].contains(&&*self.kind));
            let hint = bare.map_or_else(|| self.about(), |text| format!("without quotes: {name} = {text}"));
            let of_unit = if self.unit.is_empty() { String::new() } else { format!(" of {}", self.unit) };
            return Some((format!("{value} is not {wanted}{of_unit}"), hint));
        }
        let known: Vec<Value> = self.values.iter().filter_map(|value| serde_json::to_value(value).ok()).collect();
        if !known.is_empty() && !known.contains(value) {
            let texts: Vec<String> = known.iter().map(Value::to_string).collect();
            let near = nearest(&value.to_string(), texts.iter().map(String::as_str));
            let hint = near.map_or_else(|| self.about(), |near| format!("did you mean {near}?"));
            return Some((format!("{value} is not {}", texts.join(" or ")), hint));
        }
        let number = value.as_f64()?;
        if self.min.is_some_and(|min| number < min) || self.max.is_some_and(|max| number > max) {
            let range = match (self.min, self.max) {
                (Some(min), Some(max)) => format!("outside {min} to {max}"),
                (Some(min), None) => format!("below {min}"),
                (_, max) => format!("above {}", max.unwrap_or_default()),
            };
            return Some((format!("{value} is {range}{}", self.in_unit()), self.about()));
        }
        None
    }

    fn in_unit(&self) -> String {
        if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) }
    }

    fn about(&self) -> String {
        if self.help.is_empty() { format!("of type {}", self.kind) } else { self.help.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> BTreeMap<String, Setting> {
        toml::from_str(text).unwrap()
    }

    fn said(settings: &str) -> Vec<String> {
        let declared = declared(
            "[device]\ntype = 'path'\nrequired = true\nhelp = 'serial port'\n\
             [dialect]\ntype = 'string'\nvalues = ['rn2483', 'lora-e5']\nhelp = 'command language'\n\
             [freq_hz]\ntype = 'integer'\nunit = 'Hz'\nmin = 863000000\nmax = 870000000\nhelp = 'in Hz'\n\
             [sf]\ntype = 'integer'\nmin = 7\nmax = 12\nhelp = '7 to 12'\n[gain]\ntype = 'number'\nmin = 0.5\n\
             [on]\ntype = 'boolean'\n[frames]\ntype = 'list'",
        );
        let settings = serde_json::to_value(settings.parse::<toml::Table>().unwrap()).unwrap();
        let said = |one: Mistake| format!("{}: {}; {}", one.setting, one.problem, one.hint);
        mistakes(&declared, settings.as_object().unwrap()).into_iter().map(said).collect()
    }

    #[test]
    fn what_a_radio_cannot_work_with_is_named_with_what_to_do() {
        for (settings, want) in [
            ("dialect = 'rn2843'", "dialect: \"rn2843\" is not \"rn2483\" or \"lora-e5\"; did you mean \"rn2483\"?"),
            ("dialect = 'morse'", "dialect: \"morse\" is not \"rn2483\" or \"lora-e5\"; command language"),
            ("dialect = 7", "dialect: 7 is not text in quotes; command language"),
            ("sf = 99", "sf: 99 is outside 7 to 12; 7 to 12"),
            ("sf = '7'", "sf: \"7\" is not a whole number; without quotes: sf = 7"),
            ("sf = 'seven'", "sf: \"seven\" is not a whole number; 7 to 12"),
            ("freq_hz = 868.1", "freq_hz: 868.1 is not a whole number of Hz; in Hz"),
            ("freq_hz = 868", "freq_hz: 868 is outside 863000000 to 870000000 Hz; in Hz"),
            ("gain = 0.4", "gain: 0.4 is below 0.5; of type number"),
            ("gain = nan", "gain: null is not a number; of type number"),
            ("on = 1", "on: 1 is not true or false; of type boolean"),
            ("frames = 'x'", "frames: \"x\" is not a list; of type list"),
            ("divice = '/d'", "divice: the plugin has no such setting; did you mean \"device\"?"),
        ] {
            assert_eq!(said(&format!("device = '/dev/ttyACM0'\n{settings}")), [want], "{settings}");
        }
        assert_eq!(said(""), ["device: is missing; serial port"]);
        assert_eq!(said("device = ''"), ["device: \"\" is not a path in quotes; serial port"]);
        let good = "device = '/d'\ndialect = 'lora-e5'\nsf = 12\nfreq_hz = 868100000\ngain = 3\non = true\nframes = []";
        assert_eq!(said(good), Vec::<String>::new());
    }

    #[test]
    fn a_declaration_that_contradicts_itself_is_refused() {
        for (text, want) in [
            ("type = 'float'", "type is none of"),
            ("type = 'string'\nmax = 3", "min and max are for"),
            ("type = 'integer'\nvalues = [1, 'x']", "one of its values is not of type integer"),
            ("type = 'integer'\nmin = 7\ndefault = 6", "its default 6 is below 7"),
        ] {
            let setting = declared(&format!("[x]\n{text}"))["x"].clone();
            assert!(
                setting.own_mistake().is_some_and(|said| said.starts_with(want)),
                "{text}: {:?}",
                setting.own_mistake()
            );
        }
        for plugin in ["lora-serial", "stress", "example-python"] {
            let text = std::fs::read_to_string(format!("plugins/{plugin}/plugin.toml")).unwrap();
            let manifest: toml::Table = text.parse().unwrap();
            let settings: BTreeMap<String, Setting> = manifest["settings"].clone().try_into().unwrap();
            let mistakes: Vec<_> = settings.iter().map(|(name, setting)| (name, setting.own_mistake())).collect();
            assert!(mistakes.iter().all(|(_, mistake)| mistake.is_none()), "{plugin}: {mistakes:?}");
        }
    }
}
