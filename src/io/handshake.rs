//! DTLS handshakes on a thread of their own, which owns their sockets meanwhile: no signature and no key agreement delays
//! the loop. The gateway bounds how many there are.

use super::Clock;
use super::udp::{READS_PER_SOCKET, drain};
use crate::gateway::input::NodeId;
use lpwad_dtls::{ClientContext, Credential, ExportedSession, Failure, Handshake, Session, Traffic};
use lpwad_lorawan::DevEui;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Jobs that may wait for the thread; the gateway begins fewer handshakes than that at once.
const JOBS_WAITING: usize = 256;
/// What the event of the thread's own wake-up bears in place of a node.
const WAKE: u64 = u64::MAX;
/// Sockets that one turn looks at.
const SOCKETS_PER_TURN: usize = 64;
/// Longest sleep of the thread.
const LONGEST_WAIT_MS: u16 = 60_000;

/// A handshake to begin.
pub struct Start {
    /// Whose, and which attempt: a later one takes the place of an earlier one.
    pub attempt: Attempt,
    /// Connected to the server.
    pub socket: UdpSocket,
    /// Towards its server.
    pub context: ClientContext,
    /// Of its node.
    pub credential: Credential,
    /// The session to go on with.
    pub resume: Option<ExportedSession>,
    /// Wall time in ms since 1970, if the clock is trusted: certificates have dates.
    pub unix_ms: Option<u64>,
}

/// Names an attempt to open a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whose.
    pub session: NodeId,
    /// Counts up.
    pub number: u64,
    /// The node.
    pub node: DevEui,
}

/// A handshake that has ended.
pub struct Done {
    /// Which one.
    pub attempt: Attempt,
    /// Its socket.
    pub socket: UdpSocket,
    /// What came of it.
    pub outcome: Result<Session, Failure>,
    /// What went over the wire.
    pub traffic: Traffic,
}

enum Job {
    Start(Box<Start>),
    Cancel(NodeId),
}

/// The thread.
pub struct Handshakes {
    jobs: SyncSender<Job>,
    wake: Arc<EventFd>,
}

impl Handshakes {
    /// Starts the thread; what ends is sent to `done`. It ends when `done` is closed or this value is dropped.
    pub fn start(clock: Clock, done: Sender<Done>) -> io::Result<Handshakes> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let (jobs, todo) = sync_channel(JOBS_WAITING);
        let mut worker = Worker { clock, epoll, wake: Arc::clone(&wake), todo, done, under_way: BTreeMap::new() };
        std::thread::Builder::new().name("handshake".into()).spawn(move || worker.work())?;
        Ok(Handshakes { jobs, wake })
    }

    /// Begins a handshake; `false` if too many wait.
    pub fn begin(&self, start: Start) -> bool {
        let taken = self.jobs.try_send(Job::Start(Box::new(start))).is_ok();
        self.wake();
        taken
    }

    /// Gives a handshake up, without a word.
    pub fn cancel(&self, session: NodeId) {
        // If too many jobs wait, the handshake ends by itself, and nobody asks for what comes of it.
        let _ = self.jobs.try_send(Job::Cancel(session));
        self.wake();
    }

    fn wake(&self) {
        // Fails only if the thread has been woken very often and not run: then it will.
        let _ = self.wake.write(1);
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        let (closed, _) = sync_channel(0);
        self.jobs = closed;
        self.wake();
    }
}

struct UnderWay {
    attempt: Attempt,
    socket: UdpSocket,
    handshake: Handshake,
}

struct Worker {
    clock: Clock,
    epoll: Epoll,
    wake: Arc<EventFd>,
    todo: Receiver<Job>,
    done: Sender<Done>,
    under_way: BTreeMap<NodeId, UnderWay>,
}

