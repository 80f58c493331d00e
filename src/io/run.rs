//! The loop: an input to the gateway, then its outputs until there are none. Nobody else drains the gateway.

use super::control::{Asked, Control};
use super::disk::Disk;
use super::facts::Look;
use super::facts::watch::Watch;
use super::handshake::{Done, Handshakes};
use super::keys::Keys;
use super::patience::patiently;
use super::resolve::{Resolved, Resolver};
use super::sandbox::{self, Allowance};
use super::secure::Sessions;
use super::spawn::{STOP_GRACE, Slot};
use super::{Clock, StoreError, entropy, journal, library, plugins, route, sealed_keys, what_if};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::gateway::control::Request;
use crate::gateway::event::{Event, Kind};
use crate::gateway::input::{HostFacts, Input, RadioIndex};
use crate::gateway::output::Output;
use crate::policy::analyses::Analyses;
use crate::store::export;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// Lines of plugins that may wait for the gateway; a plugin that writes more is slowed down.
const LINES_WAITING: usize = 256;
/// Handshakes that have ended and may wait for the loop; their thread waits beyond that.
const HANDSHAKES_WAITING: usize = 64;
/// Ends of batches that may wait for the loop; one batch is on its way at a time.
const BATCHES_WAITING: usize = 4;
/// Answers of the name service that may wait for the loop.
const ANSWERS_WAITING: usize = 16;

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Something in a file of the user.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigErrors),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The control socket.
    #[error("control socket {path}: {error}")]
    Control {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The operating system.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Bound: How often the ways to servers are asked for, and sessions end whose certificates have: also if nothing tells of a change.
const LOOKS: Duration = Duration::from_secs(5);

/// Bound: Inputs of plugins that are taken after a tick, before the next one.
const LINES_PER_TICK: usize = 64;

/// Bound: Least time from one look that a change caused to the next.
const LEAST_BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Configuration file, read again at SIGHUP.
    pub config: PathBuf,
    /// State directory.
    pub state_dir: PathBuf,
    /// Control socket.
    pub control_socket: PathBuf,
    /// Whether events go to standard output as JSON lines.
    pub json: bool,
}

/// Runs the gateway until SIGTERM or SIGINT; SIGHUP reads the configuration again.
///
/// # Errors
/// Something that cannot be mended by waiting: configuration, store, control socket.
pub fn run(config: &Config, options: &Options) -> Result<(), RunError> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(Shell::start(config, options)?.serve(options));
    // A question to the name service that nobody waits for any more.
    runtime.shutdown_background();
    result
}

/// The soft limit of open files, up to the hard one: each proxy has a socket.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // A lower limit only means fewer proxies; each failure to open is said.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Who waits for an answer of the gateway.
struct Asker {
    reply: oneshot::Sender<serde_json::Value>,
    /// Whether the shell adds its own counters.
    wants_status: bool,
    /// Whether the shell adds what DTLS cost the node.
    wants_cost: bool,
}

struct Shell {
    clock: Clock,
    gateway: Gateway,
    slots: Vec<Slot>,
    disk: Disk,
    inputs: mpsc::Receiver<Input>,
    to_gateway: mpsc::Sender<Input>,
    disk_inputs: mpsc::Receiver<Input>,
    sessions: Sessions,
    /// Of servers to which the policy may want to know the way.
    addresses: BTreeSet<IpAddr>,
    handshaken: mpsc::Receiver<Done>,
    resolved: mpsc::Receiver<Resolved>,
    watch: Watch,
    json: bool,
    replies: BTreeMap<u64, Asker>,
    next_request: u64,
    /// The configuration is being read, and is to be read once more.
    reading: bool,
    read_again: Option<Options>,
    stopped: bool,
}

