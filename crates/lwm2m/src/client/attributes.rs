//! Notification attributes (LwM2M Core 1.1.1 §5.1.2 and §7.3.2): where they are attached, and which apply.

use serde::{Deserialize, Serialize};

use crate::format::link::Links;
use crate::object::path::Path;

/// Paths that carry attributes at most.
/// Counted: `errors_answered`.
pub(super) const MAX_ATTRIBUTED: usize = 32;

/// The attributes attached to one path, or those in effect there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// Seconds a notification waits after the one before.
    pub pmin: Option<u32>,
    /// Seconds after which a notification is sent without a change.
    pub pmax: Option<u32>,
    /// Seconds between two samples at least; kept and shown, a hint for the radio side.
    pub epmin: Option<u32>,
    /// Seconds between two samples at most; kept and shown.
    pub epmax: Option<u32>,
    /// Notify when the value crosses this.
    pub gt: Option<f64>,
    /// Notify when the value crosses this.
    pub lt: Option<f64>,
    /// Notify when the value moved by this much since the last notification.
    pub st: Option<f64>,
}

impl Attributes {
    /// gt, lt or st is set.
    pub(super) fn conditional(&self) -> bool {
        self.gt.is_some() || self.lt.is_some() || self.st.is_some()
    }

    /// Adds them to the last link.
    pub(super) fn write(&self, links: &mut Links) {
        for (name, value) in [("pmin", self.pmin), ("pmax", self.pmax), ("epmin", self.epmin), ("epmax", self.epmax)] {
            if let Some(value) = value {
                links.attribute(name, value);
            }
        }
        for (name, value) in [("gt", self.gt), ("lt", self.lt), ("st", self.st)] {
            if let Some(value) = value {
                links.attribute(name, value);
            }
        }
    }

    /// What is set here, else what `above` sets.
    fn or(self, above: Attributes) -> Attributes {
        Attributes {
            pmin: self.pmin.or(above.pmin),
            pmax: self.pmax.or(above.pmax),
            epmin: self.epmin.or(above.epmin),
            epmax: self.epmax.or(above.epmax),
            gt: self.gt.or(above.gt),
            lt: self.lt.or(above.lt),
            st: self.st.or(above.st),
        }
    }

    /// One query argument of Write-Attributes: `name=value` sets, `name` alone unsets.
    fn change(&mut self, argument: &str, path: Path) -> Option<()> {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };
        let period = match name {
            "pmin" => Some(&mut self.pmin),
            "pmax" => Some(&mut self.pmax),
            "epmin" => Some(&mut self.epmin),
            "epmax" => Some(&mut self.epmax),
            _ => None,
        };
        if let Some(period) = period {
            *period = match value {
                Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
                Some(_) => return None,
                None => None,
            };
            return Some(());
        }
        let threshold = match name {
            "gt" => &mut self.gt,
            "lt" => &mut self.lt,
            "st" => &mut self.st,
            _ => return None,
        };
        if !path.is_resource() {
            return None;
        }
        *threshold = match value {
            Some(number) => Some(number.parse::<f64>().ok().filter(|number| number.is_finite())?),
            None => None,
        };
        Some(())
    }

    /// D12: `lt < gt` and `lt + 2 st < gt`, and st is not negative.
    fn consistent(&self) -> bool {
        let step = self.st.unwrap_or(0.0);
        step >= 0.0 && !matches!((self.lt, self.gt), (Some(lt), Some(gt)) if lt + 2.0 * step >= gt)
    }
}

/// The attributes of one server, by path. Bound: [`MAX_ATTRIBUTED`] paths.
#[derive(Debug, Default)]
pub(super) struct AttributeTable {
    list: Vec<(Path, Attributes)>,
}

/// 4.00: a bad argument, thresholds that contradict one another, or no room.
#[derive(Debug, PartialEq)]
pub(super) struct BadAttributes;

impl AttributeTable {
    pub(super) fn restore(list: Vec<(Path, Attributes)>) -> AttributeTable {
        let mut table = AttributeTable { list };
        table.list.truncate(MAX_ATTRIBUTED);
        table
    }

    pub(super) fn snapshot(&self) -> Vec<(Path, Attributes)> {
        self.list.clone()
    }