impl Worker {
    fn work(&mut self) {
        let mut events = [EpollEvent::empty(); SOCKETS_PER_TURN];
        loop {
            let ready = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(_) => return,
            };
            for event in events.iter().take(ready) {
                if event.data() == WAKE {
                    let _ = self.wake.read();
                } else {
                    self.receive(NodeId(event.data() as u32));
                }
            }
            if !self.take_jobs() || self.done.is_closed() {
                return;
            }
            self.tick();
        }
    }

    /// Until the next deadline.
    fn timeout(&self) -> EpollTimeout {
        let now = self.clock.now().mono;
        let next = self.under_way.values().filter_map(|under_way| under_way.handshake.deadline()).min();
        let wait = next.map_or(Duration::MAX, |due| due.saturating_sub(now) + Duration::from_millis(1));
        EpollTimeout::from(u16::try_from(wait.as_millis()).unwrap_or(LONGEST_WAIT_MS).min(LONGEST_WAIT_MS))
    }

    /// `false` if there will be none any more.
    fn take_jobs(&mut self) -> bool {
        loop {
            match self.todo.try_recv() {
                Ok(Job::Start(start)) => self.begin(*start),
                Ok(Job::Cancel(session)) => self.give_up(session),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn begin(&mut self, start: Start) {
        let Start { attempt, socket, context, credential, resume, unix_ms } = start;
        self.give_up(attempt.session);
        let now = self.clock.now().mono;
        let begun = Handshake::start(&context, &credential, resume.as_ref(), now, unix_ms).and_then(|handshake| {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(attempt.session.0));
            self.epoll.add(&socket, event).map_err(|error| Failure::Local(error.to_string()))?;
            Ok(handshake)
        });
        match begun {
            Ok(handshake) => {
                self.under_way.insert(attempt.session, UnderWay { attempt, socket, handshake });
                self.advance(attempt.session);
            }
            Err(failure) => self.report(Done { attempt, socket, outcome: Err(failure), traffic: Traffic::default() }),
        }
    }

    fn receive(&mut self, session: NodeId) {
        let now = self.clock.now().mono;
        let Some(under_way) = self.under_way.get_mut(&session) else { return };
        let mut datagrams = Vec::new();
        drain(&under_way.socket, READS_PER_SOCKET, |datagram| datagrams.push(datagram.to_vec()));
        for datagram in datagrams {
            under_way.handshake.on_datagram(now, &datagram);
        }
        self.advance(session);
    }

    fn tick(&mut self) {
        let now = self.clock.now().mono;
        let due = |under_way: &UnderWay| under_way.handshake.deadline().is_some_and(|deadline| deadline <= now);
        let all: Vec<NodeId> = self.under_way.iter().filter(|(_, one)| due(one)).map(|(id, _)| *id).collect();
        for session in all {
            if let Some(under_way) = self.under_way.get_mut(&session) {
                under_way.handshake.on_timer(now);
            }
            self.advance(session);
        }
    }

    /// Sends what a handshake has to say, and reports it if it has ended.
    fn advance(&mut self, session: NodeId) {
        let Some(under_way) = self.under_way.get_mut(&session) else { return };
        while let Some(datagram) = under_way.handshake.poll_send() {
            // What the kernel does not take is repeated by DTLS; a refusal of the peer is a hint only.
            let _ = under_way.socket.send(&datagram);
        }
        if let Some(outcome) = under_way.handshake.take_outcome()
            && let Some(UnderWay { attempt, socket, handshake }) = self.take(session)
        {
            self.report(Done { attempt, socket, outcome, traffic: handshake.traffic() });
        }
    }

    /// Ends a handshake without a word to the server; what it cost is reported, and nobody waits for its outcome.
    fn give_up(&mut self, session: NodeId) {
        if let Some(UnderWay { attempt, socket, handshake }) = self.take(session) {
            let outcome = Err(Failure::Local("given up".into()));
            self.report(Done { attempt, socket, outcome, traffic: handshake.traffic() });
        }
    }

    fn take(&mut self, session: NodeId) -> Option<UnderWay> {
        let under_way = self.under_way.remove(&session)?;
        let _ = self.epoll.delete(&under_way.socket);
        Some(under_way)
    }

    fn report(&self, done: Done) {
        // The loop has ended; so will this thread.
        drop(self.done.blocking_send(done));
    }
}
