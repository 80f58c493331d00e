//! What goes wrong, and how often: a table with weights, drawn from by the seed.

use crate::settings::Weather;
use crate::site::{self, Folder};
use crate::world::{START_UNIX_MS, World};
use lpwad::gateway::input::Input;
use lpwad_sim::air::Command as AirCommand;
use lpwad_sim::node::{Eui, Uplink};
use lpwad_sim::rng::Rng;
use lpwad_sim::server::{Command as ServerCommand, Operation};
use std::collections::BTreeMap;
use std::time::Duration;

/// Mean time between two actions.
const MEAN: Duration = Duration::from_secs(150);
/// The one long absence of a server in a run of a week.
const LONG_SILENCE: Duration = Duration::from_secs(72 * 3600);
const HOUR_MS: i64 = 3_600_000;
/// Where 32 bits of seconds end: 2038-01-19.
const END_OF_32_BITS_MS: i64 = 2_147_483_647_000;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    /// A node loses its memory and joins.
    Join,
    /// A node says something beside its schedule, confirmed or not.
    Uplink,
    /// A server writes to a node.
    Downlink,
    ServerRestart,
    ServerSilence,
    /// The plugin runs on and says nothing.
    RadioLoss,
    PluginCrash,
    PluginGarbage,
    PowerCut,
    /// Two within seconds.
    PowerFlicker,
    ClockStep,
    DiskFull,
    /// Nodes are taken out of the configuration and come back.
    ReloadNodes,
    /// Keys of nodes are mistyped, and corrected.
    ReloadKeys,
    /// An analysis is withdrawn for a while, or a file of the directory is broken.
    ReloadAnalyses,
    ReloadFailed,
    /// An attacker repeats frames, or sends without a key.
    Replay,
    Forge,
    /// Frames are lost or damaged on the air.
    AirLoss,
    /// A DTLS session ends or is put aside.
    SessionEnds,
}

/// The table.
const WEIGHTS: [(Action, u64); 20] = [
    (Action::Join, 10),
    (Action::Uplink, 60),
    (Action::Downlink, 80),
    (Action::ServerRestart, 2),
    (Action::ServerSilence, 4),
    (Action::RadioLoss, 3),
    (Action::PluginCrash, 4),
    (Action::PluginGarbage, 4),
    (Action::PowerCut, 3),
    (Action::PowerFlicker, 1),
    (Action::ClockStep, 3),
    (Action::DiskFull, 4),
    (Action::ReloadNodes, 3),
    (Action::ReloadKeys, 3),
    (Action::ReloadAnalyses, 2),
    (Action::ReloadFailed, 1),
    (Action::Replay, 12),
    (Action::Forge, 12),
    (Action::AirLoss, 12),
    (Action::SessionEnds, 6),
];

/// What ends a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Later {
    Boot,
    ClockRight,
    ServerBack(usize),
    NodesBack,
    KeysRight,
    AnalysesBack,
}

/// The faults of a run.
pub struct Faults {
    rng: Rng,
    next: Duration,
    until: Duration,
    later: BTreeMap<(Duration, u64), Later>,
    sequence: u64,
    weather: Weather,
}

impl Faults {
    /// None before the first quarter of an hour, in which nodes begin to join; the last tenth of a run is quiet.
    #[must_use]
    pub fn new(seed: u64, length: Duration, weather: Weather) -> Faults {
        let (rng, next, until) = (Rng::new(seed, 14), Duration::from_secs(900), length * 9 / 10);
        Faults { rng, next, until, later: BTreeMap::new(), sequence: 0, weather }
    }

