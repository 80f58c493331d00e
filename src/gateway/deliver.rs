//! The way of what a server missed: uplink → backlog → Send. Paced over the site, so that what is new goes first; a
//! node's own backlog goes oldest first, one Send at a time, and only while its registration stands.

use super::Gateway;
use super::backlog::Dropped;
use super::event::{Event, Kind};
use super::input::{NodeId, Now};
use lpwad_lorawan::DevEui;
use lpwad_lwm2m::{Reading, SendOutcome, Sending};

impl Gateway {
    /// Keeps the readings of an uplink until the server knows them; they go into the batch of its counter.
    pub(super) fn keep(&mut self, now: Now, dev_eui: DevEui, readings: Vec<Reading>) {
        if let Some((key, record)) = self.backlog.keep(now, dev_eui, readings) {
            self.persist.put_backlog(key, record);
        }
        self.bound_backlog(now);
    }

    /// A node's client has nothing more to say: releases what its server has acknowledged, sends what it missed.
    pub(super) fn deliver(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get(id).filter(|node| node.leaves.is_none() && node.client.is_caught_up()) else {
            return;
        };
        let dev_eui = node.dev_eui;
        if let Some(key) = self.backlog.caught_up(dev_eui) {
            self.persist.remove_backlog(now.mono, key);
        }
        if node.client.is_muted() || self.stopping.is_some() || !self.backlog.wants_send(dev_eui) {
            return;
        }
        if !self.send_pace.take(now.mono) {
            if !self.sends.contains(&id) {
                self.sends.push_back(id);
            }
            return;
        }
        let readings = self.backlog.oldest(now, dev_eui);
        let Some(node) = self.fleet.get_mut(id) else { return };
        match node.client.send_readings(now.mono, &readings) {
            Sending::NotNow => return,
            Sending::Started(taken) => self.backlog.sent(dev_eui, taken),
            Sending::Skipped(taken) => {
                self.backlog.sent(dev_eui, taken);
                self.skip(now, dev_eui, taken, "the profile does not have their resources");
            }
        }
        self.dirty.insert(id);
    }

    /// What became of a Send.
    pub(super) fn sent(&mut self, now: Now, id: NodeId, outcome: SendOutcome) {
        let Some(node) = self.fleet.get(id) else { return };
        let dev_eui = node.dev_eui;
        match outcome {
            SendOutcome::Delivered => self.told(now, dev_eui, false),
            SendOutcome::Lost => self.backlog.lost(dev_eui),
            SendOutcome::TooLarge => self.skip(now, dev_eui, 1, "the server takes no message so large, nor blocks"),
            SendOutcome::Refused(reason) => {
                let Some(waiting) = self.backlog.refused(now.mono, dev_eui) else { return };
                let server = self.servers.get(node.server).map_or("", |served| served.config.name.as_str());
                let event = Event::new(Kind::BacklogRefused).node(dev_eui).server(server);
                self.say(event.with("reason", reason).with("uplinks", waiting));
            }
        }
    }

    /// What was on its way can never be told.
    fn skip(&mut self, now: Now, dev_eui: DevEui, readings: usize, reason: &str) {
        let event = Event::new(Kind::BacklogUnsendable).node(dev_eui);
        self.say(event.with("readings", readings).with("reason", reason));
        self.told(now, dev_eui, true);
    }

    fn told(&mut self, now: Now, dev_eui: DevEui, skipped: bool) {
        let (keys, delivered) = self.backlog.arrived(dev_eui, skipped);
        for key in keys {
            self.persist.remove_backlog(now.mono, key);
        }
        if let Some(readings) = delivered {
            self.say(Event::new(Kind::BacklogDelivered).node(dev_eui).with("readings", readings));
        }
    }

    /// Sends for nodes that waited for a token; drops what is too old.
    pub(super) fn tick_backlog(&mut self, now: Now) {
        while self.send_pace.next() <= now.mono
            && let Some(id) = self.sends.pop_front()
        {
            self.deliver(now, id);
        }
        if self.backlog.deadline().is_some_and(|deadline| deadline <= now.mono) {
            self.bound_backlog(now);
        }
    }

    fn bound_backlog(&mut self, now: Now) {
        let Dropped { keys, first } = self.backlog.bound(now.mono);
        if first {
            let (uplinks, bytes, _) = self.backlog.size(now.mono);
            self.say(Event::new(Kind::BacklogFull).with("uplinks", uplinks).with("bytes", bytes));
        }
        for key in keys {
            self.persist.remove_backlog(now.mono, key);
        }
    }
}