impl Shell {
    fn start(config: &Config, options: &Options) -> Result<Shell, RunError> {
        let analyses = Analyses::read(&config.analysis_dir, config.analysis_signers.as_deref())?;
        let (to_gateway, inputs) = mpsc::channel(LINES_WAITING);
        let (mut slots, mut look) = (Vec::new(), Look::by_daemon(&config.facts_dir));
        let plugins = plugins::of_radios(config, &options.config)?;
        for (index, (radio, plugin)) in config.radios.iter().zip(plugins).enumerate() {
            look.add(radio, &plugin);
            let (index, allowance) = (RadioIndex(index as u16), Allowance::new(&plugin, &radio.settings));
            slots.push(Slot::new(index, radio.name.clone(), plugin.exec, allowance, to_gateway.clone()));
        }
        let (to_disk, disk_inputs) = mpsc::channel(BATCHES_WAITING);
        let open = || Disk::open(&options.state_dir, to_disk.clone());
        let (disk, opened) = patiently(open, |error| matches!(error, StoreError::InUse(_)))?;
        let clock = Clock::start();
        let addresses = route::asked_for(config);
        let (done, handshaken) = mpsc::channel(HANDSHAKES_WAITING);
        let (answers, resolved) = mpsc::channel(ANSWERS_WAITING);
        let sessions = Sessions::new(config, Handshakes::start(clock, done)?, Resolver::new(answers))?;
        // Later looks are made by the thread, which also says what is wrong.
        let facts = look.look(clock.now().unix_ms).facts;
        let seen = HostFacts { facts, bearers: route::bearers(&addresses) };
        let gateway = Gateway::new(clock.now(), config, analyses, seen, &opened.loaded, entropy::seed()?);
        let watch = Watch::start(look, clock, to_gateway.clone())?;
        let mut shell = Shell {
            clock,
            gateway,
            slots,
            disk,
            inputs,
            to_gateway,
            disk_inputs,
            sessions,
            addresses,
            handshaken,
            resolved,
            watch,
            json: options.json,
            replies: BTreeMap::new(),
            next_request: 0,
            reading: false,
            read_again: None,
            stopped: false,
        };
        for node in opened.damaged_exports {
            shell.say(&Event::new(Kind::RecordDamaged).node(node).with("table", export::TABLE));
        }
        log::info!("lpwad {}", library::version());
        if let Some(warning) = library::warning(clock.now().unix_ms) {
            shell.say(&Event::new(Kind::LibraryUnsupported).with("reason", warning));
        }
        unusable(config).for_each(|event| shell.say(&event));
        shell.sessions.forget_exports(&mut shell.disk);
        Ok(shell)
    }

