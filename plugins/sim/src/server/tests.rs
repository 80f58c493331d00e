//! The server in simulated time, driven by datagrams. The golden ones were encoded by aiocoap 0.4.17.

use super::command::{self, Line};
use super::*;
use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

const EP: &str = "urn:dev:mac:0011223344556677";

/// CON POST /rd?ep=urn:dev:mac:0011223344556677&lt=300&lwm2m=1.1&b=U, Content-Format 40, message id 0x1234, token abcd,
/// `</3303>;ver=1.1,</3303/0>`
const REGISTER: &str = "42021234abcdb2726411283d1265703d75726e3a6465763a6d61633a30303131323233333434353536363737066c743d\
                        333030096c776d326d3d312e3103623d55ff3c2f333330333e3b7665723d312e312c3c2f333330332f303e";
/// The same without `ep`, message id 0x1235, token 01.
const REGISTER_WITHOUT_EP: &str = "4102123501b272641128366c743d333030096c776d326d3d312e3103623d55ff3c2f333330332f303e";

fn hex(text: &str) -> Vec<u8> {
    lpwad_link::hex::decode(text).unwrap()
}

fn client(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A server with its clock, and what it said.
struct Rig {
    server: Server,
    now: Duration,
    sent: Vec<(SocketAddr, Packet)>,
    told: Vec<Value>,
}

impl Rig {
    fn new(observe: ObservePolicy) -> Self {
        let server = Server::new(Config { observe, seed: 7 });
        Rig { server, now: Duration::from_secs(1000), sent: Vec::new(), told: Vec::new() }
    }

    /// Registered at port 1 with /3303/0, nothing observed.
    fn registered() -> Self {
        let mut rig = Rig::new(ObservePolicy::Paths(Vec::new()));
        rig.raw(client(1), &hex(REGISTER));
        rig.take();
        rig
    }

    fn drain(&mut self) {
        while let Some(output) = self.server.poll() {
            match output {
                Output::Send { to, bytes } => self.sent.push((to, Packet::from_bytes(&bytes).unwrap())),
                Output::Event(event) => self.told.push(serde_json::to_value(event).unwrap()),
            }
        }
    }

    fn raw(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.server.handle_datagram(self.now, from, bytes);
        self.drain();
    }

    fn put(&mut self, from: SocketAddr, packet: &Packet) {
        self.raw(from, &packet.to_bytes().unwrap());
    }

    fn command(&mut self, line: &str) {
        let Ok(Line::Command(command)) = command::parse(line) else { panic!("{line}") };
        self.server.command(self.now, command);
        self.drain();
    }

    /// Time passes, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.server.deadline().filter(|due| *due <= end) {
            assert!(due >= self.now, "a deadline in the past");
            self.now = due;
            self.server.tick(due);
            self.drain();
        }
        self.now = end;
    }

    fn take(&mut self) -> (Vec<(SocketAddr, Packet)>, Vec<Value>) {
        (std::mem::take(&mut self.sent), std::mem::take(&mut self.told))
    }

    /// The one message that was sent.
    fn one(&mut self) -> Packet {
        let mut sent = std::mem::take(&mut self.sent);
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0).1
    }

    /// The one event that was told.
    fn event(&mut self) -> Value {
        let mut told = std::mem::take(&mut self.told);
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0)
    }
}

fn message(kind: MessageType, code: MessageClass, id: u16, token: &[u8]) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_type(kind);
    packet.header.code = code;
    packet.header.message_id = id;
    packet.set_token(token.to_vec());
    packet
}

fn post(id: u16, path: &[&str], query: &[&str], payload: &str) -> Packet {
    let mut packet = message(MessageType::Confirmable, MessageClass::Request(RequestType::Post), id, &[9]);
    path.iter().for_each(|segment| packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec()));
    query.iter().for_each(|entry| packet.add_option(CoapOption::UriQuery, entry.as_bytes().to_vec()));
    packet.payload = payload.as_bytes().to_vec();
    packet
}

