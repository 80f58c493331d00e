//! Numbers that the configuration and the device profiles may say: key, default, range. The checks and `docs/limits.md` are
//! made from the same table.

const YEAR_S: u64 = 31_536_000;

/// What one number may be.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The key, with its table; keys of a device profile begin with `profile`.
    pub key: &'static str,
    /// What holds where nothing is said; `None`: it must be said, or follows from something else.
    pub default: Option<u64>,
    /// The least that may be said, in the unit that the key names.
    pub least: u64,
    /// The most.
    pub most: u64,
    /// What it bounds, and what follows, for people.
    pub about: &'static str,
}

impl Bound {
    /// What holds where nothing is said; 0 if there is no such thing.
    #[must_use]
    pub const fn default(&self) -> u64 {
        match self.default {
            Some(value) => value,
            None => 0,
        }
    }

    /// `VALUE UNIT is outside LEAST to MOST UNIT`, for what may not be said.
    #[must_use]
    pub fn problem(&self, value: impl Into<u64>) -> Option<String> {
        let (value, unit) = (value.into(), self.unit());
        let outside = || format!("{value}{unit} is outside {} to {}{unit}", self.least, self.most);
        (!(self.least..=self.most).contains(&value)).then(outside)
    }

    /// The unit that the key names, after a space.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        let units = [("_s", " s"), ("_h", " h"), ("_bytes", " B"), ("_length", " B")];
        units.iter().find(|(end, _)| self.key.ends_with(end)).map_or("", |(_, unit)| unit)
    }
}

macro_rules! bounds {
    ($($(#[doc = $about:literal])+ $name:ident = $key:literal, $default:expr, $least:expr, $most:expr;)*) => {
        $(
            $(#[doc = $about])+
            pub const $name: Bound =
                Bound { key: $key, default: $default, least: $least, most: $most, about: concat!($($about),+) };
        )*
        /// All of them.
        pub const ALL: &[Bound] = &[$($name),*];
    };
}

bounds! {
    /// Receive delay that nodes get when they join; the answer must be decided and handed to the radio in it.
    RX1_DELAY_S = "gateway.rx1_delay_s", Some(5), 1, 15;
    /// DTLS sessions that are live at once; beyond it the longest idle one is put aside until its node speaks.
    DTLS_LIVE_SESSIONS = "gateway.dtls_live_sessions", Some(1000), 1, 100_000;
    /// Bytes of all readings that wait for servers; beyond it the oldest go. 0 is possible too: nothing is kept.
    /// Counted: `uplinks_dropped`.
    BACKLOG_MAX_BYTES = "backlog.max_bytes", Some(16 * 1024 * 1024), 64 * 1024, 1024 * 1024 * 1024;
    /// Age from which readings that wait are dropped.
    /// Counted: `uplinks_dropped`.
    BACKLOG_MAX_AGE_H = "backlog.max_age_h", Some(72), 1, 24 * 366;
    /// Longest DTLS record that is asked for: 512, 1024, 2048 or 4096 (RFC 6066 §4).
    MAX_FRAGMENT_LENGTH = "server.max_fragment_length", Some(512), 512, 4096;
    /// Wait before a handshake message is repeated for the first time; below 9 it needs a reason (RFC 7925 §11).
    DTLS_TIMER_INITIAL_S = "server.dtls_timer_initial_s", Some(9), 1, 60;
    /// Longest wait before a handshake message is repeated: 9, 18, 36, 72 (RFC 6347 §4.2.4.1: not below 60 s).
    DTLS_TIMER_CAP_S = "server.dtls_timer_cap_s", Some(72), 60, 600;
    /// Longest usual time between two uplinks; up to 30 days.
    EXPECT_UPLINK_S = "profile expect_uplink_s", None, 10, 2_592_000;
    /// Registration lifetime; if not said three times `expect_uplink_s`, at least 300 s.
    LIFETIME_S = "profile lifetime_s", None, 300, YEAR_S;
    /// Age from which a value is stale; if not said the lifetime.
    STALE_AFTER_S = "profile stale_after_s", None, 10, YEAR_S;
    /// How long a write waits for a receive window; then it is dropped (`downlink-dropped`).
    /// Counted: `downlinks_dropped`.
    TTL_S = "profile downlink.ttl_s", Some(86_400), 1, YEAR_S;
    /// Writes that may wait for a node; one more is refused with 5.03 (`write-refused`).
    /// Counted: `writes_refused_full`.
    MAX_PENDING = "profile downlink.max_pending", Some(16), 1, 64;
}
