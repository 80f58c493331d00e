//! The address of a node of the object tree (LwM2M Core 1.1.1 §7.1).

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// `/object`, `/object/instance`, `/object/instance/resource` or `/object/instance/resource/resource-instance`.
///
/// Built only by its constructors, a path has no gap: a resource always has its instance. Paths sort in tree order, a parent
/// before its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub struct Path {
    /// Object id.
    pub object: u16,
    /// Object instance id; 65535 is reserved and not accepted from text (LwM2M Core 1.1.1 §7.1).
    pub instance: Option<u16>,
    /// Resource id.
    pub resource: Option<u16>,
    /// Resource instance id of a multiple resource; 65535 is reserved and not accepted from text.
    pub resource_instance: Option<u16>,
}

impl Path {
    /// `/object`
    pub const fn object(object: u16) -> Path {
        Path { object, instance: None, resource: None, resource_instance: None }
    }

    /// `/object/instance`
    pub const fn instance(object: u16, instance: u16) -> Path {
        Path { object, instance: Some(instance), resource: None, resource_instance: None }
    }

    /// `/object/instance/resource`
    pub const fn resource(object: u16, instance: u16, resource: u16) -> Path {
        Path { object, instance: Some(instance), resource: Some(resource), resource_instance: None }
    }

    /// `/object/instance/resource/resource-instance`
    pub const fn resource_instance(object: u16, instance: u16, resource: u16, resource_instance: u16) -> Path {
        Path { object, instance: Some(instance), resource: Some(resource), resource_instance: Some(resource_instance) }
    }

    /// True if `other` is this node or lies below it.
    pub fn contains(&self, other: &Path) -> bool {
        self.object == other.object
            && (self.instance.is_none() || self.instance == other.instance)
            && (self.resource.is_none() || self.resource == other.resource)
            && (self.resource_instance.is_none() || self.resource_instance == other.resource_instance)
    }

    /// The node above, or `None` for an object.
    pub fn parent(&self) -> Option<Path> {
        match (self.instance, self.resource, self.resource_instance) {
            (Some(_), Some(_), Some(_)) => Some(Path { resource_instance: None, ..*self }),
            (Some(_), Some(_), None) => Some(Path { resource: None, ..*self }),
            (Some(_), None, _) => Some(Path::object(self.object)),
            (None, ..) => None,
        }
    }

    /// True for a resource or a resource instance.
    pub fn is_resource(&self) -> bool {
        self.resource.is_some()
    }

    /// From one to four ids, as the segments of a Uri-Path; anything else, also the reserved instance id 65535, is `None`.
    pub fn from_segments<'a>(segments: impl Iterator<Item = &'a str>) -> Option<Path> {
        let mut ids = [0u16; 4];
        let mut count = 0;
        for segment in segments {
            *ids.get_mut(count)? = parse_id(segment)?;
            count += 1;
        }
        let [object, instance, resource, resource_instance] = ids;
        if (count > 1 && instance == u16::MAX) || (count > 3 && resource_instance == u16::MAX) {
            return None;
        }
        match count {
            1 => Some(Path::object(object)),
            2 => Some(Path::instance(object, instance)),
            3 => Some(Path::resource(object, instance, resource)),
            4 => Some(Path::resource_instance(object, instance, resource, resource_instance)),
            _ => None,
        }
    }
}

/// Decimal without sign or leading zero.
fn parse_id(text: &str) -> Option<u16> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.object)?;
        for id in [self.instance, self.resource, self.resource_instance].into_iter().flatten() {
            write!(f, "/{id}")?;
        }
        Ok(())
    }
}

/// The text is not an LwM2M path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an LwM2M path: expected /object[/instance[/resource[/resource-instance]]] with ids up to 65534")]
pub struct PathError;

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Path, PathError> {
        let rest = text.strip_prefix('/').ok_or(PathError)?;
        Path::from_segments(rest.split('/')).ok_or(PathError)
    }
}

impl From<Path> for String {
    fn from(path: Path) -> String {
        path.to_string()
    }
}

impl TryFrom<String> for Path {
    type Error = PathError;

    fn try_from(text: String) -> Result<Path, PathError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_that_is_no_path_is_refused() {
        for text in [
            "",
            "/",
            "3303",
            "/3303/",
            "/3303//5700",
            "/03303",
            "/+3",
            "/-3",
            "/65536",
            "/3/65535",
            "/1/2/3/65535",
            "/1/2/3/4/5",
            "/a",
        ] {
            assert_eq!(text.parse::<Path>(), Err(PathError), "{text:?}");
        }
    }

    #[test]
    fn parents_sort_before_children_and_contain_them() {
        let chain = [
            Path::object(3303),
            Path::instance(3303, 1),
            Path::resource(3303, 1, 5700),
            Path::resource_instance(3303, 1, 5700, 0),
        ];
        for pair in chain.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(pair[0].contains(&pair[1]) && !pair[1].contains(&pair[0]));
            assert_eq!(pair[1].parent(), Some(pair[0]));
        }
        assert_eq!(chain[0].parent(), None);
        assert!(!Path::instance(3303, 1).contains(&Path::resource(3303, 2, 5700)));
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(ids in proptest::collection::vec(0u16..65535, 1..=4)) {
            let text: String = ids.iter().map(|id| format!("/{id}")).collect();
            let path: Path = text.parse().unwrap();
            prop_assert_eq!(path.to_string(), text);
        }
    }
}