/// A piggybacked 2.05 to a request, in SenML JSON.
fn content(request: &Packet, observe: Option<u32>, payload: &str) -> Packet {
    let mut packet = message(
        MessageType::Acknowledgement,
        MessageClass::Response(ResponseType::Content),
        request.header.message_id,
        request.get_token(),
    );
    packet.add_option(CoapOption::ContentFormat, vec![110]);
    if let Some(number) = observe {
        packet.set_observe_value(number);
    }
    packet.payload = payload.as_bytes().to_vec();
    packet
}

fn notification(kind: MessageType, id: u16, token: &[u8], number: u32, value: f64) -> Packet {
    let mut packet = message(kind, MessageClass::Response(ResponseType::Content), id, token);
    packet.add_option(CoapOption::ContentFormat, vec![110]);
    packet.set_observe_value(number);
    packet.payload = format!(r#"[{{"bn":"/3303/0/5700","v":{value}}}]"#).into_bytes();
    packet
}

fn location(created: &Packet) -> Vec<String> {
    let segments = created.get_option(CoapOption::LocationPath).unwrap();
    segments.iter().map(|segment| String::from_utf8(segment.clone()).unwrap()).collect()
}

/// Registers port 1 again, and gives the second segment of the location.
fn register_again(rig: &mut Rig, id: u16) -> String {
    let query = ["lwm2m=1.1", "lt=300", &format!("ep={EP}")];
    rig.put(client(1), &post(id, &["rd"], &query, "</3303/0>"));
    let created = rig.take().0.remove(0).1;
    assert_eq!(created.header.get_code(), "2.01");
    location(&created).remove(1)
}

/// Observes /3303/0/5700 of the client at port 1, and gives the token.
fn observed(rig: &mut Rig) -> Vec<u8> {
    rig.command(&format!("observe {EP} /3303/0/5700"));
    let request = rig.one();
    rig.put(client(1), &content(&request, Some(10), r#"[{"bn":"/3303/0/5700","v":1}]"#));
    assert_eq!(rig.event()["code"], "2.05");
    request.get_token().to_vec()
}

#[test]
fn r1_register_is_answered_with_a_location() {
    let mut rig = Rig::new(ObservePolicy::Paths(Vec::new()));
    rig.raw(client(1), &hex(REGISTER));
    let created = rig.one();
    let bytes = created.to_bytes().unwrap();
    assert_eq!(bytes[..6], hex("62411234abcd"), "ACK, token of two bytes, 2.01, message id, token");
    assert_eq!(bytes[6..10], *b"\x82rd\x08", "two Location-Path options");
    assert_eq!(bytes.len(), 18);
    assert_eq!(location(&created)[0], "rd");
    let event = json!({"event": "registered", "ep": EP, "lt": 300, "objects": ["/3303", "/3303/0"],
        "addr": "127.0.0.1:1", "replaced": false});
    assert_eq!(rig.event(), event);
}

#[test]
fn r2_register_without_a_name_is_refused() {
    let mut rig = Rig::new(ObservePolicy::Sensors);
    rig.raw(client(1), &hex(REGISTER_WITHOUT_EP));
    assert_eq!(rig.one().to_bytes().unwrap(), hex("6180123501"));
    assert!(rig.told.is_empty());
}

#[test]
fn r1_what_leshan_refuses_is_refused() {
    let refused = [
        (&["ep=a"][..], "</3/0>"),
        (&["ep=", "lwm2m=1.1"], "</3/0>"),
        (&["ep=a", "lwm2m=1.1", "b=UQ"], "</3/0>"),
        (&["ep=a", "lwm2m=1.1", "lt=soon"], "</3/0>"),
        (&["ep=a", "lwm2m=1.1"], ""),
        (&["ep=a", "lwm2m=1.1"], "3/0"),
    ];
    let mut rig = Rig::new(ObservePolicy::Sensors);
    for (id, (query, payload)) in (1..).zip(refused) {
        rig.put(client(1), &post(id, &["rd"], query, payload));
        assert_eq!(rig.one().header.get_code(), "4.00", "{query:?} {payload}");
    }
    assert!(rig.told.is_empty());
}

#[test]
fn paths_methods_and_options_that_are_not_there() {
    let mut rig = Rig::new(ObservePolicy::Sensors);
    let mut check = |packet: &Packet, code: &str| {
        rig.put(client(1), packet);
        assert_eq!(rig.one().header.get_code(), code);
    };
    check(&post(1, &["bs"], &["ep=a"], ""), "4.04");
    check(&post(2, &["rd", "00000000"], &[], ""), "4.04");
    check(&post(3, &["dp"], &[], "[]"), "4.00");
    let mut get = post(4, &["rd"], &[], "");
    get.header.code = MessageClass::Request(RequestType::Get);
    check(&get, "4.05");
    let mut block = post(5, &["rd"], &["ep=a", "lwm2m=1.1"], "</3/0>");
    block.add_option(CoapOption::Block1, vec![0x0e]);
    check(&block, "4.02");
}

#[test]
fn c1_a_repeated_register_gets_the_same_reply_and_counts_once() {
    let mut rig = Rig::new(ObservePolicy::Paths(Vec::new()));
    rig.raw(client(1), &hex(REGISTER));
    rig.pass(Duration::from_secs(100));
    rig.raw(client(1), &hex(REGISTER));
    let (sent, told) = rig.take();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1]);
    assert_eq!(told.len(), 1);
    // after EXCHANGE_LIFETIME the same message id is a new message
    rig.pass(Duration::from_secs(150));
    rig.raw(client(1), &hex(REGISTER));
    assert_eq!(rig.event()["replaced"], true);
}

#[test]
fn r7_update_renews_and_r9_an_unknown_one_gets_4_04() {
    let mut rig = Rig::registered();
    let segment = register_again(&mut rig, 10);
    rig.pass(Duration::from_secs(299));
    rig.put(client(1), &post(11, &["rd", &segment], &["lt=600"], ""));
    assert_eq!(rig.one().header.get_code(), "2.04");
    assert_eq!(rig.event(), json!({"event": "updated", "ep": EP, "lt": 600}));
    rig.pass(Duration::from_secs(599));
    rig.put(client(1), &post(12, &["rd", &segment], &[], "</3303/0>,</3303/1>"));
    assert_eq!(rig.event()["objects"], json!(["/3303/0", "/3303/1"]));
    rig.take();
    rig.pass(Duration::from_secs(599));
    assert!(rig.told.is_empty());
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.event(), json!({"event": "expired", "ep": EP}));
    rig.put(client(1), &post(13, &["rd", &segment], &[], ""));
    assert_eq!(rig.one().header.get_code(), "4.04");
}

