//! Sequences: facts change, days pass, the clock loses trust, analyses are replaced and broken, lpwad restarts, somebody
//! rearms. A model checker walks every order of them through the real gateway and its gate, as long as no more than
//! [`AT_ONCE`] facts are wrong at the same time. What may be NoSec is told a second time in [`Seen`], without the policy's code; a gateway that is wired
//! wrongly on purpose must be found out.

mod seen;

use super::*;
use crate::config::{Credential, Secret};
use crate::session::Way;
use crate::store::POLICY_STATE;
use seen::{Action, Bearer, Clock, Date, File, Regained, Seen, Tunnel};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::sync::Mutex;
use zeroize::Zeroizing;

/// How many of bearer, tunnel, roaming, clock and day may be wrong at the same time.
const AT_ONCE: usize = 2;

/// A gateway between two moments: the gate, and its state as the disk has it.
#[derive(Clone)]
struct Kept {
    gate: Arc<Gate>,
    disk: Arc<BTreeMap<u64, Vec<u8>>>,
    /// What of it counts.
    memory: String,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        self.memory == other.memory
    }
}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.memory.hash(state);
    }
}

impl Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.memory)
    }
}

#[derive(Clone, Debug, PartialEq, Hash)]
struct State {
    seen: Seen,
    kept: Kept,
}

/// How the gateway is wired: as it is built, or with a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wiring {
    AsBuilt,
    /// Whatever the sockets are bound to, it is the right interface.
    BearerNotLookedAt,
    /// What becomes of the tunnel is told with the next fact only.
    TunnelNotTold,
    /// A clock that is not trusted is used.
    ClockAlwaysBelieved,
    /// The latch is lifted with whatever happens next.
    LatchForgotten,
    /// A restart finds nothing on the disk.
    DiskForgotten,
    /// Files are read again, and not taken over.
    FileNotTakenOver,
}

struct Policy {
    wiring: Wiring,
    /// The node's counters may begin anew.
    relaxed: bool,
    config: Config,
    files: BTreeMap<File, Analyses>,
    /// Gateways that nobody uses now. Only their gates matter, and those are put in.
    idle: Mutex<Vec<Gateway>>,
}

impl Policy {
    fn new(wiring: Wiring, relaxed: bool) -> Policy {
        let mut config = config(true);
        config.servers[0].uri = "coap://10.9.0.10:5683".parse().ok();
        config.servers[0].secure_uri = "coaps://10.9.0.10:5684".parse().ok();
        let node = &mut config.nodes[0];
        let key = Secret::new(Zeroizing::new(vec![9; 16]));
        node.credential = Some(Arc::new(Credential::Psk { identity: b"id".to_vec(), key }));
        match &mut node.activation {
            Activation::Abp { relaxed_counter, .. } if relaxed => *relaxed_counter = true,
            activation => *activation = Activation::Otaa { join_eui: None, app_key: Key::new([7; 16]) },
        }
        let files = File::ALL.map(|file| (file, file.analyses())).into_iter().collect();
        Policy { wiring, relaxed, config, files, idle: Mutex::new(Vec::new()) }
    }

    fn start(&self, seen: &Seen) -> Gateway {
        let (now, facts) = (seen.now(self.wiring), seen.facts(self.wiring));
        Gateway::new(now, &self.config, self.files[&seen.file].clone(), facts, &Loaded::default(), 7)
    }

    /// What a start does to the gate; the rest of a gateway takes a hundred times as long to make.
    fn restart(&self, gateway: &mut Gateway, seen: &Seen, disk: &BTreeMap<u64, Vec<u8>>) {
        let none = BTreeMap::new();
        let disk = if self.wiring == Wiring::DiskForgotten { &none } else { disk };
        gateway.gate = Gate::new(self.files[&seen.file].clone(), seen.facts(self.wiring), disk);
        gateway.gate.add(NODE, &self.config.nodes[0]);
        gateway.judge_all(seen.now(self.wiring), Cause::Configured);
        gateway.settle(seen.now(self.wiring));
    }