    async fn serve(mut self, options: &Options) -> Result<(), RunError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        // A limit of file sizes is a full disk, and no reason to die. A handler is not passed on to plugins.
        let _file_too_large = signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?;
        let (ask, mut asked) = mpsc::channel::<Asked>(16);
        let path = &options.control_socket;
        let control = patiently(|| Control::listen(path, ask.clone()), |error| error.kind() == ErrorKind::AddrInUse)
            .map_err(|error| RunError::Control { path: path.clone(), error })?;
        drop(ask);
        let epoll = self.sessions.sockets().epoll().0.try_clone()?;
        #[expect(unsafe_code, reason = "the safe constructor is deprecated; this one states its condition")]
        // SAFETY: an `OwnedFd` that the `AsyncFd` owns is open, and the same one, until that is dropped.
        let epoll =
            unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) }.map_err(std::io::Error::other)?;
        self.drain();
        let missing = sandbox::missing();
        if !missing.is_empty() {
            self.input(Input::Noticed(Event::new(Kind::SandboxIncomplete).with("missing", missing.join("; "))));
        }
        let mut may_look = tokio::time::Instant::now();
        let mut changes = route::Changes::watch().map_err(unwatched).ok();
        let mut looks = tokio::time::interval(LOOKS);
        while !self.stopped {
            let deadline = self.gateway.deadline().map(|mono| self.clock.instant(mono).into());
            let tick = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = terminate.recv() => self.input(Input::Stop),
                _ = interrupt.recv() => self.input(Input::Stop),
                _ = hang_up.recv() => self.reload(options),
                input = self.disk_inputs.recv() => match input {
                    Some(input) => self.input(input),
                    None => return Err(std::io::Error::other("the disk thread has ended").into()),
                },
                () = tick => {
                    self.input(Input::Tick);
                    // Nodes whose time has come may be many: the radio has its turn between them.
                    for _ in 0..LINES_PER_TICK {
                        let Ok(input) = self.inputs.try_recv() else { break };
                        self.input(input);
                    }
                }
                _ = looks.tick() => {
                    self.look_at_routes();
                    let ended = self.sessions.expire(self.clock.now());
                    self.inputs(ended);
                }
                changed = changed(changes.as_ref(), may_look) => {
                    if let Err(error) = changed {
                        unwatched(error);
                        changes = None;
                    }
                    self.look_at_routes();
                    may_look = tokio::time::Instant::now() + LEAST_BETWEEN_LOOKS;
                }
                Some(input) = self.inputs.recv() => self.input(input),
                done = self.handshaken.recv() => match done {
                    Some(done) => {
                        let inputs = self.sessions.handshaken(self.clock.now(), done, &mut self.disk);
                        self.inputs(inputs);
                    }
                    None => return Err(std::io::Error::other("the handshake thread has ended").into()),
                },
                Some(resolved) = self.resolved.recv() => {
                    let inputs = self.sessions.resolved(self.clock.now(), &resolved, &mut self.disk);
                    self.inputs(inputs);
                }
                ready = epoll.readable() => {
                    let mut guard = ready?;
                    if self.receive()? == 0 {
                        guard.clear_ready();
                    }
                }
                Some((request, reply)) = asked.recv() => {
                    if let Request::PolicyRecords { number } = request {
                        self.disk.decisions(number, reply);
                        continue;
                    }
                    self.next_request += 1;
                    let wants_status = matches!(request, Request::Status);
                    let wants_cost = matches!(request, Request::NodeShow { .. } | Request::PolicyExplain { .. });
                    self.replies.insert(self.next_request, Asker { reply, wants_status, wants_cost });
                    self.input(Input::Request(self.next_request, request));
                }
            }
        }
        drop(control);
        // Nobody reads what plugins still say; their tasks must not wait for it.
        self.inputs.close();
        let until = tokio::time::Instant::from_std(self.clock.instant(self.clock.now().mono)) + STOP_GRACE;
        for slot in &mut self.slots {
            slot.finish(until).await;
        }
        self.disk.close();
        Ok(())
    }

    /// Takes what the sockets have; gives how many of them had something.
    fn receive(&mut self) -> std::io::Result<usize> {
        let mut inputs = Vec::new();
        let ready = self.sessions.receive(self.clock.now(), &mut self.disk, &mut inputs)?;
        self.inputs(inputs);
        Ok(ready)
    }

    fn inputs(&mut self, inputs: Vec<Input>) {
        for input in inputs {
            self.input(input);
        }
    }

    fn input(&mut self, input: Input) {
        let mut addresses = None;
        let reload = match &input {
            Input::Reload(config, _) => {
                addresses = Some(route::asked_for(config));
                Some((Keys::of(config), config.dtls_live_sessions, config.facts_dir.clone()))
            }
            _ => None,
        };
        if let Some(addresses) = &addresses {
            // The former servers are there until the gateway has taken over the new ones: what somebody did latches nothing.
            self.addresses.extend(addresses);
            self.look_at_routes();
        }
        let was_read = matches!(input, Input::Reload(..) | Input::ReloadFailed(_));
        let is_reload = reload.is_some();
        if let Some((keys, max_live, facts_dir)) = reload {
            self.watch.read_in(facts_dir);
            // What the gateway opens anew is opened with them.
            self.sessions.reload(keys, max_live);
        }
        self.gateway.handle(self.clock.now(), input);
        self.drain();
        self.addresses = addresses.unwrap_or_else(|| std::mem::take(&mut self.addresses));
        if is_reload {
            let ended = self.sessions.end_changed(&mut self.disk);
            self.inputs(ended);
        }
        if was_read {
            self.reading = false;
            if let Some(options) = self.read_again.take() {
                self.reload(&options);
            }
        }
    }

    /// Asks the kernel for the ways to servers, and tells the gateway.
    fn look_at_routes(&mut self) {
        self.input(Input::Bearers(route::bearers(&self.addresses)));
    }

    /// Reads the configuration again; once more afterwards, if it is being read already, because what is read may be old.
    fn reload(&mut self, options: &Options) {
        if self.reading {
            self.read_again = Some(options.clone());
            return;
        }
        self.reading = true;
        if let Err(error) = reload(options, &self.to_gateway) {
            self.input(Input::ReloadFailed(error.to_string()));
        }
    }

    /// Carries out what the gateway wants. Opening a session can give an input at once.
    fn drain(&mut self) {
        let mut more = VecDeque::new();
        loop {
            while let Some(output) = self.gateway.poll() {
                if let Some(input) = self.carry_out(output) {
                    more.push_back(input);
                }
            }
            match more.pop_front() {
                Some(input) => self.gateway.handle(self.clock.now(), input),
                None => return,
            }
        }
    }

    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::StartPlugin(radio) => self.slot(radio)?.start(),
            Output::WritePlugin(radio, line) => self.slot(radio)?.write(line),
            Output::KillPlugin(radio) => self.slot(radio)?.kill(),
            Output::Open { session, to, local_port } => {
                return self.sessions.open(self.clock.now(), session, to, local_port, &mut self.disk);
            }
            Output::Rehearse { session, server, node } => {
                return self.sessions.rehearse(self.clock.now(), session, server, node, &mut self.disk);
            }
            Output::Send(session, datagram) => return self.sessions.send(self.clock.now(), session, &datagram),
            Output::Close(session) => self.sessions.close(session),
            Output::Commit(batch) => self.disk.commit(batch),
            Output::Reply(request, mut answer) => {
                if let Some(Asker { reply, wants_status, wants_cost }) = self.replies.remove(&request) {
                    let node = answer["dev_eui"].as_str().filter(|_| wants_cost).and_then(|node| node.parse().ok());
                    if let (Some(cost), Some(answer)) =
                        (node.and_then(|node| self.sessions.cost(node)), answer.as_object_mut())
                    {
                        let mut json = cost.to_json();
                        if let Some(link) = node.and_then(|node| self.gateway.own_link(node)) {
                            json["what_if"] = what_if::of(cost, link);
                        }
                        answer.insert("dtls_cost".into(), json);
                    }
                    if let Some(answer) = answer.as_object_mut().filter(|_| wants_status) {
                        answer.insert("sessions".into(), self.sessions.status());
                        answer.insert("openssl".into(), library::name().into());
                        answer.insert("log_dropped".into(), journal::dropped().into());
                    }
                    // The asker has gone.
                    drop(reply.send(answer));
                }
            }
            Output::Event(event) => self.say(&event),
            Output::Stopped => self.stopped = true,
        }
        None
    }

    fn say(&self, event: &Event) {
        journal::log(event);
        if self.json {
            journal::print_json(event, self.clock.now().unix_ms);
        }
    }

    fn slot(&mut self, radio: RadioIndex) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(radio.0))
    }
}