    /// What is attached at exactly this path.
    pub(super) fn attached(&self, path: Path) -> Attributes {
        self.list.iter().find(|(at, _)| *at == path).map_or_else(Attributes::default, |(_, attributes)| *attributes)
    }

    /// What is in effect for an observation of this path (I2): a lower level wins over a higher one, and thresholds count at the
    /// level of resources only.
    pub(super) fn effective(&self, path: Path) -> Attributes {
        let mut attributes = self.attached(path);
        let mut above = path.parent();
        while let Some(parent) = above {
            attributes = attributes.or(self.attached(parent));
            above = parent.parent();
        }
        attributes
    }

    /// Write-Attributes: all arguments, or none.
    pub(super) fn write(&mut self, path: Path, arguments: &[&str]) -> Result<(), BadAttributes> {
        let mut attributes = self.attached(path);
        for argument in arguments {
            attributes.change(argument, path).ok_or(BadAttributes)?;
        }
        if !attributes.consistent() {
            return Err(BadAttributes);
        }
        let position = self.list.iter().position(|(at, _)| *at == path);
        let empty = attributes == Attributes::default();
        match (position, empty) {
            (Some(index), true) => {
                self.list.remove(index);
            }
            (Some(index), false) => {
                if let Some((_, existing)) = self.list.get_mut(index) {
                    *existing = attributes;
                }
            }
            (None, true) => {}
            (None, false) if self.list.len() >= MAX_ATTRIBUTED => return Err(BadAttributes),
            (None, false) => self.list.push((path, attributes)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCE: Path = Path::resource(3303, 0, 5700);

    fn write(table: &mut AttributeTable, path: Path, query: &str) -> Result<(), BadAttributes> {
        table.write(path, &query.split('&').collect::<Vec<_>>())
    }

    /// D12
    #[test]
    fn d12_bad_arguments_change_nothing() {
        let mut table = AttributeTable::default();
        write(&mut table, RESOURCE, "pmin=10&gt=30&lt=10&st=5").unwrap();
        let before = table.attached(RESOURCE);
        for query in [
            "st=-1",
            "lt=30",
            "lt=31",
            "st=10",
            "pmin=-1",
            "pmin=",
            "pmin=1.5",
            "pmin=x",
            "pmin=+5",
            "gt=abc",
            "gt=inf",
            "con=1",
            "hqmax=3",
            "dim=1",
            "",
            "pmin=20&bad=1",
            "pmax=4294967296",
        ] {
            assert_eq!(write(&mut table, RESOURCE, query), Err(BadAttributes), "{query}");
            assert_eq!(table.attached(RESOURCE), before, "{query}");
        }
        assert_eq!(write(&mut table, Path::instance(3303, 0), "gt=1"), Err(BadAttributes), "above resource level");
        write(&mut table, RESOURCE, "gt&lt&st&pmin").unwrap();
        assert!(table.list.is_empty(), "a name without value unsets");
    }

    /// I2
    #[test]
    fn i2_lower_levels_win_and_levels_below_do_not_count() {
        let mut table = AttributeTable::default();
        write(&mut table, Path::object(3303), "pmin=1&pmax=100").unwrap();
        write(&mut table, Path::instance(3303, 0), "pmin=2").unwrap();
        write(&mut table, RESOURCE, "pmin=3&gt=5").unwrap();
        let pmin = |path| table.effective(path).pmin;
        assert_eq!(pmin(Path::object(3303)), Some(1));
        assert_eq!(pmin(Path::instance(3303, 0)), Some(2));
        assert_eq!(pmin(RESOURCE), Some(3));
        assert_eq!(pmin(Path::resource(3303, 0, 5601)), Some(2));
        assert_eq!(pmin(Path::resource(3303, 1, 5700)), Some(1));
        assert_eq!(table.effective(RESOURCE).pmax, Some(100));
        assert_eq!(table.effective(Path::instance(3303, 0)).gt, None);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = AttributeTable::default();
        for instance in 0..MAX_ATTRIBUTED as u16 {
            write(&mut table, Path::instance(3303, instance), "pmin=1").unwrap();
        }
        assert_eq!(write(&mut table, Path::instance(3304, 0), "pmin=1"), Err(BadAttributes));
        assert_eq!(write(&mut table, Path::instance(3303, 0), "pmin=2"), Ok(()));
    }
}
