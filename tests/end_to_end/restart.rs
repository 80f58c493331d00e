//! `kill -9` under traffic: nothing that must not be sent twice is sent twice, and the nodes need not join again.

use crate::air_trace::nothing_twice;
use crate::site::{Site, confirmed_uplink, endpoint, eui, small_server, uplink};

#[test]
fn after_kill_9_no_counter_or_nonce_is_used_twice_and_nodes_go_on() {
    let (mut server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(2, "");
    site.configure(2, &uri);
    let mut modem = site.modem(31);
    let mut gateway = site.gateway();
    // Twice it dies with a join on its way: the JoinNonce is on disk, the accept was handed to the radio or not.
    for _ in 0..2 {
        gateway.wait_event("node-joining");
        gateway.kill();
        gateway = site.gateway();
    }
    for n in 0..2 {
        modem.wait("a join", |line| line["event"] == "joined" && line["dev_eui"] == eui(n).as_str());
    }
    for round in 0..4 {
        // Confirmed uplinks: each one is answered with a frame that has a counter.
        for n in 0..2 {
            confirmed_uplink(&mut modem, n, &format!("0167011{round}"));
        }
        // One more is under way when the process dies.
        let mark = modem.mark();
        modem.tell(&format!("uplink {} 1 0167012{round} confirmed", eui(round % 2)));
        modem.wait_since(mark, "an uplink", |line| line["event"] == "uplink");
        let since = server.mark();
        gateway.kill();
        gateway = site.gateway();
        gateway.wait_event("radio-ready");
        for n in 0..2 {
            uplink(&mut modem, &mut gateway, n, &format!("0167013{round}"));
            server.wait_since(since, "the proxy again", |line| {
                ["registered", "updated"].iter().any(|event| line["event"] == *event)
                    && line["ep"] == endpoint(n).as_str()
            });
        }
    }
    let joins = modem.seen().iter().filter(|line| line["event"] == "joined").count();
    assert_eq!(joins, 2, "nobody joined again");
    gateway.terminate();

    let (nonces, data) = nothing_twice(&mut modem);
    assert!(nonces >= 2 && data >= 8, "{nonces} join accepts, {data} data frames");
}
