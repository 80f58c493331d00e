//! By which interface the kernel reaches a server, and word of each change of interfaces, addresses, routes and rules
//! (rtnetlink): what rule TA11 of the threat analysis needs to know. The kernel is asked; no table is kept here.

use crate::config::{Config, ServerUri};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room for one answer in bytes; a longer one counts as none.
const MAX_ANSWER: usize = 32 * 1024;
/// Answers that are read for one question; what is left of earlier ones is passed over.
const MAX_ANSWERS: usize = 16;
/// Messages that one look at the changes takes away.
const MAX_CHANGES: usize = 1024;
/// Groups of the changes: interfaces; addresses, routes and rules of IPv4; the same of IPv6.
const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
];

/// The addresses of servers that may be reached without DTLS and are not on this host.
#[must_use]
pub fn asked_for(config: &Config) -> BTreeSet<IpAddr> {
    let uris = config.servers.iter().filter_map(|server| server.uri.as_ref()).filter(|uri| !uri.is_loopback_literal());
    uris.filter_map(ServerUri::literal).map(|address| address.ip()).collect()
}

/// The interfaces that lead to these addresses now and are up; where the kernel cannot be asked, none is known.
#[must_use]
pub fn bearers(addresses: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, String> {
    if addresses.is_empty() {
        return BTreeMap::new();
    }
    // Asked a second time where the question itself failed: what is not known is lost for clear sessions, and latched.
    let ask = || Kernel::open().and_then(|mut kernel| kernel.bearers(addresses));
    ask().or_else(|_| ask()).unwrap_or_default()
}

/// Questions to the kernel.
struct Kernel {
    socket: Socket,
    asked: u32,
}

impl Kernel {
    fn open() -> io::Result<Kernel> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Kernel { socket, asked: 0 })
    }

    fn bearers(&mut self, addresses: &BTreeSet<IpAddr>) -> io::Result<BTreeMap<IpAddr, String>> {
        let mut bearers = BTreeMap::new();
        for address in addresses {
            bearers.extend(self.bearer(*address)?.map(|name| (*address, name)));
        }
        Ok(bearers)
    }

    /// `None`: no route, or not by an interface that is up.
    fn bearer(&mut self, address: IpAddr) -> io::Result<Option<String>> {
        let mut route = RouteMessage::default();
        (route.header.address_family, route.header.destination_prefix_length) = match address {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        route.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
        let Some(RouteNetlinkMessage::NewRoute(route)) = self.ask(RouteNetlinkMessage::GetRoute(route))? else {
            return Ok(None);
        };
        let index = route.attributes.iter().find_map(|one| match one {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        let mut link = LinkMessage::default();
        let Some(index) = index else { return Ok(None) };
        link.header.index = index;
        let Some(RouteNetlinkMessage::NewLink(link)) = self.ask(RouteNetlinkMessage::GetLink(link))? else {
            return Ok(None);
        };
        // A route stays when the carrier is lost.
        let is_up = link.header.flags.contains(LinkFlags::Up | LinkFlags::Running);
        Ok(link.attributes.into_iter().filter(|_| is_up).find_map(|one| match one {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        }))
    }

    /// The answer to a question; `None`: there is no such thing. The kernel gives it before the question is sent, so it is there
    /// or never comes.
    fn ask(&mut self, question: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
        self.asked = self.asked.wrapping_add(1);
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(question));
        message.header.flags = NLM_F_REQUEST;
        message.header.sequence_number = self.asked;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        for _ in 0..MAX_ANSWERS {
            let mut answer = Vec::with_capacity(MAX_ANSWER);
            self.socket.recv(&mut answer, libc::MSG_DONTWAIT)?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
                .map_err(|error| io::Error::other(error.to_string()))?;
            match answer.payload {
                _ if answer.header.sequence_number != self.asked => {}
                NetlinkPayload::InnerMessage(answer) => return Ok(Some(answer)),
                NetlinkPayload::Error(_) => return Ok(None),
                _ => break,
            }
        }
        Err(io::Error::other("no answer"))
    }
}

/// Word of changes.
pub struct Changes {
    socket: AsyncFd<Socket>,
}

impl Changes {
    /// Of all that happens from now on.
    pub fn watch() -> io::Result<Changes> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        #[expect(unsafe_code, reason = "the safe constructor is deprecated; this one states its condition")]
        // SAFETY: a `Socket` that the `AsyncFd` owns is open, and the same one, until that is dropped.
        let socket =
            unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(io::Error::other)?;
        Ok(Changes { socket })
    }

    /// Waits until something has changed; what is said of it is not looked at. Can be dropped at any time.
    pub async fn changed(&self) -> io::Result<()> {
        let mut guard = self.socket.readable().await?;
        for _ in 0..MAX_CHANGES {
            let mut message = Vec::with_capacity(64);
            match guard.get_inner().recv(&mut message, libc::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    guard.clear_ready();
                    break;
                }
                // More happened than the kernel kept: a change like the others.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn s_05_the_kernel_says_which_interface_leads_where() {
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let nowhere: IpAddr = "255.255.255.255".parse().unwrap();
        let bearers = bearers(&BTreeSet::from([here, nowhere]));
        assert_eq!(bearers.get(&here).map(String::as_str), Some("lo"));
    }

    /// In a network namespace of its own, where nothing happens but what the test does.
    #[test]
    fn s_05_each_kind_of_change_wakes_the_watch() {
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let child = "io::route::tests::child_is_woken_by_each_kind_of_change";
        let output = command
            .arg("--net")
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", child, "--nocapture"])
            .output()
            .expect("unshare, of util-linux");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("running 1 test") && output.status.success(), "{text}");
    }

    #[tokio::test]
    #[ignore = "run by the test above in its namespace"]
    async fn child_is_woken_by_each_kind_of_change() {
        let ip = |words: &str| {
            let status = Command::new("ip").args(words.split(' ')).status().expect("ip: apt-get install iproute2");
            assert!(status.success(), "ip {words}");
        };
        ip("link set lo up");
        let changes = Changes::watch().unwrap();
        for words in [
            "link set lo mtu 9000",
            "addr add 192.0.2.1/32 dev lo",
            "route add 198.51.100.0/24 dev lo",
            "rule add from 192.0.2.1 lookup 100",
            "-6 addr add 2001:db8::1/128 dev lo",
            "-6 route add 2001:db8:1::/64 dev lo",
            "-6 rule add from 2001:db8::1 lookup 100",
        ] {
            ip(words);
            // The word is there when `ip` has ended; the bound is for a watch that is deaf.
            let woken = tokio::time::timeout(Duration::from_secs(30), changes.changed()).await;
            assert!(matches!(woken, Ok(Ok(()))), "ip {words}: {woken:?}");
        }
    }
}
