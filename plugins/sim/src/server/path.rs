//! Paths of objects, object instances, resources and resource instances.

use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// `/3303`, `/3303/0`, `/3303/0/5700` or `/3303/0/5700/0`: one to four ids (LwM2M Core 1.1.1 §7.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<u16>);

impl Path {
    /// The object.
    #[must_use]
    pub fn object(&self) -> u16 {
        self.0.first().copied().unwrap_or_default()
    }

    /// Whether this names a whole object instance.
    #[must_use]
    pub fn is_instance(&self) -> bool {
        self.0.len() == 2
    }

    /// The ids, outermost first.
    #[must_use]
    pub fn ids(&self) -> &[u16] {
        &self.0
    }
}

/// The text is not a path.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path such as /3303/0/5700")]
pub struct PathError(String);

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let ids: Option<Vec<u16>> = text
            .strip_prefix('/')
            .filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'/'))
            .and_then(|rest| rest.splitn(5, '/').map(|id| id.parse().ok()).collect());
        match ids {
            Some(ids) if ids.len() <= 4 => Ok(Path(ids)),
            _ => Err(PathError(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|id| write!(f, "/{id}"))
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_to_four_ids() {
        for good in ["/3", "/3303/0", "/3303/0/5700", "/3/0/6/65535"] {
            assert_eq!(good.parse::<Path>().unwrap().to_string(), good);
        }
        for bad in ["", "/", "3303", "/3303/", "/3303//1", "/1/2/3/4/5", "/65536", "/+1", "/a", "/1 "] {
            assert!(bad.parse::<Path>().is_err(), "{bad}");
        }
    }
}
