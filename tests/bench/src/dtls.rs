//! DTLS sessions in this process: what one costs to have, to open, to resume and to use.

use crate::Failure;
use crate::bare::{self, Client};
use crate::measure::{Cpu, Memory};
use crate::report::figure;
use lpwad_dtls::testing::{Server, ServerContext};
use lpwad_dtls::{
    ClientContext, Credential, Event, ExportedSession, Handshake, Psk, SealError, Session, Settings, Traffic, Trust,
};
use openssl::ssl::{SslContext, SslSession};
use std::time::Duration;

const IDENTITY: &[u8] = b"a-7c21e0";
const KEY: &[u8] = &[0x6e, 0x8d, 0x1f, 0x0b, 0x47, 0xc2, 0xa9, 0x35, 0x50, 0xde, 0x7b, 0x1c, 0x98, 0xf4, 0xe2, 0xa7];
/// Length of a payload: a notification with one value and a token of 4 bytes has 37, a Register 107.
const PAYLOAD: [u8; 64] = [0x42; 64];
/// Ours and bare OpenSSL take turns, so that both meet the same machine.
const ROUNDS: u64 = 5;
const BINDING: [u8; 32] = [1; 32];
const NOW: Duration = Duration::ZERO;

/// Both ends.
struct Ends {
    server: ServerContext,
    context: ClientContext,
    credential: Credential,
    bare: SslContext,
}

/// All figures.
pub fn run(n: u64) -> Result<(), Failure> {
    memory(n)?;
    let ends = Ends::new()?;
    handshakes(&ends, n)?;
    records(&ends, n * 100)
}

impl Ends {
    fn new() -> Result<Ends, Failure> {
        let psk = Psk::new(IDENTITY, KEY)?;
        let known = psk.clone();
        Ok(Ends {
            server: ServerContext::psks(move |identity| (identity == known.identity()).then(|| known.clone()))?,
            context: ClientContext::new(Settings::new(Trust::Psk))?,
            credential: Credential::Psk(psk),
            bare: bare::context(IDENTITY, KEY)?,
        })
    }
}

fn memory(n: u64) -> Result<(), Failure> {
    // What the first sessions cost once is not of a session, and the cache of the server is not ours.
    let mut sessions = Vec::with_capacity(n as usize);
    some_sessions(50, false, &mut Vec::new())?;
    let before = Memory::now();
    some_sessions(n, false, &mut sessions)?;
    let after = Memory::now();
    figure("live_session_resident", each(after.resident, before.resident, n), "B", n, None);
    figure("live_session_heap", each(after.heap, before.heap, n), "B", n, None);

    let mut exports = Vec::with_capacity(n as usize);
    let before = Memory::now();
    for session in &sessions {
        exports.push(session.export(&BINDING).ok_or("a session is not exported")?);
    }
    let after = Memory::now();
    let bytes: usize = exports.iter().map(|export| export.len()).sum();
    figure("exported_session_heap", each(after.heap, before.heap, n), "B", n, None);
    figure("exported_session_bytes", bytes as f64 / n as f64, "B", n, None);
    let before = Memory::now();
    drop(sessions);
    figure("closed_session_heap_returned", each(before.heap, Memory::now().heap, n), "B", n, None);

    let mut resumed = Vec::with_capacity(n as usize);
    let before = Memory::now();
    some_sessions(n, true, &mut resumed)?;
    figure("live_resumed_session_heap", each(Memory::now().heap, before.heap, n), "B", n, None);
    Ok(())
}

fn some_sessions(n: u64, resume: bool, sessions: &mut Vec<Session>) -> Result<(), Failure> {
    let ends = Ends::new()?;
    let export = used_session(&ends, None)?.export(&BINDING).ok_or("a session is not exported")?;
    let resume = if resume { Some(ExportedSession::import(&export, &BINDING)?) } else { None };
    for _ in 0..n {
        sessions.push(used_session(&ends, resume.as_ref())?);
    }
    Ok(())
}

fn each(more: u64, less: u64, n: u64) -> f64 {
    (more as f64 - less as f64) / n as f64
}

/// A session that has sent and received something.
fn used_session(ends: &Ends, resume: Option<&ExportedSession>) -> Result<Session, Failure> {
    let (mut session, mut server, _) = ours(ends, resume, &mut Cpu::default())?;
    let sealed = session.seal(b"up")?;
    server.open(&sealed);
    let down = server.seal(b"down").ok_or("the server seals nothing")?;
    session.open(NOW, &down);
    Ok(session)
}

/// A handshake of ours, with its time and what went over the wire.
fn ours(ends: &Ends, resume: Option<&ExportedSession>, cpu: &mut Cpu) -> Result<(Session, Server, Traffic), Failure> {
    let mut server = Server::new(&ends.server)?;
    let mut handshake = cpu.spend(|| Handshake::start(&ends.context, &ends.credential, resume, NOW, None))?;
    loop {
        let mut sent = 0;
        while let Some(datagram) = cpu.spend(|| handshake.poll_send()) {
            server.open(&datagram);
            sent += 1;
        }
        if let Some(outcome) = cpu.spend(|| handshake.take_outcome()) {
            return Ok((outcome?, server, handshake.traffic()));
        }
        while let Some(datagram) = server.poll_send() {
            cpu.spend(|| handshake.on_datagram(NOW, &datagram));
            sent += 1;
        }
        if sent == 0 {
            return Err("the handshake stands still".into());
        }
    }
}

