//! What callbacks of OpenSSL know of their connection, and what they note for its owner.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslRef};

use crate::chain::CertificateProblem;
use crate::psk::Psk;

/// Tied to one connection. Callbacks run only inside calls of its owner.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    psk: Option<Psk>,
    first_us: u32,
    next_us: AtomicU32,
    began: AtomicBool,
    alert: AtomicU32,
    message: AtomicBool,
    problem: Mutex<Option<CertificateProblem>>,
}

/// Level of an alert (RFC 5246 §7.2).
pub(crate) const FATAL: u8 = 2;

fn index() -> Result<Index<Ssl, Notes>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, Notes>> = OnceLock::new();
    if let Some(index) = INDEX.get() {
        return Ok(*index);
    }
    // Two threads that come here at once waste one index.
    let index = Ssl::new_ex_index()?;
    Ok(*INDEX.get_or_init(|| index))
}

/// Those of `ssl`.
pub(crate) fn of(ssl: &SslRef) -> Option<&Notes> {
    ssl.ex_data(index().ok()?)
}

/// Ties them to `ssl`. `first_us`: time OpenSSL waits after it has sent a flight for the first time.
pub(crate) fn attach(ssl: &mut SslRef, psk: Option<Psk>, first_us: u32) -> Result<(), ErrorStack> {
    let notes = Notes { psk, first_us, next_us: AtomicU32::new(first_us), ..Notes::default() };
    ssl.set_ex_data(index()?, notes);
    Ok(())
}

impl Notes {
    pub(crate) fn psk(&self) -> Option<&Psk> {
        self.psk.as_ref()
    }

    /// The answer to OpenSSL's question for its timer.
    pub(crate) fn timer_us(&self, begins: bool) -> u32 {
        if begins {
            self.began.store(true, Relaxed);
            self.next_us.store(self.first_us, Relaxed);
        }
        self.next_us.load(Relaxed)
    }

    /// The time that OpenSSL is to wait after the next repetition.
    pub(crate) fn set_next_us(&self, us: u32) {
        self.next_us.store(us, Relaxed);
    }

    /// Whether a flight was begun since the last call.
    pub(crate) fn take_began(&self) -> bool {
        self.began.swap(false, Relaxed)
    }

    pub(crate) fn alert_read(&self, level: u8, code: u8) {
        self.alert.store(0x1_0000 | u32::from(level) << 8 | u32::from(code), Relaxed);
    }

    /// Level and code of the alert that OpenSSL accepted since the last call.
    pub(crate) fn take_alert(&self) -> Option<(u8, u8)> {
        let [_, set, level, code] = self.alert.swap(0, Relaxed).to_be_bytes();
        (set != 0).then_some((level, code))
    }

    pub(crate) fn message_read(&self) {
        self.message.store(true, Relaxed);
    }

    /// Whether OpenSSL accepted a handshake message since the last call.
    pub(crate) fn take_message(&self) -> bool {
        self.message.swap(false, Relaxed)
    }

    /// Why the server's certificate is refused; the first reason stays.
    pub(crate) fn set_problem(&self, problem: CertificateProblem) {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(problem);
    }

    pub(crate) fn problem(&self) -> Option<CertificateProblem> {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
