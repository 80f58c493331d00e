//! The nodes in a slab, an index by DevEUI, and one ordered set of deadlines.

use super::input::NodeId;
use crate::node::Node;
use core::time::Duration;
use lpwad_lorawan::DevEui;
use std::collections::{BTreeMap, BTreeSet};

/// All nodes.
#[derive(Debug, Default)]
pub struct Fleet {
    nodes: Vec<Node>,
    by_eui: BTreeMap<DevEui, NodeId>,
    deadlines: BTreeSet<(Duration, NodeId)>,
    deadline_of: Vec<Option<Duration>>,
}

impl Fleet {
    /// Adds a node.
    pub fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.by_eui.insert(node.dev_eui, id);
        self.nodes.push(node);
        self.deadline_of.push(None);
        id
    }

    /// The node of a DevEUI.
    #[must_use]
    pub fn by_eui(&self, dev_eui: DevEui) -> Option<NodeId> {
        self.by_eui.get(&dev_eui).copied()
    }

    /// A node.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    /// A node, to change it; call [`Fleet::reschedule`] afterwards.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize)
    }

    /// All nodes.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index as u32), node))
    }

    /// Ids of all nodes.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// Puts a node's deadline where it belongs.
    pub fn reschedule(&mut self, id: NodeId) {
        let deadline = self.get(id).and_then(Node::deadline);
        let Some(slot) = self.deadline_of.get_mut(id.0 as usize) else { return };
        if *slot != deadline {
            if let Some(old) = slot.take() {
                self.deadlines.remove(&(old, id));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, id));
            }
            *slot = deadline;
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