#[test]
fn r11_deregister_ends_the_registration() {
    let mut rig = Rig::registered();
    let segment = register_again(&mut rig, 10);
    for (id, code) in [(11, "2.02"), (12, "4.04")] {
        let mut delete = post(id, &["rd", &segment], &[], "");
        delete.header.code = MessageClass::Request(RequestType::Delete);
        rig.put(client(1), &delete);
        assert_eq!(rig.one().header.get_code(), code);
    }
    assert_eq!(rig.event(), json!({"event": "deregistered", "ep": EP}));
    rig.command(&format!("read {EP} /3303/0/5700"));
    assert_eq!(rig.event()["event"], "error");
}

#[test]
fn i1_sensor_instances_are_observed_one_after_the_other() {
    let mut rig = Rig::new(ObservePolicy::Sensors);
    let list = "</>;rt=\"oma.lwm2m\",</3/0>,</3303>;ver=1.1,</3303/0>,</3303/1>,</3412/0>";
    rig.put(client(1), &post(1, &["rd"], &["ep=a", "lwm2m=1.1"], list));
    let (sent, _) = rig.take();
    assert_eq!(sent.len(), 2, "the reply, then one request (NSTART)");
    let first = &sent[1].1;
    assert_eq!(first.header.get_type(), MessageType::Confirmable);
    assert_eq!(first.header.code, MessageClass::Request(RequestType::Get));
    assert_eq!(first.get_token().len(), 8);
    assert_eq!(first.get_option(CoapOption::Observe).unwrap().front().unwrap(), &Vec::<u8>::new(), "Observe 0");
    assert_eq!(first.get_option(CoapOption::Accept).unwrap().front().unwrap(), &[110]);
    let path: Vec<_> = first.get_option(CoapOption::UriPath).unwrap().iter().collect();
    assert_eq!(path, [b"3303".as_slice(), b"0"]);
    rig.put(client(1), &content(first, Some(3), r#"[{"bn":"/3303/0/5700","v":21.5}]"#));
    let event = json!({"event": "observed", "ep": "a", "path": "/3303/0", "code": "2.05",
        "values": {"/3303/0/5700": 21.5}});
    assert_eq!(rig.event(), event);
    let second = rig.one();
    assert_ne!(second.get_token(), first.get_token());
    let mut refusal = content(&second, None, "");
    refusal.header.code = MessageClass::Response(ResponseType::NotFound);
    rig.put(client(1), &refusal);
    assert_eq!(rig.event(), json!({"event": "observed", "ep": "a", "path": "/3303/1", "code": "4.04"}));
    assert!(rig.sent.is_empty());
}

#[test]
fn a_refused_observation_is_tried_again_after_an_update() {
    let mut rig = Rig::new(ObservePolicy::All);
    rig.put(client(1), &post(1, &["rd"], &["ep=a", "lwm2m=1.1"], "</3303/0>"));
    let sent = rig.take().0;
    let segment = location(&sent[0].1).remove(1);
    let mut refusal = content(&sent[1].1, None, "");
    refusal.header.code = MessageClass::Response(ResponseType::NotFound);
    rig.put(client(1), &refusal);
    rig.take();
    rig.put(client(1), &post(2, &["rd", &segment], &[], ""));
    let sent = rig.take().0;
    assert_eq!(sent.len(), 2);
    rig.put(client(1), &content(&sent[1].1, Some(0), "[]"));
    rig.take();
    rig.put(client(1), &post(3, &["rd", &segment], &[], ""));
    assert_eq!(rig.take().0.len(), 1, "the answer alone: it is observed now");
}

#[test]
fn c2_a_request_is_repeated_four_times_and_given_up_within_93_s() {
    let mut rig = Rig::registered();
    let start = rig.now;
    rig.command(&format!("read {EP} /3303/0/5700"));
    let mut times = vec![rig.now];
    let mut copies = vec![rig.one()];
    while rig.told.is_empty() {
        rig.pass(Duration::from_millis(100));
        for (_, copy) in std::mem::take(&mut rig.sent) {
            times.push(rig.now);
            copies.push(copy);
        }
        assert!(rig.now < start + Duration::from_secs(94));
    }
    assert_eq!(rig.event(), json!({"event": "read", "ep": EP, "path": "/3303/0/5700", "error": "timeout"}));
    assert_eq!(copies.len(), 5);
    assert!(copies.iter().all(|copy| *copy == copies[0]));
    let first = times[1] - times[0];
    assert!(first >= Duration::from_secs(2) && first <= Duration::from_millis(3100), "{first:?}");
    assert!(times[4] - times[3] >= 7 * first, "{times:?}");
}

#[test]
fn c2_a_separate_response_is_awaited_and_acknowledged() {
    let mut rig = Rig::registered();
    rig.command(&format!("read {EP} /3303/0/5700"));
    let request = rig.one();
    let ack = message(MessageType::Acknowledgement, MessageClass::Empty, request.header.message_id, &[]);
    rig.put(client(1), &ack);
    rig.pass(Duration::from_secs(30));
    assert!(rig.sent.is_empty(), "an acknowledged request is not repeated");
    let mut response = content(&request, None, r#"[{"n":"/3303/0/5700","v":4}]"#);
    response.header.set_type(MessageType::Confirmable);
    response.header.message_id = 0x7777;
    rig.put(client(1), &response);
    assert_eq!(rig.one().to_bytes().unwrap(), hex("60007777"));
    assert_eq!(rig.event()["values"], json!({"/3303/0/5700": 4}));
    rig.put(client(1), &response);
    assert_eq!(rig.one().to_bytes().unwrap(), hex("60007777"), "repeated, acknowledged again, told once");
    assert!(rig.told.is_empty());
}

#[test]
fn a_separate_response_that_never_comes_is_a_timeout() {
    let mut rig = Rig::registered();
    rig.command(&format!("execute {EP} /3/0/4"));
    let request = rig.one();
    rig.put(client(1), &message(MessageType::Acknowledgement, MessageClass::Empty, request.header.message_id, &[]));
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.event()["error"], "timeout");
}

#[test]
fn i9_notifications_are_told_acknowledged_and_put_in_order() {
    let mut rig = Rig::registered();
    let token = observed(&mut rig);
    rig.put(client(1), &notification(MessageType::NonConfirmable, 1, &token, 12, 21.5));
    assert!(rig.sent.is_empty());
    let event = json!({"event": "notify", "ep": EP, "path": "/3303/0/5700", "code": "2.05",
        "values": {"/3303/0/5700": 21.5}});
    assert_eq!(rig.event(), event);
    rig.put(client(1), &notification(MessageType::Confirmable, 2, &token, 13, 22.0));
    assert_eq!(rig.one().to_bytes().unwrap(), hex("60000002"));
    assert_eq!(rig.event()["values"]["/3303/0/5700"], 22.0);
    rig.put(client(1), &notification(MessageType::NonConfirmable, 3, &token, 11, 20.0));
    assert_eq!(rig.event()["why"], "older than the last notification");
    rig.pass(Duration::from_secs(129));
    rig.put(client(1), &notification(MessageType::NonConfirmable, 4, &token, 11, 20.0));
    assert_eq!(rig.event()["event"], "notify");
}

#[test]
fn i10_unknown_tokens_get_a_reset() {
    let mut rig = Rig::registered();
    for (id, kind) in [(1, MessageType::Confirmable), (2, MessageType::NonConfirmable)] {
        rig.put(client(1), &notification(kind, id, &[1, 2, 3, 4, 5, 6, 7, 8], 1, 1.0));
        assert_eq!(rig.one().to_bytes().unwrap(), [0x70, 0, 0, id as u8]);
        assert_eq!(rig.event()["why"], "unknown token");
    }
}

#[test]
fn i11_an_error_ends_an_observation_and_i12_so_does_a_new_register() {
    let mut rig = Rig::registered();
    let token = observed(&mut rig);
    let mut error = message(MessageType::NonConfirmable, MessageClass::Response(ResponseType::NotFound), 1, &token);
    rig.put(client(1), &error);
    assert_eq!(rig.event()["code"], "4.04");
    error.header.message_id = 2;
    rig.put(client(1), &error);
    assert_eq!(rig.one().header.get_type(), MessageType::Reset);
    rig.take();
    let token = observed(&mut rig);
    register_again(&mut rig, 10);
    rig.take();
    rig.put(client(1), &notification(MessageType::NonConfirmable, 3, &token, 11, 1.0));
    assert_eq!(rig.one().header.get_type(), MessageType::Reset);
}

#[test]
fn d5_d7_write_and_execute_are_sent_as_the_path_asks() {
    let mut rig = Rig::registered();
    let mut check = |line: String, method, format: Option<u8>, payload: &str, event: &str| {
        rig.command(&line);
        let request = rig.one();
        assert_eq!(request.header.code, MessageClass::Request(method), "{line}");
        assert_eq!(request.get_first_option(CoapOption::ContentFormat).cloned(), format.map(|format| vec![format]));
        assert_eq!(String::from_utf8(request.payload.clone()).unwrap(), payload);
        let mut changed = content(&request, None, "");
        changed.header.code = MessageClass::Response(ResponseType::Changed);
        rig.put(client(1), &changed);
        let told = rig.event();
        assert_eq!((told["event"].as_str(), told["code"].as_str()), (Some(event), Some("2.04")));
    };
    let text = r#"[{"n":"/3306/0/5850","vb":true}]"#;
    check(format!("write {EP} /3306/0/5850 true"), RequestType::Put, Some(110), text, "written");
    check(format!("write {EP} /3306/0 {{\"5850\":true}}"), RequestType::Post, Some(110), text, "written");
    check(format!("execute {EP} /3/0/4 0='1'"), RequestType::Post, None, "0='1'", "executed");
}

#[test]
fn a_reset_and_a_wrong_format_are_told() {
    let mut rig = Rig::registered();
    rig.command(&format!("read {EP} /3303/0/5700"));
    let request = rig.one();
    rig.put(client(1), &message(MessageType::Reset, MessageClass::Empty, request.header.message_id, &[]));
    assert_eq!(rig.event()["error"], "reset");
    for payload in ["{", "[{\"n\":1,\"v\":1}]"] {
        rig.command(&format!("read {EP} /3303/0/5700"));
        let request = rig.one();
        rig.put(client(1), &content(&request, None, payload));
        assert_eq!(rig.event()["error"], "payload");
    }
    rig.command(&format!("observe {EP} /3303/0/5700"));
    let request = rig.one();
    rig.put(client(1), &content(&request, None, "[]"));
    assert_eq!(rig.event()["error"], "not_observed");
}

#[test]
fn a_send_is_told_and_a_stranger_has_none() {
    let mut rig = Rig::registered();
    let mut send = post(1, &["dp"], &[], r#"[{"bn":"/3303/0/5700","bt":1700000000,"v":1},{"t":60,"v":2}]"#);
    send.add_option(CoapOption::ContentFormat, vec![110]);
    rig.put(client(1), &send);
    assert_eq!(rig.one().header.get_code(), "2.04");
    let event = rig.event();
    assert_eq!((&event["ep"], &event["ts"]), (&json!(EP), &json!(1_700_000_060.0)));
    assert_eq!(event["stamped"].as_array().unwrap().len(), 2);
    rig.put(client(2), &send);
    assert_eq!(rig.one().header.get_code(), "4.00");
}

#[test]
fn r10_a_client_is_followed_to_another_port() {
    let mut rig = Rig::registered();
    let segment = register_again(&mut rig, 10);
    rig.command(&format!("read {EP} /3303/0/5700"));
    rig.command(&format!("read {EP} /3303/0/5601"));
    rig.take();
    rig.put(client(2), &post(1, &["rd", &segment], &[], ""));
    let sent = rig.take().0;
    assert!(sent.iter().all(|(to, _)| *to == client(2)));
    let request = sent.iter().map(|(_, packet)| packet).find(|packet| packet.header.get_code() == "0.01").unwrap();
    rig.put(client(2), &content(request, None, "[]"));
    assert_eq!(rig.event()["path"], "/3303/0/5700");
    assert_eq!(rig.take().0.len(), 1, "the second read");
    rig.pass(Duration::from_secs(1));
    assert!(rig.sent.is_empty(), "nothing is repeated to the old port");
}

#[test]
fn r9_forget_makes_the_next_update_fail() {
    let mut rig = Rig::registered();
    let segment = register_again(&mut rig, 10);
    let token = observed(&mut rig);
    rig.command(&format!("forget {EP}"));
    assert!(rig.sent.is_empty() && rig.told.is_empty());
    rig.put(client(1), &notification(MessageType::Confirmable, 20, &token, 50, 1.0));
    assert_eq!(rig.one().header.get_type(), MessageType::Reset);
    rig.put(client(1), &post(11, &["rd", &segment], &[], ""));
    assert_eq!(rig.one().header.get_code(), "4.04");
}

#[test]
fn silent_hears_and_says_nothing() {
    let mut rig = Rig::registered();
    rig.command("silent on");
    rig.raw(client(2), &hex(REGISTER));
    rig.command(&format!("read {EP} /3303/0/5700"));
    rig.pass(Duration::from_secs(301));
    let (sent, told) = rig.take();
    assert!(sent.is_empty());
    assert_eq!(told.last().unwrap(), &json!({"event": "expired", "ep": EP}));
    rig.command("silent off");
    rig.raw(client(2), &hex(REGISTER));
    assert_eq!(rig.one().header.get_code(), "2.01");
}

#[test]
fn q2_requests_wait_until_a_sleeping_client_is_back() {
    let mut rig = Rig::new(ObservePolicy::Paths(Vec::new()));
    rig.put(client(1), &post(1, &["rd"], &["ep=a", "lwm2m=1.1", "b=U", "Q"], "</3303/0>"));
    let segment = location(&rig.one()).remove(1);
    rig.pass(AWAKE);
    rig.command("read a /3303/0/5700");
    let request = rig.one();
    rig.put(client(1), &content(&request, None, "[]"));
    rig.pass(AWAKE + Duration::from_secs(1));
    rig.take();
    rig.command("read a /3303/0/5700");
    rig.pass(Duration::from_secs(600));
    assert!(rig.sent.is_empty());
    rig.put(client(1), &post(2, &["rd", &segment], &[], ""));
    let sent = rig.take().0;
    assert_eq!(sent[1].1.header.code, MessageClass::Request(RequestType::Get));
}

#[test]
fn a_ping_gets_a_reset() {
    let mut rig = Rig::new(ObservePolicy::Sensors);
    rig.raw(client(1), &hex("40000001"));
    assert_eq!(rig.one().to_bytes().unwrap(), hex("70000001"));
}

#[test]
fn more_clients_than_there_is_room_for_are_refused() {
    let mut rig = Rig::new(ObservePolicy::Sensors);
    let register = |number: usize| post(1, &["rd"], &["lwm2m=1.1", &format!("ep=n{number}")], "</3/0>");
    let at = |number: usize| SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 5683));
    for number in 0..MAX_REGISTRATIONS {
        rig.put(at(number), &register(number));
    }
    let (sent, told) = rig.take();
    assert!(sent.iter().all(|(_, reply)| reply.header.get_code() == "2.01"));
    assert_eq!(told.len(), MAX_REGISTRATIONS);
    rig.put(at(MAX_REGISTRATIONS), &register(MAX_REGISTRATIONS));
    assert_eq!(rig.one().header.get_code(), "5.03");
    assert_eq!(rig.event()["why"], "too many registrations");
    // an endpoint that is there already may register again
    let mut again = register(0);
    again.header.message_id = 2;
    rig.put(at(0), &again);
    assert_eq!(rig.one().header.get_code(), "2.01");
    // one that goes makes room
    rig.command("forget n1");
    let mut late = register(MAX_REGISTRATIONS);
    late.header.message_id = 3;
    rig.put(at(MAX_REGISTRATIONS), &late);
    assert_eq!(rig.one().header.get_code(), "2.01");
}

#[test]
fn addresses_that_only_talk_are_forgotten() {
    let mut rig = Rig::new(ObservePolicy::Sensors);
    let ping = hex("40000001");
    let at = |number: usize| SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 5683));
    for number in 0..MAX_PEERS {
        rig.raw(at(number), &ping);
    }
    rig.take();
    rig.raw(at(MAX_PEERS), &ping);
    assert_eq!(rig.event()["why"], "too many addresses");
    rig.pass(exchange::EXCHANGE_LIFETIME);
    rig.raw(at(MAX_PEERS), &ping);
    assert_eq!(rig.one().header.get_type(), MessageType::Reset);
}

