//! What a plugin said of its modem's network, and how long that holds.

use super::{Cause, Output, Radio};
use core::time::Duration;
use lpwad_link::fact::{Fact, FactName};
use serde_json::Value;
use std::collections::BTreeMap;

/// A fact that is older is not known any more.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Most changes of facts in a minute: each one makes all decisions anew.
const MAX_CHANGES_PER_MIN: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// What became of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// It is known already.
    Same,
    /// It is new.
    Changed,
    /// The plugin changes its mind too often.
    TooOften,
}

/// The facts of one run of a plugin.
#[derive(Debug, Default)]
pub struct Said {
    /// Value, and until when it holds.
    facts: BTreeMap<FactName, (Value, Duration)>,
    minute: (Duration, u32),
}

impl Said {
    /// What it last said, unless it is too old.
    #[must_use]
    pub fn get(&self, name: FactName) -> Option<&Value> {
        self.facts.get(&name).map(|(value, _)| value)
    }

    /// Whether it said nothing that holds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Takes a value that was true `age` ago; null, or one that is too old, is none.
    fn hear(&mut self, now: Duration, name: FactName, value: Value, age: Duration) -> Heard {
        let left = MAX_AGE.saturating_sub(age);
        let known = if value.is_null() || left.is_zero() {
            self.facts.remove(&name).is_none()
        } else {
            let former = self.facts.insert(name, (value.clone(), now + left));
            former.is_some_and(|(former, _)| former == value)
        };
        if known {
            return Heard::Same;
        }
        if now.saturating_sub(self.minute.0) >= MINUTE {
            self.minute = (now, 0);
        }
        self.minute.1 += 1;
        if self.minute.1 > MAX_CHANGES_PER_MIN { Heard::TooOften } else { Heard::Changed }
    }

    /// When [`Said::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.facts.values().map(|(_, until)| *until).min()
    }

    /// Forgets what is too old; gives whether there was something.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let before = self.facts.len();
        self.facts.retain(|_, (_, until)| *until > now);
        self.facts.len() < before
    }

    /// Forgets everything, as after the end of the run; gives whether there was something.
    pub(super) fn clear(&mut self) -> bool {
        !std::mem::take(self).facts.is_empty()
    }
}

impl Radio {
    /// A value that a fact cannot have ends the former one: what it was is not known any more.
    pub(super) fn fact(&mut self, now: Duration, fact: Fact) {
        let Some(name) = FactName::named(&fact.name) else {
            self.unknown_facts += 1;
            return;
        };
        let bad = !fact.value.is_null() && !name.takes(&fact.value);
        let value = if bad { Value::Null } else { fact.value };
        match self.said.hear(now, name, value, Duration::from_secs(u64::from(fact.age_s))) {
            Heard::Same => {}
            Heard::Changed => self.outputs.push_back(Output::Facts),
            Heard::TooOften => {
                let reason = format!("plugin changes its facts more often than {MAX_CHANGES_PER_MIN} times a minute");
                return self.fail(now, Cause::Flood, reason, true);
            }
        }
        if bad {
            self.bad_line(now, &format!("fact {} has a value that it cannot have", name.name()));
        }
    }
}
