//! The nodes by number, an index by DevEUI, and one ordered set of deadlines.

use super::input::NodeId;
use crate::node::Node;
use core::time::Duration;
use lpwad_lorawan::DevEui;
use std::collections::{BTreeMap, BTreeSet};

/// All nodes.
#[derive(Debug, Default)]
pub struct Fleet {
    nodes: BTreeMap<NodeId, Node>,
    by_eui: BTreeMap<DevEui, NodeId>,
    deadlines: BTreeSet<(Duration, NodeId)>,
    deadline_of: BTreeMap<NodeId, Duration>,
    /// Numbers are not used again, so that what is late for a node that went never meets another one.
    next: u32,
}

impl Fleet {
    /// Adds a node.
    pub fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        self.by_eui.insert(node.dev_eui, id);
        self.nodes.insert(id, node);
        id
    }

    /// No longer finds a node by its DevEUI.
    pub fn hide(&mut self, id: NodeId) {
        if let Some(dev_eui) = self.get(id).map(|node| node.dev_eui)
            && self.by_eui(dev_eui) == Some(id)
        {
            self.by_eui.remove(&dev_eui);
        }
    }

    /// Takes a node out.
    pub fn remove(&mut self, id: NodeId) -> Option<Node> {
        self.hide(id);
        if let Some(deadline) = self.deadline_of.remove(&id) {
            self.deadlines.remove(&(deadline, id));
        }
        self.nodes.remove(&id)
    }

    /// The node of a DevEUI.
    #[must_use]
    pub fn by_eui(&self, dev_eui: DevEui) -> Option<NodeId> {
        self.by_eui.get(&dev_eui).copied()
    }

    /// A node.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// A node, to change it; call [`Fleet::reschedule`] afterwards.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id)
    }

    /// All nodes.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// Ids of all nodes.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Puts a node's deadline where it belongs.
    pub fn reschedule(&mut self, id: NodeId) {
        let deadline = self.get(id).and_then(Node::deadline);
        let known = self.deadline_of.get(&id).copied();
        if known == deadline {
            return;
        }
        if let Some(old) = known {
            self.deadlines.remove(&(old, id));
        }
        match deadline {
            Some(new) => {
                self.deadlines.insert((new, id));
                self.deadline_of.insert(id, new);
            }
            None => _ = self.deadline_of.remove(&id),
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// At most `limit` nodes whose deadline is not after `now`, earliest first.
    #[must_use]
    pub fn due(&self, now: Duration, limit: usize) -> Vec<NodeId> {
        self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now).take(limit).map(|(_, id)| *id).collect()
    }
}