/// Waits for a change of interfaces or routes, if they are watched; not before `from`, or routers that change all the time would
/// leave no time for anything else.
async fn changed(changes: Option<&route::Changes>, from: tokio::time::Instant) -> std::io::Result<()> {
    tokio::time::sleep_until(from).await;
    match changes {
        Some(changes) => changes.changed().await,
        None => std::future::pending().await,
    }
}

fn unwatched(error: std::io::Error) {
    log::warn!("interfaces and routes are looked at every {} s only: rtnetlink: {error}", LOOKS.as_secs());
}

/// What is to be said of credentials that cannot be used.
fn unusable(config: &Config) -> impl Iterator<Item = Event> {
    Keys::problems(config)
        .into_iter()
        .map(|(node, problem)| Event::new(Kind::CredentialUnusable).node(node).with("reason", problem))
}

/// Reads configuration and threat analyses on a thread of their own: files may be many, and disks slow.
fn reload(options: &Options, to_gateway: &mpsc::Sender<Input>) -> std::io::Result<()> {
    let (path, state_dir, to_gateway) = (options.config.clone(), options.state_dir.clone(), to_gateway.clone());
    let read = move || {
        let config = sealed_keys::read_config(&path, Some(&state_dir))?;
        let analyses = Analyses::read(&config.analysis_dir, config.analysis_signers.as_deref())?;
        for warning in &config.warnings {
            log::warn!("{warning}");
        }
        let noticed = unusable(&config).map(Input::Noticed).collect::<Vec<_>>();
        Ok::<_, crate::config::ConfigErrors>((noticed, Input::Reload(Box::new(config), analyses)))
    };
    std::thread::Builder::new().name("reload".into()).spawn(move || {
        let (noticed, input) = read().unwrap_or_else(|errors| (Vec::new(), Input::ReloadFailed(errors.to_string())));
        for input in noticed.into_iter().chain([input]) {
            // The gateway has stopped meanwhile.
            drop(to_gateway.blocking_send(input));
        }
    })?;
    Ok(())
}

/// Whether `path` can be the state directory of this process: the one of the command line, of the configuration, of
/// systemd, or the default.
#[must_use]
pub fn state_dir(command_line: Option<&Path>, configured: Option<&Path>) -> PathBuf {
    let systemd = || std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    let named = command_line.or(configured).map(Path::to_path_buf).or_else(systemd);
    named.unwrap_or_else(|| PathBuf::from("/var/lib/lpwad"))
}
