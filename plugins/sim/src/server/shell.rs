//! The server in real time: a UDP socket, command lines in, JSON lines out.

use super::command::{self, Line};
use super::engine::{Config, ObservePolicy, Output, Server};
use super::event::Event;
use super::path::Path;
use crate::input::CommandInput;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::io::{BufWriter, ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

/// Most datagrams of one turn, so that commands and timers get theirs.
const DATAGRAMS_PER_TURN: usize = 256;

/// A small LwM2M server.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("Lines on standard input:\n{}", command::HELP))]
pub struct ServerArgs {
    /// Address and port; port 0 takes any, and the `ready` event tells which.
    #[arg(long, default_value = "127.0.0.1:5683")]
    pub listen: SocketAddr,
    /// Observe this path of every client that has the object (may be repeated), instead of every object instance of
    /// 3200 to 3399.
    #[arg(long, value_name = "PATH", conflicts_with = "observe_all")]
    pub observe: Vec<Path>,
    /// Observe every object instance of every client.
    #[arg(long)]
    pub observe_all: bool,
    /// Seed of tokens and locations; by default the time. A server that comes back should not have the one it had.
    #[arg(long)]
    pub seed: Option<u64>,
    /// End with the standard input.
    #[arg(long)]
    pub exit_on_eof: bool,
}

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct ServerError {
    what: &'static str,
    error: std::io::Error,
}

/// Runs until `quit`, a signal, the end of the parent, or with `--exit-on-eof` the end of the standard input.
///
/// Events go to the standard output, one JSON object a line.
pub fn run(args: ServerArgs) -> Result<(), ServerError> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM).map_err(failed("prctl"))?;
    let socket = UdpSocket::bind(args.listen).map_err(failed("listen"))?;
    socket.set_nonblocking(true).map_err(failed("listen"))?;
    let observe = match args {
        ServerArgs { observe_all: true, .. } => ObservePolicy::All,
        ServerArgs { observe, .. } if !observe.is_empty() => ObservePolicy::Paths(observe),
        _ => ObservePolicy::Sensors,
    };
    let seed = args.seed.unwrap_or_else(seed_from_time);
    let mut shell = Shell {
        server: Server::new(Config { observe, seed }),
        output: BufWriter::new(std::io::stdout().lock()),
        commands: CommandInput::default(),
    };
    let addr = socket.local_addr().map_err(failed("listen"))?;
    shell.tell(&Event::Ready { addr })?;
    shell.serve(&socket, args.exit_on_eof)
}

struct Shell<W: Write> {
    server: Server,
    output: W,
    commands: CommandInput,
}

impl<W: Write> Shell<W> {
    fn serve(&mut self, socket: &UdpSocket, exit_on_eof: bool) -> Result<(), ServerError> {
        let clock = Clock::start();
        let stdin = std::io::stdin();
        let mut commands = Some(stdin.as_fd());
        loop {
            self.server.tick(clock.now());
            self.drain(socket)?;
            let timeout = self.server.deadline().map(|due| TimeSpec::from_duration(due.saturating_sub(clock.now())));
            let mut fds = vec![PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            fds.extend(commands.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            match ppoll(&mut fds, timeout, None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(failed("poll")(error)),
            }
            let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
            if ready.next() == Some(true) {
                self.receive(clock.now(), socket)?;
            }
            if ready.next() == Some(true) {
                match self.read_commands(clock.now())? {
                    Input::Open => {}
                    Input::Quit => return self.drain(socket),
                    Input::Ended if exit_on_eof => return self.drain(socket),
                    Input::Ended => commands = None,
                }
            }
        }
    }

    fn receive(&mut self, now: Duration, socket: &UdpSocket) -> Result<(), ServerError> {
        let mut buffer = [0; 65_535];
        for _ in 0..DATAGRAMS_PER_TURN {
            match socket.recv_from(&mut buffer) {
                Ok((count, from)) => {
                    self.server.handle_datagram(now, from, buffer.get(..count).unwrap_or(&[]));
                    self.drain(socket)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier datagram, or an interruption: neither says anything of the socket.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::Interrupted) => {}
                Err(error) => return Err(failed("receive")(error)),
            }
        }
        Ok(())
    }

    fn read_commands(&mut self, now: Duration) -> Result<Input, ServerError> {
        let Some(lines) = self.commands.read(std::io::stdin()) else { return Ok(Input::Ended) };
        for line in lines {
            match line.and_then(|line| command::parse(&line)) {
                Ok(Line::Quit) => return Ok(Input::Quit),
                Ok(Line::Command(command)) => self.server.command(now, command),
                Err(detail) => self.tell(&Event::Error { detail })?,
            }
        }
        Ok(Input::Open)
    }

    /// A datagram that cannot be sent is lost, as on the way; CoAP repeats it.
    fn drain(&mut self, socket: &UdpSocket) -> Result<(), ServerError> {
        while let Some(output) = self.server.poll() {
            match output {
                Output::Send { to, bytes } => _ = socket.send_to(&bytes, to),
                Output::Event(event) => self.write(&event)?,
            }
        }
        self.output.flush().map_err(failed("standard output"))
    }

    fn tell(&mut self, event: &Event) -> Result<(), ServerError> {
        self.write(event)?;
        self.output.flush().map_err(failed("standard output"))
    }

    fn write(&mut self, event: &Event) -> Result<(), ServerError> {
        serde_json::to_writer(&mut self.output, event)
            .map_err(std::io::Error::from)
            .and_then(|()| self.output.write_all(b"\n"))
            .map_err(failed("standard output"))
    }
}

enum Input {
    Open,
    Quit,
    Ended,
}

fn failed<E: Into<std::io::Error>>(what: &'static str) -> impl Fn(E) -> ServerError {
    move |error| ServerError { what, error: error.into() }
}

#[expect(clippy::disallowed_methods, reason = "this shell is where the server gets its clock")]
fn seed_from_time() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Time since the server's start.
struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this shell is where the server gets its clock")]
    fn start() -> Self {
        Clock(Instant::now())
    }

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