/// The same by bare OpenSSL.
fn floor(ends: &Ends, resume: Option<&SslSession>, cpu: &mut Cpu) -> Result<(Client, Server), Failure> {
    let mut server = Server::new(&ends.server)?;
    let mut client = cpu.spend(|| Client::start(&ends.bare, resume))?;
    loop {
        let mut sent = 0;
        while let Some(datagram) = cpu.spend(|| client.poll_send()) {
            server.open(&datagram);
            sent += 1;
        }
        if client.is_done() {
            return Ok((client, server));
        }
        while let Some(datagram) = server.poll_send() {
            cpu.spend(|| client.on_datagram(&datagram));
            sent += 1;
        }
        if sent == 0 {
            return Err("the handshake of bare OpenSSL stands still".into());
        }
    }
}

fn handshakes(ends: &Ends, n: u64) -> Result<(), Failure> {
    let (session, _server, full) = ours(ends, None, &mut Cpu::default())?;
    let export = session.export(&BINDING).ok_or("a session is not exported")?;
    let (bare, _server) = floor(ends, None, &mut Cpu::default())?;
    let bare = bare.session().ok_or("bare OpenSSL has no session")?;
    let each_round = n / ROUNDS;
    let (mut cpu, mut least) = ([Cpu::default(); 2], [Cpu::default(); 2]);
    let mut abbreviated = Traffic::default();
    for _ in 0..ROUNDS {
        for _ in 0..each_round {
            ours(ends, None, &mut cpu[0])?;
        }
        for _ in 0..each_round {
            floor(ends, None, &mut least[0])?;
        }
        for _ in 0..each_round {
            // An export is read for each resumption, as after a restart.
            let resume = cpu[1].spend(|| ExportedSession::import(&export, &BINDING))?;
            let (session, _server, traffic) = ours(ends, Some(&resume), &mut cpu[1])?;
            if !session.resumed() {
                return Err("the session is not resumed".into());
            }
            abbreviated = traffic;
        }
        for _ in 0..each_round {
            if !floor(ends, Some(&bare), &mut least[1])?.0.resumed() {
                return Err("bare OpenSSL does not resume".into());
            }
        }
    }
    let n = each_round * ROUNDS;
    for (name, index, traffic) in [("full", 0, full), ("resumed", 1, abbreviated)] {
        let least = least[index].per_second(n);
        figure(&format!("{name}_handshakes_per_cpu_s"), cpu[index].per_second(n), "1/s", n, Some(least));
        figure(&format!("{name}_handshake_bytes_out"), traffic.bytes_out as f64, "B", 1, None);
        figure(&format!("{name}_handshake_bytes_in"), traffic.bytes_in as f64, "B", 1, None);
        let datagrams = traffic.datagrams_out + traffic.datagrams_in;
        figure(&format!("{name}_handshake_datagrams"), datagrams as f64, "1", 1, None);
    }
    Ok(())
}

fn records(ends: &Ends, n: u64) -> Result<(), Failure> {
    let (mut session, mut server, _) = ours(ends, None, &mut Cpu::default())?;
    let (mut client, mut other) = floor(ends, None, &mut Cpu::default())?;
    let each_round = n / ROUNDS;
    let (mut seal, mut open) = ([Cpu::default(); 2], [Cpu::default(); 2]);
    let mut length = 0;
    for _ in 0..ROUNDS {
        // All of a round in one measurement: reading the CPU clock takes as long as a record does.
        let count =
            seal[0].spend(|| (0..each_round).try_fold(0, |_, _| Ok::<_, SealError>(session.seal(&PAYLOAD)?.len())));
        length = count?;
        let sealed = seal[1].spend(|| (0..each_round).all(|_| client.seal(&PAYLOAD).is_some()));
        let from = |server: &mut Server| (0..each_round).map(|_| server.seal(&PAYLOAD)).collect::<Option<Vec<_>>>();
        let datagrams = from(&mut server).ok_or("the server does not seal")?;
        let is_data = |events: Vec<Event>| matches!(events[..], [Event::Data(_)]);
        let opened = open[0].spend(|| datagrams.iter().all(|datagram| is_data(session.open(NOW, datagram))));
        let datagrams = from(&mut other).ok_or("the server does not seal")?;
        let mut plain = [0; 512];
        let bare = open[1].spend(|| datagrams.iter().all(|datagram| client.open(datagram, &mut plain).is_some()));
        if !(sealed && opened && bare) {
            return Err("a record is not sealed or not opened".into());
        }
    }
    let n = each_round * ROUNDS;
    figure("seal_cpu", seal[0].us_each(n), "us", n, Some(seal[1].us_each(n)));
    figure("open_cpu", open[0].us_each(n), "us", n, Some(open[1].us_each(n)));
    figure("record_overhead", (length - PAYLOAD.len()) as f64, "B", 1, None);
    Ok(())
}
