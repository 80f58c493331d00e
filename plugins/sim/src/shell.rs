//! The rig in real time: a pseudo terminal for the host, command lines in, JSON lines out.

use crate::command::{self, Line};
use crate::input::CommandInput;
use crate::modem::ModemConfig;
use crate::node::NodeConfig;
use crate::report;
use crate::rig::{Rig, RigOutput};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::time::TimeSpec;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a port that nobody holds open is looked at.
const CLOSED_PORT_CHECK: Duration = Duration::from_millis(20);
/// Bound: After so many looks at a closed port, a second, it is asked whether anybody could open it.
const LOOKS_UNTIL_STUCK: u32 = 50;

/// What to simulate, and where.
#[derive(Debug)]
pub struct Options {
    /// Symbolic link to the pseudo terminal; an existing link is replaced.
    pub link: PathBuf,
    /// The modem.
    pub modem: ModemConfig,
    /// Seed of everything random.
    pub seed: u64,
    /// The nodes.
    pub nodes: Vec<NodeConfig>,
    /// File for a transcript of the serial line: time in µs, `>` from or `<` to the host, text.
    pub record: Option<PathBuf>,
    /// Whether the end of the command input ends the simulator.
    pub exit_on_eof: bool,
}

/// Why the simulator ended.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// Its answer.
        error: std::io::Error,
    },
    /// The place of the link is taken by something that is not a symbolic link.
    #[error("{0} exists and is not a symbolic link")]
    LinkTaken(PathBuf),
}

/// Runs until `quit`, until `stop` becomes readable, or until `input` ends (with [`Options::exit_on_eof`]).
///
/// Command lines come from `input`, events go to `output`, one JSON object a line, each flushed.
pub fn run(options: Options, input: OwnedFd, stop: Option<OwnedFd>, output: &mut dyn Write) -> Result<(), ShellError> {
    let clock = Clock::start();
    let record = options.record.as_deref().map(|path| File::create(path).map_err(system("record file"))).transpose()?;
    let mut shell = Shell {
        rig: Rig::new(options.modem, options.seed, options.nodes),
        port: None,
        link: options.link,
        record,
        output,
        commands: CommandInput::default(),
    };
    shell.plug()?;
    let result = shell.serve(&clock, input, stop, options.exit_on_eof);
    shell.unplug();
    result
}

struct Shell<'a> {
    rig: Rig,
    port: Option<Port>,
    link: PathBuf,
    record: Option<File>,
    output: &'a mut dyn Write,
    commands: CommandInput,
}

struct Port {
    master: PtyMaster,
    slave: PathBuf,
    /// Whether the host has it open, as far as we know.
    open: bool,
    /// Looks since it was found closed.
    looks: u32,
}

