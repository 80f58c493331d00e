//! Memory of idle open sessions, in the process: `cargo run --release -p lpwad-dtls --features testing --example memory`.
//! Prints a line for each number of sessions: growth of the resident set divided by the number.

use std::time::Duration;

use lpwad_dtls::testing::{Server, ServerContext, connect};
use lpwad_dtls::{ClientContext, Credential, Handshake, Psk, Session, Settings, Trust};

/// Resident pages of this process, in bytes; pages have 4 KiB.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

fn session(context: &ClientContext, psk: &Psk) -> Option<Session> {
    let mut server = Server::new(&ServerContext::psk(psk.clone()).ok()?).ok()?;
    let mut handshake = Handshake::start(context, &Credential::Psk(psk.clone()), None, Duration::ZERO, None).ok()?;
    let mut session = connect(&mut handshake, &mut server, Duration::ZERO)?.ok()?;
    // As after some use.
    server.open(&session.seal(b"up").ok()?);
    session.open(Duration::ZERO, &server.seal(b"down")?);
    Some(session)
}

fn main() {
    if run().is_none() {
        eprintln!("a session could not be made");
    }
}

fn run() -> Option<()> {
    let psk = Psk::new(b"node", &[7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]).ok()?;
    let context = ClientContext::new(Settings::new(Trust::Psk)).ok()?;
    let mut sessions = vec![session(&context, &psk)?];
    sessions.reserve(2_100);
    for _ in 0..50 {
        session(&context, &psk)?;
    }
    let (mut before, mut count) = (resident()?, 0_u64);
    for step in [100, 500, 1_000] {
        for _ in 0..step {
            sessions.push(session(&context, &psk)?);
        }
        let now = resident()?;
        count += step;
        println!("{{\"metric\":\"live_session_rss\",\"value\":{},\"unit\":\"B\",\"n\":{step}}}", (now - before) / step);
        before = now;
    }
    println!("{{\"metric\":\"sessions\",\"value\":{count},\"unit\":\"1\",\"n\":1}}");
    Some(())
}
