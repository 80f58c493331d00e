//! What an object may contain: the facts of one object of the OMA registry (LwM2M Core 1.1.1 §7.2, §D).

use serde::Deserialize;

use super::value::{Value, ValueType};

/// One object: read from a small TOML table in `objects/`.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectDefinition {
    /// Object id.
    pub id: u16,
    /// Name in the registry.
    pub name: String,
    /// Object version, `major.minor`.
    pub version: String,
    /// More than one object instance may exist.
    pub multiple: bool,
    /// Sorted by id.
    resources: Vec<ResourceDefinition>,
}

/// One resource of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceDefinition {
    /// Resource id.
    pub id: u16,
    /// Name in the registry.
    pub name: String,
    /// A server may read it.
    pub readable: bool,
    /// A server may write it.
    pub writable: bool,
    /// `None` for a resource that can only be executed.
    pub value_type: Option<ValueType>,
    /// Every instance of the object has it.
    pub mandatory: bool,
    /// It has resource instances.
    pub multiple: bool,
    /// Smallest and largest number, both allowed.
    pub range: Option<(f64, f64)>,
    /// Longest text or byte string.
    pub max_bytes: Option<usize>,
    /// SenML unit name (RFC 8428 §12.1) or the unit the registry names.
    pub unit: Option<String>,
}

impl ResourceDefinition {
    /// A server may execute it.
    pub fn executable(&self) -> bool {
        self.value_type.is_none()
    }

    /// The value has the type and lies in the range that a server must keep when it writes.
    pub fn accepts(&self, value: &Value) -> bool {
        let in_range = match (self.range, value.as_f64()) {
            (Some((min, max)), Some(number)) => min <= number && number <= max,
            _ => true,
        };
        Some(value.value_type()) == self.value_type
            && in_range
            && self.max_bytes.is_none_or(|max| value.byte_len() <= max)
    }
}

/// Why an object table was refused.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// Not TOML, an unknown key, or a wrong type.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// The table contradicts itself.
    #[error("object {object}, resource {resource}: {problem}")]
    Resource {
        /// Object id.
        object: u16,
        /// Resource id.
        resource: u16,
        /// What is wrong.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectTable {
    id: u16,
    name: String,
    version: String,
    multiple: bool,
    resources: Vec<ResourceTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceTable {
    id: u16,
    name: String,
    operations: String,
    #[serde(rename = "type")]
    value_type: Option<ValueType>,
    #[serde(default)]
    mandatory: bool,
    #[serde(default)]
    multiple: bool,
    min: Option<f64>,
    max: Option<f64>,
    max_bytes: Option<usize>,
    unit: Option<String>,
}

impl ObjectDefinition {
    /// Reads one object table: `id`, `name`, `version`, `multiple` and `resources`, each with `id`, `name`, `operations` (a subset
    /// of `RW`, or `E`), `type`, and where they apply `mandatory`, `multiple`, `min`, `max`, `max_bytes`, `unit`.
    pub fn parse(text: &str) -> Result<ObjectDefinition, DefinitionError> {
        let table: ObjectTable = toml::from_str(text)?;
        let mut resources = Vec::with_capacity(table.resources.len());
        for resource in table.resources {
            resources.push(check(table.id, resource)?);
        }
        resources.sort_by_key(|resource| resource.id);
        if let Some(twin) = resources.windows(2).find_map(|pair| match pair {
            [a, b] if a.id == b.id => Some(a.id),
            _ => None,
        }) {
            return Err(DefinitionError::Resource { object: table.id, resource: twin, problem: "listed twice" });
        }
        Ok(ObjectDefinition {
            id: table.id,
            name: table.name,
            version: table.version,
            multiple: table.multiple,
            resources,
        })
    }

    /// The resource, if the object has it.
    pub fn resource(&self, id: u16) -> Option<&ResourceDefinition> {
        let index = self.resources.binary_search_by_key(&id, |resource| resource.id).ok()?;
        self.resources.get(index)
    }

    /// All resources, sorted by id.
    pub fn resources(&self) -> &[ResourceDefinition] {
        &self.resources
    }
}

fn check(object: u16, table: ResourceTable) -> Result<ResourceDefinition, DefinitionError> {
    let resource = table.id;
    let fail = |problem| Err(DefinitionError::Resource { object, resource, problem });
    let (readable, writable, executable) = match table.operations.as_str() {
        "" => (false, false, false),
        "R" => (true, false, false),
        "W" => (false, true, false),
        "RW" => (true, true, false),
        "E" => (false, false, true),
        _ => return fail("operations must be one of \"\", R, W, RW, E"),
    };
    if executable == table.value_type.is_some() {
        return fail("a resource has a type unless it is executable");
    }
    let range = match (table.min, table.max) {
        (Some(min), Some(max)) if min <= max => Some((min, max)),
        (None, None) => None,
        _ => return fail("min and max come together, min first"),
    };
    Ok(ResourceDefinition {
        id: table.id,
        name: table.name,
        readable,
        writable,
        value_type: table.value_type,
        mandatory: table.mandatory,
        multiple: table.multiple,
        range,
        max_bytes: table.max_bytes,
        unit: table.unit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(resource: &str) -> Result<ObjectDefinition, DefinitionError> {
        ObjectDefinition::parse(&format!(
            "id = 9\nname = \"x\"\nversion = \"1.0\"\nmultiple = true\nresources = [{resource}]\n"
        ))
    }

    #[test]
    fn tables_that_contradict_themselves_are_refused() {
        let good = "{ id = 1, name = \"a\", operations = \"RW\", type = \"integer\", min = 0, max = 7 }";
        assert!(table(good).is_ok());
        assert!(table(&format!("{good}, {good}")).is_err());
        for bad in [
            "{ id = 1, name = \"a\", operations = \"E\", type = \"integer\" }",
            "{ id = 1, name = \"a\", operations = \"R\" }",
            "{ id = 1, name = \"a\", operations = \"X\", type = \"integer\" }",
            "{ id = 1, name = \"a\", operations = \"R\", type = \"integer\", min = 0 }",
            "{ id = 1, name = \"a\", operations = \"R\", type = \"integer\", range = 3 }",
        ] {
            assert!(table(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_are_inclusive() {
        let object =
            table("{ id = 1, name = \"a\", operations = \"RW\", type = \"integer\", min = 0, max = 7 }").unwrap();
        let resource = object.resource(1).unwrap();
        assert!(resource.accepts(&Value::Integer(0)) && resource.accepts(&Value::Integer(7)));
        assert!(!resource.accepts(&Value::Integer(8)) && !resource.accepts(&Value::Float(1.0)));
    }
}