    /// Carries out what the gateway asks for, and gives its state on the disk.
    fn drain(&self, gateway: &mut Gateway, now: Now, disk: &BTreeMap<u64, Vec<u8>>) -> BTreeMap<u64, Vec<u8>> {
        let mut loaded = Loaded { policy: disk.clone(), ..Loaded::default() };
        while let Some(output) = gateway.poll() {
            if let Output::Commit(batch) = output {
                loaded.apply(&batch);
                gateway.handle(now, Input::Committed(batch.ticket));
            }
        }
        loaded.policy.retain(|number, _| *number == POLICY_STATE);
        loaded.policy
    }

    fn state(&self, mut gateway: Gateway, mut seen: Seen, before: Option<(&State, Action)>) -> State {
        let none = BTreeMap::new();
        let disk =
            self.drain(&mut gateway, seen.now(self.wiring), before.map_or(&none, |(before, _)| &before.kept.disk));
        let clear = gateway.gate.permits(NODE, Way::Clear);
        match before {
            Some((before, action)) => seen.watch(&before.seen, action, clear),
            None => seen.clear = clear,
        }
        let gate = Arc::new(gateway.gate.clone());
        let kept = Kept { memory: gate.memory(), gate, disk: Arc::new(disk) };
        self.idle.lock().unwrap().push(gateway);
        State { seen, kept }
    }
}

impl Model for Policy {
    type State = State;
    type Action = Action;

    /// Nothing is bound to the tunnel yet; else all is well.
    fn init_states(&self) -> Vec<State> {
        let seen = Seen {
            bearer: Bearer::None,
            tunnel: Tunnel::Good,
            roaming: Some(false),
            clock: Clock::InStep,
            date: Date::Valid,
            file: File::First,
            latest: Some(Date::Valid),
            runs_on: None,
            lost: BTreeSet::new(),
            regained: None,
            clear: false,
        };
        vec![self.state(self.start(&seen), seen, None)]
    }

    /// What is right goes wrong in each way, what is wrong gets right; days go to and fro.
    fn actions(&self, State { seen, .. }: &State, actions: &mut Vec<Action>) {
        match seen.bearer {
            Bearer::Right => actions.extend([Bearer::Other, Bearer::None].map(Action::Bearer)),
            _ => actions.push(Action::Bearer(Bearer::Right)),
        }
        match seen.tunnel {
            Tunnel::Good => actions.extend([Tunnel::Stale, Tunnel::Bad, Tunnel::Absent].map(Action::Tunnel)),
            _ => actions.push(Action::Tunnel(Tunnel::Good)),
        }
        match seen.roaming {
            Some(false) => actions.extend([None, Some(true)].map(Action::Roaming)),
            _ => actions.push(Action::Roaming(Some(false))),
        }
        let clocks = [Clock::InStep, Clock::Adrift, Clock::Silent];
        actions.extend(clocks.into_iter().filter(|one| *one != seen.clock).map(Action::Clock));
        actions.extend(Date::ALL.into_iter().filter(|one| *one != seen.date).map(Action::Date));
        actions.extend(File::ALL.into_iter().filter(|one| *one != seen.file).map(Action::Load));
        actions.extend([Action::Restart, Action::Rearm]);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let seen = last.seen.after(action);
        if seen.wrong() > AT_ONCE {
            return None;
        }
        let now = seen.now(self.wiring);
        let idle = self.idle.lock().unwrap().pop();
        let mut gateway = idle.unwrap_or_else(|| self.start(&last.seen));
        self.drain(&mut gateway, now, &last.kept.disk);
        gateway.gate = Gate::clone(&last.kept.gate);
        match action {
            Action::Restart => self.restart(&mut gateway, &seen, &last.kept.disk),
            Action::Rearm => gateway.handle(now, Input::Request(1, control::Request::PolicyRearm)),
            Action::Date(_) => gateway.handle(now, Input::Tick),
            Action::Load(file) => {
                let read = if self.wiring == Wiring::FileNotTakenOver { last.seen.file } else { file };
                let config = Box::new(self.config.clone());
                gateway.handle(now, Input::Reload(config, self.files[&read].clone()));
            }
            Action::Tunnel(_) if self.wiring == Wiring::TunnelNotTold => {}
            _ => gateway.handle(now, Input::Facts(seen.facts(self.wiring))),
        }
        if self.wiring == Wiring::LatchForgotten {
            gateway.handle(now, Input::Request(1, control::Request::PolicyRearm));
        }
        Some(self.state(gateway, seen, Some((last, action))))
    }

