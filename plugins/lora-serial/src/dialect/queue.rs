//! Frames that wait for their time, in any dialect whose modem sends when it is told.

use crate::airtime;
use crate::dialect::transmission::End;
use crate::modem::{TxRequest, TxStatus};
use std::collections::VecDeque;
use std::time::Duration;

/// Most frames that wait for their time; more are answered by `busy`.
/// Counted: `tx_refused_by_radio`.
const MAX_QUEUED: usize = 4;
/// What a module needs to answer a command, at most, for planning.
pub(super) const ANSWER_PLANNED: Duration = Duration::from_millis(5);
/// Time before the preparation for what may be under way: a report of a frame, a late wake-up.
pub(super) const SLACK: Duration = Duration::from_millis(60);
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
    ) -> Result<(), End> {
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
        } else if self.0.len() >= MAX_QUEUED {
            (TxStatus::Busy, format!("{MAX_QUEUED} frames wait already"))
        } else {
            let place = self.0.partition_point(|other| other.write_at <= write_at);
            self.0.insert(place, Pending { request, begin_at, write_at, airtime });
            return Ok(());
        };
        let margin_ms = (status == TxStatus::Late).then(|| signed_ms(write_at, now + plan.shortest));
        Err(End { id: request.id, status, margin_ms, detail: Some(detail) })
    }

    pub(super) fn front(&self) -> Option<&Pending> {
        self.0.front()
    }

    /// Takes the first frame if its preparation begins now.
    pub(super) fn begin(&mut self, now: Duration) -> Option<Pending> {
        self.first_if(|pending| pending.begin_at <= now)
    }

    /// The end of a frame whose time has passed while the modem was busy with something else.
    pub(super) fn expire(&mut self, now: Duration) -> Option<End> {
        let pending = self.first_if(|pending| pending.write_at <= now)?;
        Some(End {
            id: pending.request.id,
            status: TxStatus::Late,
            margin_ms: Some(signed_ms(pending.write_at, now)),
            detail: Some("the modem was busy with something else".into()),
        })
    }

    /// The end of the first frame of a queue that is given up.
    pub(super) fn give_up(&mut self, why: &str) -> Option<End> {
        let pending = self.0.pop_front()?;
        Some(End { id: pending.request.id, status: TxStatus::Failed, margin_ms: None, detail: Some(why.into()) })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn first_if(&mut self, condition: impl Fn(&Pending) -> bool) -> Option<Pending> {
        if self.0.front().is_some_and(condition) { self.0.pop_front() } else { None }
    }
}

/// `due` minus `ready`, in ms.
pub(super) fn signed_ms(due: Duration, ready: Duration) -> i32 {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    i32::try_from(ms(due).saturating_sub(ms(ready))).unwrap_or(i32::MIN)
}