#[test]
fn requests_beyond_the_bounds_are_told() {
    let mut rig = Rig::registered();
    for _ in 0..=exchange::MAX_WAITING {
        rig.command(&format!("read {EP} /3303/0/5700"));
    }
    assert!(rig.told.is_empty());
    rig.command(&format!("read {EP} /3303/0/5700"));
    assert_eq!(rig.event()["error"], "busy");
}

#[test]
fn garbage_never_panics_and_time_goes_on() {
    let mut rng = crate::rng::Rng::new(1, 1);
    let mut rig = Rig::registered();
    let token = observed(&mut rig);
    let seeds = [
        hex(REGISTER),
        hex(REGISTER_WITHOUT_EP),
        notification(MessageType::Confirmable, 5, &token, 20, 1.5).to_bytes().unwrap(),
        content(&post(1, &[], &[], ""), Some(1), "[]").to_bytes().unwrap(),
    ];
    for round in 0..100_000_u64 {
        let mut bytes = match seeds.get(rng.below(6) as usize) {
            Some(seed) => seed.clone(),
            None => (0..rng.below(40)).map(|_| rng.next() as u8).collect(),
        };
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.next() as u8;
            }
        }
        bytes.truncate(bytes.len() - rng.below(bytes.len() as u64 / 4 + 1) as usize);
        rig.raw(client(1 + (round % 50) as u16), &bytes);
        rig.pass(Duration::from_millis(rng.below(20)));
        rig.take();
    }
}
