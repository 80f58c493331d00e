//! Frames that wait for their time, in any dialect whose modem sends when it is told.

use crate::airtime;
use crate::modem::{TxRequest, TxStatus};
use std::collections::VecDeque;
use std::time::Duration;

/// Most frames that wait for their time; more are answered by `busy`.
const MAX_QUEUED: usize = 4;
/// What a module needs to answer a command, at most, for planning.
pub(super) const ANSWER_PLANNED: Duration = Duration::from_millis(5);
/// Time before the preparation for what may be under way: a report of a frame, a late wake-up.
pub(super) const SLACK: Duration = Duration::from_millis(60);
/// By how much the end of the line may be late. Nodes tolerate about 10 ms at SF7.
pub(super) const TOLERANCE: Duration = Duration::from_millis(3);
/// Added to the airtime for the answer after it.
pub(super) const DONE_TIMEOUT: Duration = Duration::from_secs(1);

/// A frame that waits for its time.
pub(super) struct Pending {
    pub(super) request: TxRequest,
    /// When the preparation begins.
    pub(super) begin_at: Duration,
    /// When the end of the line is written.
    pub(super) write_at: Duration,
    pub(super) airtime: Duration,
}

/// What a dialect needs to send one frame.
pub(super) struct Plan {
    /// From the first byte of the line's end to the start of the preamble.
    pub(super) lead: Duration,
    /// The commands, their answers and the loaded line, on the serial line.
    pub(super) shortest: Duration,
    /// Number of commands before the loaded line.
    pub(super) commands: usize,
    /// Longest frame in bytes.
    pub(super) max_bytes: usize,
}

/// Why a frame is not taken.
pub(super) struct Refusal {
    pub(super) status: TxStatus,
    pub(super) margin_ms: Option<i32>,
    pub(super) detail: String,
}

/// The frames in the order of their times.
#[derive(Default)]
pub(super) struct Queue(VecDeque<Pending>);

impl Queue {
    /// Takes a frame, unless it is too long, too late, too many, or at the time of another one; `active` is being sent.
    pub(super) fn admit(
        &mut self,
        now: Duration,
        request: TxRequest,
        plan: &Plan,
        active: Option<&Pending>,
    ) -> Result<(), Refusal> {
        let airtime = airtime::downlink(request.dr, request.data.len());
        let write_at = request.at.saturating_sub(plan.lead);
        let longest = plan.shortest + ANSWER_PLANNED * u32::try_from(plan.commands).unwrap_or(u32::MAX);
        let begin_at = write_at.saturating_sub(longest + SLACK);
        let end = request.at + airtime;
        let overlaps = |other: &Pending| request.at < other.request.at + other.airtime && other.request.at < end;
        let (status, detail) = if !(1..=plan.max_bytes).contains(&request.data.len()) {
            (TxStatus::Failed, format!("a frame has 1 to {} bytes", plan.max_bytes))
        } else if now + plan.shortest > write_at {
            (TxStatus::Late, format!("{} ms are needed at least", plan.shortest.as_millis()))
        } else if self.0.iter().chain(active).any(overlaps) {
            (TxStatus::Collision, "another frame has that time".to_string())
        } else if self.len() >= MAX_QUEUED {
            (TxStatus::Busy, format!("{MAX_QUEUED} frames wait already"))
        } else {
            let place = self.0.partition_point(|other| other.write_at <= write_at);
            self.0.insert(place, Pending { request, begin_at, write_at, airtime });
            return Ok(());
        };
        let margin_ms = (status == TxStatus::Late).then(|| signed_ms(write_at, now + plan.shortest));
        Err(Refusal { status, margin_ms, detail })
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn front(&self) -> Option<&Pending> {
        self.0.front()
    }

    pub(super) fn pop(&mut self) -> Option<Pending> {
        self.0.pop_front()
    }

    pub(super) fn first_if(&mut self, condition: impl Fn(&Pending) -> bool) -> Option<Pending> {
        if self.0.front().is_some_and(condition) { self.0.pop_front() } else { None }
    }
}

/// `due` minus `ready`, in ms.
pub(super) fn signed_ms(due: Duration, ready: Duration) -> i32 {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    i32::try_from(ms(due).saturating_sub(ms(ready))).unwrap_or(i32::MIN)
}

/// The name of the counter of a status.
pub(super) fn counter(status: TxStatus) -> &'static str {
    match status {
        TxStatus::Sent => "tx_sent",
        TxStatus::Late => "tx_late",
        TxStatus::Collision => "tx_collision",
        TxStatus::Busy => "tx_busy",
        TxStatus::Failed => "tx_failed",
    }
}
