//! A shell for tests: a socket, a clock and a record of all that was sent.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lpwad_dtls::{ClientContext, Credential, Event, ExportedSession, Failure, Handshake, Session};

use crate::clock::Clock;
use crate::hello::records;

/// How long an answer of a server may take.
pub const WAIT: Duration = Duration::from_secs(10);
/// How long we listen where silence is expected.
const LULL: Duration = Duration::from_millis(150);

/// How long real silence lasts before simulated time goes to the next deadline.
#[derive(Debug, Clone, Copy)]
pub enum Quiet {
    /// Answers are expected.
    Patient,
    /// Nobody answers.
    Brief,
    /// Answers are expected until the keys are sent; then so many silences.
    AfterKeys(u32),
    /// Answers are expected until the server sends an alert.
    AfterAlert,
}

pub use Quiet::{AfterAlert, AfterKeys, Brief, Patient};

type Inbound = Box<dyn FnMut(Vec<u8>) -> Vec<Vec<u8>>>;
type Outbound = Box<dyn FnMut(&[u8]) -> bool>;

pub struct Shell {
    pub socket: UdpSocket,
    pub clock: Clock,
    /// The time, if it is trusted.
    pub unix_ms: Option<u64>,
    /// Each datagram sent, with its time.
    pub sent: Vec<(Duration, Vec<u8>)>,
    /// Each datagram received.
    pub received: Vec<Vec<u8>>,
    /// What arrives in place of a datagram of the server.
    pub inbound: Inbound,
    /// Whether a datagram to the server arrives.
    pub outbound: Outbound,
    waiting: VecDeque<Vec<u8>>,
    contents: BTreeMap<(u32, Vec<u8>), Vec<u8>>,
    association: u32,
}

impl Shell {
    pub fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        Self {
            socket,
            clock: Clock::default(),
            unix_ms: None,
            sent: Vec::new(),
            received: Vec::new(),
            inbound: Box::new(|datagram| vec![datagram]),
            outbound: Box::new(|_| true),
            waiting: VecDeque::new(),
            contents: BTreeMap::new(),
            association: 0,
        }
    }

    /// Begins a handshake and carries it to its end.
    pub fn connect(
        &mut self,
        context: &ClientContext,
        credential: &Credential,
        resume: Option<&ExportedSession>,
        quiet: Quiet,
    ) -> Result<Session, Failure> {
        self.association += 1;
        let mut handshake = Handshake::start(context, credential, resume, self.clock.now, self.unix_ms)?;
        self.drive(&mut handshake, quiet)
    }

    /// Carries a handshake to its end.
    pub fn drive(&mut self, handshake: &mut Handshake, mut quiet: Quiet) -> Result<Session, Failure> {
        let (mut keys_sent, mut alerted) = (false, false);
        loop {
            while let Some(datagram) = handshake.poll_send() {
                keys_sent |= records(&datagram).iter().any(|(header, _)| header[0] == 20);
                self.send(&datagram);
            }
            if let Some(outcome) = handshake.take_outcome() {
                assert_eq!(handshake.deadline(), None);
                return outcome;
            }
            let silent = match quiet {
                Patient => false,
                Brief => true,
                AfterKeys(silences) => keys_sent && silences > 0,
                AfterAlert => alerted,
            };
            if let Some(datagram) = self.receive(if silent { LULL } else { WAIT }) {
                alerted |= datagram[0] == 21;
                handshake.on_datagram(self.clock.now, &datagram);
            } else {
                if let AfterKeys(silences) = &mut quiet {
                    *silences -= 1;
                }
                let deadline = handshake.deadline().expect("no outcome, so a deadline");
                self.clock.advance(deadline.saturating_sub(self.clock.now));
                handshake.on_timer(self.clock.now);
            }
        }
    }

    /// Sends, and checks that no epoch and sequence number goes out with two contents.
    pub fn send(&mut self, datagram: &[u8]) {
        self.note(datagram);
        if !(self.outbound)(datagram) {
            return;
        }
        // A closed port answers by ICMP, which is a hint and no error.
        let _ = self.socket.send(datagram);
    }

    pub fn note(&mut self, datagram: &[u8]) {
        for (header, body) in records(datagram) {
            let key = (self.association, header[3..11].to_vec());
            let before = self.contents.insert(key, body.to_vec());
            assert!(before.is_none_or(|before| before == body), "one sequence number, two contents");
        }
        self.sent.push((self.clock.now, datagram.to_vec()));
    }

    /// The next datagram that arrives, or `None` after `wait` of real silence.
    pub fn receive(&mut self, wait: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 4096];
        loop {
            if let Some(datagram) = self.waiting.pop_front() {
                self.received.push(datagram.clone());
                return Some(datagram);
            }
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.waiting.extend((self.inbound)(buffer[..length].to_vec())),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn send_data(&mut self, session: &mut Session, payload: &[u8]) {
        let datagram = session.seal(payload).unwrap();
        self.send(&datagram);
    }

    /// Waits for the next event, and sends answers.
    pub fn event(&mut self, session: &mut Session) -> Event {
        loop {
            let datagram = self.receive(WAIT).expect("a datagram");
            let events = session.open(self.clock.now, &datagram);
            while let Some(answer) = session.poll_send() {
                self.send(&answer);
            }
            if let Some(event) = events.into_iter().next() {
                return event;
            }
        }
    }

    /// When datagrams were sent, in seconds.
    pub fn times(&self) -> Vec<u64> {
        let mut times: Vec<u64> = self.sent.iter().map(|(at, _)| at.as_secs()).collect();
        times.dedup();
        times
    }
}