impl Shell<'_> {
    fn serve(
        &mut self,
        clock: &Clock,
        input: OwnedFd,
        stop: Option<OwnedFd>,
        exit_on_eof: bool,
    ) -> Result<(), ShellError> {
        let mut input = Some(input);
        loop {
            let now = clock.now();
            self.rig.tick(now);
            self.flush()?;
            let timeout = self.rig.deadline().map(|due| due.saturating_sub(clock.now()));
            let (input_ready, stop_ready, port_ready) = self.wait(input.as_ref(), stop.as_ref(), timeout)?;
            if stop_ready {
                return Ok(());
            }
            let now = clock.now();
            if port_ready {
                self.read_port(now)?;
            }
            if input_ready && let Some(fd) = &input {
                match self.read_commands(now, fd)? {
                    Input::Open => {}
                    Input::Quit => return Ok(()),
                    Input::Ended if exit_on_eof => return Ok(()),
                    Input::Ended => input = None,
                }
            }
        }
    }

    /// Waits for input, the port, or the deadline. A port that nobody has open would wake us for ever: it is looked
    /// at every now and then instead.
    fn wait(
        &mut self,
        input: Option<&OwnedFd>,
        stop: Option<&OwnedFd>,
        timeout: Option<Duration>,
    ) -> Result<(bool, bool, bool), ShellError> {
        let watched = self.port.as_ref().filter(|port| port.open);
        let closed = self.port.as_ref().is_some_and(|port| !port.open);
        let timeout = if closed { timeout.into_iter().chain([CLOSED_PORT_CHECK]).min() } else { timeout };
        let fds = [input.map(AsFd::as_fd), stop.map(AsFd::as_fd), watched.map(|port| port.master.as_fd())];
        let mut polled: Vec<PollFd> = fds.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match ppoll(&mut polled, timeout.map(TimeSpec::from_duration), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(system("poll")(error.into())),
        }
        let mut ready = polled.iter().map(|fd| fd.any().unwrap_or(false));
        let mut next = |present: bool| present && ready.next().unwrap_or(false);
        let (input, stop, port) = (next(input.is_some()), next(stop.is_some()), next(watched.is_some()));
        Ok((input, stop, port || (closed && self.reopened()?)))
    }

    /// Whether the host has opened the port again.
    fn reopened(&mut self) -> Result<bool, ShellError> {
        let Some(port) = self.port.as_mut() else { return Ok(false) };
        let mut fds = [PollFd::new(port.master.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).map_err(|error| system("poll")(error.into()))?;
        let hung_up = fds[0].revents().is_some_and(|flags| flags.contains(PollFlags::POLLHUP));
        port.open = !hung_up;
        port.looks = if hung_up { port.looks + 1 } else { 0 };
        // A host may have opened it and been killed between two looks.
        if port.looks >= LOOKS_UNTIL_STUCK {
            port.looks = 0;
            if is_stuck(&port.slave) {
                self.plug()?;
            }
        }
        Ok(!hung_up)
    }

    fn read_port(&mut self, now: Duration) -> Result<(), ShellError> {
        let Some(port) = self.port.as_mut() else { return Ok(()) };
        let mut buffer = [0; 1024];
        match nix::unistd::read(&port.master, &mut buffer) {
            Ok(count) if count > 0 => {
                if let Some(baud) = line_speed(&port.master) {
                    self.rig.modem().set_host_baud(now, baud);
                }
                self.rig.modem().handle_host_bytes(now, buffer.get(..count).unwrap_or(&[]));
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            _ => {
                port.open = false;
                // A process that was killed leaves the terminal marked as exclusive as long as this side lives, where
                // a real port forgets it with the last close. Then nobody can open it, so that a new one harms nobody.
                if is_stuck(&port.slave) {
                    self.plug()?;
                }
            }
        }
        Ok(())
    }

    fn read_commands(&mut self, now: Duration, fd: &OwnedFd) -> Result<Input, ShellError> {
        let Some(lines) = self.commands.read(fd) else { return Ok(Input::Ended) };
        for line in lines {
            let result = match line.and_then(|line| command::parse(&line)) {
                Ok(Line::Quit) => return Ok(Input::Quit),
                Ok(line) => self.carry_out(now, line),
                Err(detail) => Err(detail),
            };
            if let Err(detail) = result {
                self.report(&report::error(&detail))?;
            }
        }
        Ok(Input::Open)
    }

    fn carry_out(&mut self, now: Duration, line: Line) -> Result<(), String> {
        match line {
            Line::Air(command) => self.rig.air().command(now, command)?,
            Line::Garbage => self.rig.modem().emit_noise(now, 60),
            Line::Reboot => self.rig.modem().reboot(now),
            Line::Mute(muted) => self.rig.modem().set_muted(muted),
            Line::Race(data) => self.rig.modem().race_at_next_rxstop(data),
            Line::Plug(false) => self.unplug(),
            Line::Plug(true) => {
                self.rig.modem().reboot(now);
                self.plug().map_err(|error| error.to_string())?;
            }
            Line::Quit => {}
        }
        Ok(())
    }

    /// Hands out what the rig has to say.
    fn flush(&mut self) -> Result<(), ShellError> {
        while let Some((at, output)) = self.rig.poll() {
            match &output {
                RigOutput::ToHost(bytes) => {
                    if let Some(port) = self.port.as_mut().filter(|port| port.open) {
                        // A host that does not read loses bytes, as on a UART.
                        let _ = nix::unistd::write(&port.master, bytes);
                    }
                }
                RigOutput::Line { from_host, text } => {
                    if let Some(file) = &mut self.record {
                        let arrow = if *from_host { '>' } else { '<' };
                        writeln!(file, "{} {arrow} {}", at.as_micros(), text.escape_default())
                            .map_err(system("record file"))?;
                    }
                }
                _ => {
                    if let Some(value) = report::of(at, &output) {
                        self.report(&value)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A new pseudo terminal in raw mode, and the link to it.
    fn plug(&mut self) -> Result<(), ShellError> {
        let failed = |error: Errno| system("pseudo terminal")(error.into());
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).map_err(failed)?;
        grantpt(&master).map_err(failed)?;
        unlockpt(&master).map_err(failed)?;
        let slave = PathBuf::from(ptsname_r(&master).map_err(failed)?);
        let mut termios = tcgetattr(&master).map_err(failed)?;
        cfmakeraw(&mut termios);
        tcsetattr(&master, SetArg::TCSANOW, &termios).map_err(failed)?;
        point(&self.link, &slave)?;
        self.report(&json!({"event": "ready", "link": self.link, "port": slave}))?;
        self.port = Some(Port { master, slave, open: true, looks: 0 });
        Ok(())
    }

    fn unplug(&mut self) {
        if self.port.take().is_some() && self.link.is_symlink() {
            let _ = std::fs::remove_file(&self.link);
        }
    }

    fn report(&mut self, value: &Value) -> Result<(), ShellError> {
        writeln!(self.output, "{value}").and_then(|()| self.output.flush()).map_err(system("event output"))
    }
}

enum Input {
    Open,
    Ended,
    Quit,
}

/// Lets `link` point to `target`, whether it existed or not.
fn point(link: &Path, target: &Path) -> Result<(), ShellError> {
    if link.exists() && !link.is_symlink() {
        return Err(ShellError::LinkTaken(link.to_path_buf()));
    }
    let fresh = link.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    std::os::unix::fs::symlink(target, &fresh)
        .and_then(|()| std::fs::rename(&fresh, link))
        .map_err(system(&format!("link {}", link.display())))
}

/// The speed that the host has set on its side, in baud. `termios2` has it as a number; the standard call knows only
/// a list of speeds.
fn line_speed(master: &PtyMaster) -> Option<u32> {
    nix::ioctl_read!(tcgets2, b'T', 0x2A, nix::libc::termios2);
    let mut termios = std::mem::MaybeUninit::<nix::libc::termios2>::zeroed();
    #[expect(unsafe_code, reason = "no safe call reports a free line speed")]
    // SAFETY: TCGETS2 writes one `termios2` to the pointer, which is valid for that; all-zero is a valid value of it,
    // so it is initialised whether or not the call succeeds. The descriptor is open as long as `master` lives.
    let (result, termios) = unsafe { (tcgets2(master.as_raw_fd(), termios.as_mut_ptr()), termios.assume_init()) };
    result.ok().map(|_| termios.c_ospeed)
}

/// Whether nobody can open the terminal any more, but for root with all its capabilities, which a plugin never has.
fn is_stuck(slave: &Path) -> bool {
    nix::ioctl_read!(tiocgexcl, b'T', 0x40, nix::libc::c_int);
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    match nix::fcntl::open(slave, flags, nix::sys::stat::Mode::empty()) {
        Err(error) => error == Errno::EBUSY,
        Ok(slave) => {
            let mut exclusive = 0;
            #[expect(unsafe_code, reason = "no safe call reports exclusive use")]
            // SAFETY: TIOCGEXCL writes one `int` to the pointer, which is valid for that; `slave` is open.
            let asked = unsafe { tiocgexcl(slave.as_raw_fd(), &raw mut exclusive) };
            asked.is_ok() && exclusive != 0
        }
    }
}

fn system(what: &str) -> impl Fn(std::io::Error) -> ShellError + use<> {
    let what = what.to_string();
    move |error| ShellError::System { what: what.clone(), error }
}

/// Time since the start.
struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place of the simulator that reads the clock")]
    fn start() -> Self {
        Clock(Instant::now())
    }

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
