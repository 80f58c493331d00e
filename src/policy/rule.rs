//! The rules of the algorithm, by the ids that stand in records.

use super::named::named;

named! {
    /// A rule.
    pub enum Rule {
        /// A file is invalid, or not safe to believe.
        Ta01 = "TA01",
        /// A date has passed or not come, or the clock is not trusted.
        Ta02 = "TA02",
        /// No file speaks of the node and server, or a live value that it asks for is not known.
        Ta03 = "TA03",
        /// Each segment has obligations: its attackers by what is needed.
        Ta04 = "TA04",
        /// No protection spans the whole segment and works against the attacker.
        Ta05 = "TA05",
        /// The evidence for a protection does not count.
        Ta06 = "TA06",
        /// What is seen contradicts what is claimed.
        Ta07 = "TA07",
        /// What may be accepted, and by whom.
        Ta08 = "TA08",
        /// The node side is open: nothing that a server session does can mend it.
        Ta09 = "TA09",
        /// Everything is discharged: NoSec is permitted.
        Ta10 = "TA10",
        /// The way to the server is not the one that was analysed.
        Ta11 = "TA11",
        /// DTLS, with the credential that there is.
        Ta12 = "TA12",
        /// DTLS is due, or must be in reserve, and cannot be had.
        Ta13 = "TA13",
        /// Server accounts that a bootstrap writes pass the same gate.
        Ta14 = "TA14",
        /// NoSec was lost while it was used: latched.
        Ta15 = "TA15",
    }
}