    /// When the next thing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let later = self.later.first_key_value().map(|((due, _), _)| *due);
        let next = (self.next < self.until).then_some(self.next);
        later.into_iter().chain(next).min()
    }

    /// Whether everything that went wrong is right again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.later.is_empty()
    }

    /// Lets happen what is due.
    pub fn turn(&mut self, world: &mut World) {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= world.now) {
            let later = entry.remove();
            self.end(world, later);
        }
        while self.next <= world.now && self.next < self.until {
            self.next += Duration::from_millis(self.rng.below(2 * MEAN.as_millis() as u64)) + Duration::from_millis(1);
            let action = self.draw();
            let traffic = matches!(action, Action::Join | Action::Uplink | Action::Downlink);
            if self.weather == Weather::Calm && !traffic {
                continue;
            }
            world.count(name(action));
            self.act(world, action);
        }
    }

    fn draw(&mut self) -> Action {
        let all: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut point = self.rng.below(all);
        for (action, weight) in WEIGHTS {
            match point.checked_sub(weight) {
                Some(rest) => point = rest,
                None => return action,
            }
        }
        Action::Uplink
    }

    fn node(&mut self, world: &World) -> usize {
        self.rng.below(world.settings.nodes as u64) as usize
    }

    fn after(&mut self, world: &World, least_s: u64, most_s: u64, later: Later) {
        let due = world.now + Duration::from_millis(1000 * least_s + self.rng.below(1000 * (most_s - least_s)));
        self.sequence += 1;
        self.later.insert((due, self.sequence), later);
    }

    fn is_planned(&self, later: Later) -> bool {
        self.later.values().any(|planned| *planned == later)
    }

    fn act(&mut self, world: &mut World, action: Action) {
        let now = world.now;
        match action {
            Action::Join => {
                let dev_eui = Eui(site::dev_eui(self.node(world)));
                world.air.command(now, AirCommand::Reboot { dev_eui }).expect("the node is there");
            }
            Action::Uplink => {
                let dev_eui = Eui(site::dev_eui(self.node(world)));
                let payload = site::payload(-1 - self.rng.below(400) as i16);
                let uplink = Uplink { fport: 1, payload, confirmed: self.rng.below(2) == 0 };
                // A node whose queue is full says nothing more.
                drop(world.air.command(now, AirCommand::Uplink { dev_eui, uplink }));
            }
            Action::Downlink => self.write(world),
            Action::ServerRestart => {
                let index = self.rng.below(2) as usize;
                world.restart_server(index);
            }
            Action::ServerSilence => {
                let index = self.rng.below(2) as usize;
                if self.is_planned(Later::ServerBack(index)) {
                    return;
                }
                world.silence(index, true);
                // Once in a while for days.
                let long = LONG_SILENCE.as_secs();
                let (least, most) =
                    if self.rng.below(20) == 0 && now < self.until / 2 { (long, long + 60) } else { (60, 7200) };
                self.after(world, least, most, Later::ServerBack(index));
            }
            Action::RadioLoss => world.plugin.silent_until = now + Duration::from_secs(20 + self.rng.below(900)),
            Action::PluginCrash => world.plugin.exit(now),
            Action::PluginGarbage => {
                for _ in 0..=self.rng.below(40) {
                    world.plugin.garbage(now);
                }
            }
            Action::PowerCut => {
                world.power_cut();
                self.after(world, 5, 600, Later::Boot);
            }
            Action::PowerFlicker => {
                world.power_cut();
                world.boot();
                self.after(world, 1, 5, Later::Boot);
            }
            Action::ClockStep => {
                let off_ms = match self.rng.below(5) {
                    // 1970, as without a battery.
                    0 => -(START_UNIX_MS as i64),
                    1 => END_OF_32_BITS_MS - START_UNIX_MS as i64,
                    2 => self.rng.below(48) as i64 * HOUR_MS,
                    3 => -(self.rng.below(48) as i64) * HOUR_MS,
                    _ => self.rng.below(2000) as i64 - 1000,
                };
                world.set_clock(off_ms);
                self.after(world, 60, 7200, Later::ClockRight);
            }
            Action::DiskFull => world.disk.full_until = now + Duration::from_secs(5 + self.rng.below(1200)),
            Action::ReloadNodes => {
                for _ in 0..=self.rng.below(5) {
                    let n = self.node(world);
                    world.edited.left_out.insert(n);
                }
                self.reload(world);
                self.after(world, 1, 7200, Later::NodesBack);
            }
            Action::ReloadKeys => {
                for _ in 0..=self.rng.below(5) {
                    let n = self.node(world);
                    world.edited.mistyped.insert(n);
                }
                self.reload(world);
                self.after(world, 1, 7200, Later::KeysRight);
            }
            Action::ReloadAnalyses => {
                match self.rng.below(3) {
                    0 => world.folder.named[0] = false,
                    1 => world.folder.named[1] = false,
                    _ => world.folder.broken = true,
                }
                self.reload(world);
                self.after(world, 60, 7200, Later::AnalysesBack);
            }
            Action::ReloadFailed => world.input(|| Input::ReloadFailed("lpwad.toml:3: expected a value".into())),
            Action::Replay => {
                let command = if self.rng.below(2) == 0 { AirCommand::Replay } else { AirCommand::ReplayJoin };
                // Nothing was on air yet.
                drop(world.air.command(now, command));
            }
            Action::Forge => self.forge(world),
            Action::SessionEnds => {
                let which = self.rng.next();
                world.end_session(which);
            }
            Action::AirLoss => {
                let count = 1 + self.rng.below(10) as u32;
                let command = match self.rng.below(3) {
                    0 => AirCommand::Drop(count),
                    1 => AirCommand::DropDown(count),
                    _ => AirCommand::Corrupt(count),
                };
                world.air.command(now, command).expect("always possible");
            }
        }
    }

    fn end(&mut self, world: &mut World, later: Later) {
        match later {
            Later::Boot => {
                // Another cut may have come before.
                world.power_cut();
                world.boot();
            }
            Later::ClockRight => {
                world.set_clock(0);
                world.rearm();
            }
            Later::ServerBack(index) => world.silence(index, false),
            Later::NodesBack => {
                disturb(world);
                world.edited.left_out.clear();
                self.reload(world);
            }
            Later::KeysRight => {
                disturb(world);
                world.edited.mistyped.clear();
                self.reload(world);
            }
            Later::AnalysesBack => {
                world.shadow.presence.disturbed(world.now);
                world.folder = Folder::WHOLE;
                self.reload(world);
            }
        }
    }

    fn reload(&self, world: &mut World) {
        let (nodes, edited, folder) = (world.settings.nodes, world.edited.clone(), world.folder);
        let backlog_bytes = world.settings.backlog_bytes;
        let config = || site::config(nodes, &edited, backlog_bytes);
        disturb(world);
        if folder != Folder::WHOLE {
            world.shadow.presence.disturbed(world.now);
        }
        if !folder.broken {
            world.folder_before = Some(folder);
        }
        let off_ms = world.time().unix_ms.map(|_| world.clock_off_ms);
        world.shadow.writes.restored(off_ms);
        world.input(|| Input::Reload(Box::new(config()), folder.analyses()));
    }

    fn write(&mut self, world: &mut World) {
        let n = self.node(world);
        let value = self.rng.below(2) == 0;
        if world.shadow.writes.asks(n, value) {
            world.tell(n, || format!("a server writes {value}"));
            let path = site::WRITTEN.parse().expect("a path");
            let operation = Operation::Write(value.into());
            let command = ServerCommand::Request { ep: site::endpoint(n), path, operation };
            if let Some(server) = world.servers.get_mut(n % 2) {
                server.command(world.now, command);
            }
            world.drain_server(n % 2);
        }
    }

    /// A burst of frames without a key: data of a known address, join requests of known nodes, noise.
    fn forge(&mut self, world: &mut World) {
        for _ in 0..=self.rng.below(60) {
            let mut frame: Vec<u8> = (0..12 + self.rng.below(20)).map(|_| self.rng.next() as u8).collect();
            match self.rng.below(3) {
                0 => frame[..5].copy_from_slice(&[0x40, self.rng.below(200) as u8, 0, 0, 2]),
                1 => {
                    let mut dev_eui = site::dev_eui(self.node(world));
                    dev_eui.reverse();
                    frame.resize(23, 7);
                    frame[..9].fill(0);
                    frame[9..17].copy_from_slice(&dev_eui);
                }
                _ => {}
            }
            world.plugin.forged(world.now, &frame);
        }
    }
}

/// Nodes that somebody edits do not go on as they were.
fn disturb(world: &mut World) {
    for n in world.edited.left_out.union(&world.edited.mistyped) {
        world.shadow.presence.node_disturbed(world.now, *n);
    }
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Join => "fault: join",
        Action::Uplink => "fault: uplink",
        Action::Downlink => "fault: downlink",
        Action::ServerRestart => "fault: server restart",
        Action::ServerSilence => "fault: server silence",
        Action::RadioLoss => "fault: radio loss",
        Action::PluginCrash => "fault: plugin crash",
        Action::PluginGarbage => "fault: plugin garbage",
        Action::PowerCut => "fault: power cut",
        Action::PowerFlicker => "fault: power flicker",
        Action::ClockStep => "fault: clock step",
        Action::DiskFull => "fault: disk full",
        Action::ReloadNodes => "fault: reload, nodes",
        Action::ReloadKeys => "fault: reload, keys",
        Action::ReloadAnalyses => "fault: reload, analyses",
        Action::ReloadFailed => "fault: reload failed",
        Action::Replay => "fault: replay",
        Action::Forge => "fault: forged frames",
        Action::AirLoss => "fault: loss on air",
        Action::SessionEnds => "fault: session ends",
    }
}