    fn properties(&self) -> Vec<Property<Policy>> {
        if self.relaxed {
            return vec![Property::always(NEVER, |_, State { seen, .. }| !seen.clear)];
        }
        vec![
            Property::always(WELL, |_, State { seen, .. }| !seen.clear || seen.all_is_well()),
            Property::always(LATCH, |_, State { seen, .. }| !seen.clear || !seen.is_lost()),
            Property::always(FREE, |_, State { seen, .. }| seen.clear || seen.is_lost() || !seen.all_is_well()),
            Property::always(DISK, |_, State { kept, .. }| {
                let anew = Gate::new(Analyses::default(), Default::default(), &kept.disk);
                anew.latches() == kept.gate.latches()
            }),
            Property::sometimes("NoSec is granted", |_, State { seen, .. }| seen.clear),
            Property::sometimes("NoSec is lost", |_, State { seen, .. }| !seen.lost.is_empty()),
            Property::sometimes("all is well again, and it stays lost", |_, State { seen, .. }| {
                seen.all_is_well() && seen.is_lost()
            }),
            Property::sometimes("it comes back by rearm", |_, State { seen, .. }| {
                seen.regained == Some(Regained::Rearm)
            }),
            Property::sometimes("it comes back by a new review", |_, State { seen, .. }| {
                seen.regained == Some(Regained::Review)
            }),
            Property::sometimes("it runs on while the file is broken", |_, State { seen, .. }| {
                seen.clear && seen.file == File::Broken
            }),
            Property::sometimes("it is lost while the file is broken", |_, State { seen, .. }| {
                seen.file == File::Broken && seen.is_lost()
            }),
            Property::sometimes("by both reviews it was lost", |_, State { seen, .. }| seen.lost.len() == 2),
        ]
    }
}

const WELL: &str = "NoSec only while every condition holds";
const LATCH: &str = "what was lost stays lost until a rearm or a new review";
const NEVER: &str = "a node whose counters may begin anew never has NoSec";
const FREE: &str = "nothing but the conditions stands in the way";
const DISK: &str = "what is latched is on the disk";

#[test]
fn s_05_ta15_every_order_of_what_can_happen_is_walked() {
    let checker = Policy::new(Wiring::AsBuilt, false).checker().threads(2).spawn_bfs().join();
    let (steps, states) = (checker.state_count(), checker.unique_state_count());
    println!("{states} states, {steps} steps between them, {} deep", checker.max_depth());
    checker.assert_properties();
    assert!(states > 5_000, "{states} states");
}

#[test]
fn a_node_whose_counters_may_begin_anew_has_no_nosec_in_any_order() {
    let checker = Policy::new(Wiring::AsBuilt, true).checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
    assert!(checker.unique_state_count() > 500);
}

#[test]
fn a_gateway_that_is_wired_wrongly_is_found_out_by_the_shortest_way() {
    for (wiring, broken, steps) in [
        (Wiring::BearerNotLookedAt, WELL, 0),
        (Wiring::TunnelNotTold, WELL, 2),
        (Wiring::ClockAlwaysBelieved, WELL, 2),
        (Wiring::LatchForgotten, LATCH, 3),
        (Wiring::DiskForgotten, LATCH, 4),
        (Wiring::FileNotTakenOver, WELL, 2),
    ] {
        let find = |steps: usize| {
            let until = HasDiscoveries::AnyOf(BTreeSet::from([broken]));
            let model = Policy::new(wiring, false).checker().target_max_depth(steps + 2).finish_when(until);
            model.spawn_bfs().join().discovery(broken)
        };
        assert!(steps == 0 || find(steps - 1).is_none(), "{wiring:?}: a shorter way");
        let path = find(steps).unwrap_or_else(|| panic!("{wiring:?} was not found"));
        println!("{wiring:?}: \"{broken}\" does not hold after {:?}", path.into_actions());
    }
}
