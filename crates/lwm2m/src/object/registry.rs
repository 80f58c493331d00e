//! The objects this client knows: one list, one small table per object.

use std::collections::BTreeMap;

use super::definition::ObjectDefinition;

/// Every embedded object. A new object is a new file and a new line here.
const EMBEDDED: &[&str] = &[
    include_str!("../../objects/1.toml"),
    include_str!("../../objects/3.toml"),
    include_str!("../../objects/6.toml"),
    include_str!("../../objects/19.toml"),
    include_str!("../../objects/3200.toml"),
    include_str!("../../objects/3201.toml"),
    include_str!("../../objects/3202.toml"),
    include_str!("../../objects/3203.toml"),
    include_str!("../../objects/3300.toml"),
    include_str!("../../objects/3301.toml"),
    include_str!("../../objects/3302.toml"),
    include_str!("../../objects/3303.toml"),
    include_str!("../../objects/3304.toml"),
    include_str!("../../objects/3305.toml"),
    include_str!("../../objects/3306.toml"),
    include_str!("../../objects/3308.toml"),
    include_str!("../../objects/3311.toml"),
    include_str!("../../objects/3313.toml"),
    include_str!("../../objects/3314.toml"),
    include_str!("../../objects/3315.toml"),
    include_str!("../../objects/3316.toml"),
    include_str!("../../objects/3317.toml"),
    include_str!("../../objects/3318.toml"),
    include_str!("../../objects/3319.toml"),
    include_str!("../../objects/3320.toml"),
    include_str!("../../objects/3321.toml"),
    include_str!("../../objects/3322.toml"),
    include_str!("../../objects/3323.toml"),
    include_str!("../../objects/3324.toml"),
    include_str!("../../objects/3325.toml"),
    include_str!("../../objects/3326.toml"),
    include_str!("../../objects/3327.toml"),
    include_str!("../../objects/3328.toml"),
    include_str!("../../objects/3329.toml"),
    include_str!("../../objects/3330.toml"),
    include_str!("../../objects/3331.toml"),
    include_str!("../../objects/3332.toml"),
    include_str!("../../objects/3333.toml"),
    include_str!("../../objects/3334.toml"),
    include_str!("../../objects/3335.toml"),
    include_str!("../../objects/3336.toml"),
    include_str!("../../objects/3337.toml"),
    include_str!("../../objects/3342.toml"),
    include_str!("../../objects/3347.toml"),
    include_str!("../../objects/3412.toml"),
    include_str!("../../objects/30412.toml"),
];

/// Object definitions by id; made once and shared by all clients.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    objects: BTreeMap<u16, ObjectDefinition>,
}

impl Registry {
    /// The embedded objects.
    pub fn embedded() -> Registry {
        let mut registry = Registry::default();
        for text in EMBEDDED {
            registry
                .insert(ObjectDefinition::parse(text).expect("the test of this module parses every embedded table"));
        }
        registry
    }

    /// Adds an object, or replaces the one of the same id.
    pub fn insert(&mut self, object: ObjectDefinition) {
        self.objects.insert(object.id, object);
    }

    /// The definition of an object, if it is known.
    pub fn object(&self, id: u16) -> Option<&ObjectDefinition> {
        self.objects.get(&id)
    }

    /// All objects, by id.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectDefinition> {
        self.objects.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::value::ValueType;

    #[test]
    fn every_embedded_table_parses_and_has_its_own_id() {
        let registry = Registry::embedded();
        assert_eq!(registry.objects().count(), EMBEDDED.len());
        for object in registry.objects() {
            assert!(!object.resources().is_empty(), "object {}", object.id);
            assert!(object.version.split('.').all(|part| part.parse::<u8>().is_ok()), "object {}", object.id);
        }
    }

    /// What Cayenne LPP types (object = 3200 + type) and the gateway itself write to.
    #[test]
    fn the_resources_that_codecs_write_to_exist() {
        let registry = Registry::embedded();
        let float = Some(ValueType::Float);
        let boolean = Some(ValueType::Boolean);
        let mut wanted = vec![
            (3200, 5500, boolean),
            (3201, 5550, boolean),
            (3202, 5600, float),
            (3203, 5650, float),
            (3302, 5500, boolean),
            (3342, 5500, boolean),
            (3306, 5850, boolean),
            (3332, 5705, float),
            (3333, 5506, Some(ValueType::Time)),
            (3335, 5706, Some(ValueType::String)),
            (3336, 6051, float),
            (3336, 6052, float),
            (6, 0, float),
            (6, 1, float),
            (6, 2, float),
            (6, 5, Some(ValueType::Time)),
            (19, 0, Some(ValueType::Opaque)),
            (3412, 6, Some(ValueType::String)),
            (3412, 18, float),
            (3412, 20, float),
            (30412, 0, Some(ValueType::Time)),
            (30412, 1, Some(ValueType::Integer)),
            (30412, 2, Some(ValueType::Integer)),
        ];
        for object in [3313, 3334] {
            wanted.extend([5702, 5703, 5704].map(|resource| (object, resource, float)));
        }
        for object in
            [3300, 3301, 3303, 3304, 3315, 3316, 3317, 3318, 3320, 3321, 3322, 3325, 3326, 3327, 3328, 3330, 3331]
        {
            wanted.push((object, 5700, float));
        }
        for (object, resource, value_type) in wanted {
            let found = registry.object(object).and_then(|o| o.resource(resource)).map(|r| r.value_type);
            assert_eq!(found, Some(value_type), "/{object}/x/{resource}");
        }
    }

    /// R4: the versions a server must be told about.
    #[test]
    fn versions_of_the_core_objects_are_those_of_lwm2m_1_1() {
        let registry = Registry::embedded();
        for (object, version) in [(1, "1.1"), (3, "1.1"), (6, "1.0"), (3303, "1.1"), (3336, "2.0"), (3412, "1.0")] {
            assert_eq!(registry.object(object).unwrap().version, version, "object {object}");
        }
    }
}
