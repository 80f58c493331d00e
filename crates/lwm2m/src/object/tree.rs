//! The last value of every resource of one node, with its age.

use core::ops::Range;
use core::time::Duration;

use super::path::Path;
use super::value::Value;

/// Object instances of one client.
/// Counted: `readings_refused`.
pub(crate) const MAX_INSTANCES: usize = 64;
/// Resources and resource instances of one client.
/// Counted: `readings_refused`.
pub(crate) const MAX_ENTRIES: usize = 256;
/// Text or bytes of one value.
/// Counted: `readings_refused`.
pub(crate) const MAX_VALUE_BYTES: usize = 1024;

/// Two sorted lists: small, and cheap to walk in tree order.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    instances: Vec<(u16, u16)>,
    entries: Vec<Entry>,
}

/// One resource, or one resource instance of a multiple resource.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: Path,
    /// `None` while the resource is known to exist but has no value.
    pub(crate) value: Option<Value>,
    pub(crate) freshness: Freshness,
    pub(crate) at_unix_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Freshness {
    /// Never ages.
    Static,
    /// Milliseconds on the caller's clock; negative for a value older than that clock's start.
    Measured { at_ms: i64 },
}

/// What a value read now is worth.
#[derive(Debug, PartialEq)]
pub(crate) enum Current<'a> {
    Fresh(&'a Value),
    Stale,
    Absent,
}

/// A bound of this module is reached.
#[derive(Debug, PartialEq)]
pub(crate) struct Full;

impl Tree {
    /// True if the instance is new.
    pub(crate) fn add_instance(&mut self, object: u16, instance: u16) -> Result<bool, Full> {
        match self.instances.binary_search(&(object, instance)) {
            Ok(_) => Ok(false),
            Err(_) if self.instances.len() >= MAX_INSTANCES => Err(Full),
            Err(index) => {
                self.instances.insert(index, (object, instance));
                Ok(true)
            }
        }
    }

    pub(crate) fn has_instance(&self, object: u16, instance: u16) -> bool {
        self.instances.binary_search(&(object, instance)).is_ok()
    }

    pub(crate) fn has_object(&self, object: u16) -> bool {
        self.instances_of(object).next().is_some()
    }

    /// All object instances in order.
    pub(crate) fn instances(&self) -> &[(u16, u16)] {
        &self.instances
    }

    pub(crate) fn instances_of(&self, object: u16) -> impl Iterator<Item = u16> {
        self.instances.iter().filter(move |(id, _)| *id == object).map(|(_, instance)| *instance)
    }

    /// Stores a value; true if it differs from the one before.
    pub(crate) fn set(
        &mut self,
        path: Path,
        value: Option<Value>,
        freshness: Freshness,
        at_unix_ms: Option<u64>,
    ) -> Result<bool, Full> {
        if value.as_ref().is_some_and(|value| value.byte_len() > MAX_VALUE_BYTES) {
            return Err(Full);
        }
        match self.position(path) {
            Ok(index) => {
                let Some(entry) = self.entries.get_mut(index) else { return Err(Full) };
                let changed = entry.value != value;
                *entry = Entry { path, value, freshness, at_unix_ms };
                Ok(changed)
            }
            Err(_) if self.entries.len() >= MAX_ENTRIES => Err(Full),
            Err(index) => {
                let changed = value.is_some();
                self.entries.insert(index, Entry { path, value, freshness, at_unix_ms });
                Ok(changed)
            }
        }
    }

    pub(crate) fn get(&self, path: Path) -> Option<&Entry> {
        self.entries.get(self.position(path).ok()?)
    }

    /// All entries at or below `path`, in tree order.
    pub(crate) fn under(&self, path: Path) -> &[Entry] {
        let start = self.entries.partition_point(|entry| entry.path < path);
        let below = self.entries.get(start..).unwrap_or_default();
        let len = below.partition_point(|entry| path.contains(&entry.path));
        let range: Range<usize> = 0..len;
        below.get(range).unwrap_or_default()
    }

    /// All entries, in tree order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Moves measured times when the caller's clock becomes known after values were restored.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        for entry in &mut self.entries {
            if let Freshness::Measured { at_ms } = &mut entry.freshness {
                *at_ms = at_ms.saturating_add(by_ms);
            }
        }
    }

    fn position(&self, path: Path) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.path.cmp(&path))
    }
}

impl Entry {
    /// The value if it is not older than `stale_after`.
    pub(crate) fn current(&self, now: Duration, stale_after: Option<Duration>) -> Current<'_> {
        let Some(value) = &self.value else { return Current::Absent };
        match (self.freshness, stale_after) {
            (Freshness::Measured { at_ms }, Some(limit)) if millis(now).saturating_sub(at_ms) > millis(limit) => {
                Current::Stale
            }
            _ => Current::Fresh(value),
        }
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPERATURE: Path = Path::resource(3303, 0, 5700);

    #[test]
    fn under_gives_exactly_the_subtree() {
        let mut tree = Tree::default();
        for text in ["/3/0/0", "/3/0/11/0", "/3/0/11/1", "/3/0/16", "/3/1/0", "/4/0/0"] {
            tree.set(text.parse().unwrap(), Some(Value::Integer(1)), Freshness::Static, None).unwrap();
        }
        let count = |text: &str| tree.under(text.parse().unwrap()).len();
        assert_eq!(count("/3"), 5);
        assert_eq!(count("/3/0"), 4);
        assert_eq!(count("/3/0/11"), 2);
        assert_eq!(count("/3/0/11/1"), 1);
        assert_eq!(count("/5"), 0);
    }

    #[test]
    fn a_measured_value_goes_stale_and_a_static_one_does_not() {
        let limit = Some(Duration::from_secs(60));
        let mut tree = Tree::default();
        tree.set(TEMPERATURE, Some(Value::Float(1.0)), Freshness::Measured { at_ms: 0 }, None).unwrap();
        let entry = tree.get(TEMPERATURE).unwrap();
        assert_eq!(entry.current(Duration::from_secs(60), limit), Current::Fresh(&Value::Float(1.0)));
        assert_eq!(entry.current(Duration::from_secs(61), limit), Current::Stale);
        assert_eq!(entry.current(Duration::from_secs(61), None), Current::Fresh(&Value::Float(1.0)));
        tree.set(TEMPERATURE, Some(Value::Float(1.0)), Freshness::Static, None).unwrap();
        let entry = tree.get(TEMPERATURE).unwrap();
        assert_eq!(entry.current(Duration::from_secs(9999), limit), Current::Fresh(&Value::Float(1.0)));
    }

    #[test]
    fn the_tree_is_bounded() {
        let mut tree = Tree::default();
        for id in 0..MAX_ENTRIES as u16 {
            tree.set(Path::resource(19, 0, id), Some(Value::Integer(1)), Freshness::Static, None).unwrap();
        }
        assert_eq!(tree.set(TEMPERATURE, Some(Value::Integer(1)), Freshness::Static, None), Err(Full));
        assert_eq!(tree.set(Path::resource(19, 0, 0), Some(Value::Integer(2)), Freshness::Static, None), Ok(true));
        let long = Value::Opaque(vec![0; MAX_VALUE_BYTES + 1]);
        assert_eq!(tree.set(Path::resource(19, 0, 0), Some(long), Freshness::Static, None), Err(Full));
        for instance in 0..MAX_INSTANCES as u16 {
            assert_eq!(tree.add_instance(3303, instance), Ok(true));
        }
        assert_eq!(tree.add_instance(3303, 9999), Err(Full));
        assert_eq!(tree.add_instance(3303, 0), Ok(false));
    }
}
