//! One client in virtual time against hand-made datagrams of a server. Row ids are those of the conformance checklist
//! (R registration, D device management, I information reporting, C CoAP).

use super::*;
use crate::coap::block::Block;
use crate::coap::message::{Code, option};
use crate::format::ContentFormat;

const S: fn(u64) -> Duration = Duration::from_secs;

struct Rig {
    client: Client,
    now: Duration,
    sent: Vec<Message>,
    events: Vec<ClientEvent>,
    saves: Vec<Snapshot>,
    asked: Vec<Output>,
    next_id: u16,
}

fn config() -> ClientConfig {
    ClientConfig {
        endpoint: "node".into(),
        lifetime_s: 600,
        queue_mode: false,
        default_pmin_s: 0,
        default_pmax_s: 0,
        short_server_id: 1,
        storing: false,
        max_block: 1024,
        stale_after: Some(S(600)),
        seed: 7,
    }
}

fn client(config: ClientConfig, restored: Option<Snapshot>) -> Client {
    let mut client = Client::new(config, Arc::new(Registry::embedded()), restored);
    for (object, instance) in [(3303, 1), (3306, 0), (3412, 0)] {
        client.add_instance(object, instance);
    }
    client.set_static(Path::resource(3, 0, 0), Value::String("maker".into()));
    client
}

fn temperature(value: f64) -> Reading {
    Reading { path: Path::resource(3303, 1, 5700), value: Value::Float(value), at_unix_ms: Some(1) }
}

impl Rig {
    fn new() -> Rig {
        Rig::with(client(config(), None))
    }

    fn with(client: Client) -> Rig {
        let mut rig = Rig {
            client,
            now: S(1),
            sent: Vec::new(),
            events: Vec::new(),
            saves: Vec::new(),
            asked: Vec::new(),
            next_id: 1000,
        };
        rig.client.session_up(rig.now, false, 1024);
        rig.drain();
        rig
    }

    fn registered() -> Rig {
        let mut rig = Rig::new();
        rig.client.apply(rig.now, &[temperature(20.0)]);
        rig.client.alive(rig.now, Some(1_000_000));
        rig.drain();
        rig.accept("5a3f");
        assert!(matches!(rig.client.state(), State::Registered { .. }));
        rig.sent.clear();
        rig.events.clear();
        rig
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Send(bytes) => self.sent.push(Message::decode(&bytes).unwrap()),
                Output::Event(event) => self.events.push(event),
                Output::Save(snapshot) => self.saves.push(snapshot),
                other => self.asked.push(other),
            }
        }
    }

    /// Answers the Register that was sent last.
    fn accept(&mut self, location: &str) {
        let request = self.sent.last().unwrap().clone();
        let mut response = Message::new(Kind::Acknowledgement, Code::CREATED, request.message_id, request.token);
        response.add(option::LOCATION_PATH, b"rd");
        response.add(option::LOCATION_PATH, location.as_bytes());
        self.receive(&response);
    }

    fn respond(&mut self, code: Code) {
        self.respond_with(code, |_| {});
    }

    fn respond_with(&mut self, code: Code, edit: impl FnOnce(&mut Message)) {
        let request = self.sent.last().unwrap().clone();
        let mut response = Message::new(Kind::Acknowledgement, code, request.message_id, request.token);
        edit(&mut response);
        self.receive(&response);
    }

    fn receive(&mut self, message: &Message) {
        self.client.handle_datagram(self.now, Some(1_000_000), &message.encode());
        self.drain();
    }

    /// Lets time pass up to `until`, serving each deadline.
    fn run_to(&mut self, until: Duration) {
        let mut turns = 0;
        while let Some(due) = self.client.deadline().filter(|due| *due <= until) {
            turns += 1;
            assert!(turns < 10_000, "a deadline that never passes: {due:?}");
            self.now = self.now.max(due);
            self.client.tick(self.now, Some(1_000_000 + self.now.as_millis() as u64));
            self.drain();
        }
        self.now = until;
    }

    fn request(&mut self, code: Code, path: &str, edit: impl FnOnce(&mut Message)) -> Message {
        self.next_id += 1;
        let mut message =
            Message::new(Kind::Confirmable, code, self.next_id, Token::new(&self.next_id.to_be_bytes()).unwrap());
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            message.add(option::URI_PATH, segment.as_bytes());
        }
        edit(&mut message);
        message
    }

    /// Sends a request and gives the answer.
    fn ask(&mut self, code: Code, path: &str, edit: impl FnOnce(&mut Message)) -> Message {
        let request = self.request(code, path, edit);
        let before = self.sent.len();
        self.receive(&request);
        let answer = self.sent.get(before).cloned().unwrap_or_else(|| panic!("no answer to {path}"));
        assert_eq!(
            (answer.kind, answer.message_id, answer.token),
            (Kind::Acknowledgement, request.message_id, request.token)
        );
        answer
    }

    fn get(&mut self, path: &str) -> Message {
        self.ask(Code::GET, path, |_| {})
    }

    fn observe(&mut self, path: &str) -> Token {
        let answer = self.ask(Code::GET, path, |message| message.add_uint(option::OBSERVE, 0));
        assert_eq!(answer.code, Code::CONTENT, "{path}");
        assert!(answer.has(option::OBSERVE));
        self.sent.clear();
        answer.token
    }

    fn acknowledge_all(&mut self) {
        for message in std::mem::take(&mut self.sent) {
            if message.kind == Kind::Confirmable {
                self.receive(&Message::empty(Kind::Acknowledgement, message.message_id));
            }
        }
    }

    fn measure(&mut self, value: f64) {
        self.client.apply(self.now, &[temperature(value)]);
        self.drain();
    }
}

fn queries(message: &Message) -> Vec<&str> {
    message.texts(option::URI_QUERY).unwrap()
}

#[test]
fn r1_r3_r4_register_says_who_what_and_how_long() {
    let mut rig = Rig::new();
    rig.client.alive(rig.now, None);
    rig.drain();
    let register = rig.sent.pop().unwrap();
    assert_eq!((register.kind, register.code), (Kind::Confirmable, Code::POST));
    assert_eq!(register.texts(option::URI_PATH).unwrap(), ["rd"]);
    assert_eq!(queries(&register), ["ep=node", "lt=600", "lwm2m=1.1", "b=U"]);
    assert_eq!(register.uint(option::CONTENT_FORMAT), Some(40));
    let list = String::from_utf8(register.payload).unwrap();
    for link in ["</>;rt=\"oma.lwm2m\"", "</1/0>", "</3/0>", "</3303/1>", "</3306/0>", "</1>;ver=1.1"] {
        assert!(list.contains(link), "{link} in {list}");
    }
    assert!(!list.contains("</0") && !list.contains("</21"));
    assert!(register.token.as_bytes().len() >= 4, "C3");
}

#[test]
fn r7_r8_presence_follows_the_node_and_an_update_comes_at_most_each_half_lifetime() {
    let mut rig = Rig::registered();
    for second in [10, 100, 299] {
        rig.run_to(S(second));
        rig.client.alive(rig.now, None);
        rig.drain();
    }
    assert!(rig.sent.is_empty(), "nothing before half of the lifetime");
    rig.run_to(S(305));
    rig.client.alive(rig.now, None);
    rig.drain();
    let update = rig.sent.last().unwrap();
    assert_eq!((update.code, update.texts(option::URI_PATH).unwrap()), (Code::POST, vec!["rd", "5a3f"]));
    assert!(queries(update).is_empty() && update.payload.is_empty(), "only what changed");
    rig.respond(Code::CHANGED);
    assert_eq!(rig.events.last(), Some(&ClientEvent::Updated));
    // The node falls silent: the registration runs out by itself, without a word.
    rig.sent.clear();
    rig.run_to(S(2000));
    assert!(rig.sent.is_empty(), "{:?}", rig.sent);
    assert_eq!((rig.client.state(), rig.events.last()), (State::Idle, Some(&ClientEvent::Lapsed)));
    rig.client.alive(rig.now, None);
    rig.drain();
    assert_eq!(queries(rig.sent.last().unwrap())[0], "ep=node", "its next word registers again");
}

#[test]
fn r9_an_update_that_the_server_does_not_know_registers_again() {
    let mut rig = Rig::registered();
    rig.run_to(S(400));
    rig.client.alive(rig.now, None);
    rig.drain();
    rig.respond(Code::NOT_FOUND);
    assert_eq!(queries(rig.sent.last().unwrap())[0], "ep=node");
    rig.accept("new");
    assert!(matches!(rig.client.state(), State::Registered { location, .. } if location == "/rd/new"));
}

#[test]
fn r10_a_new_session_registers_again_and_r11_a_stop_says_goodbye() {
    let mut rig = Rig::registered();
    rig.client.session_down(rig.now);
    rig.client.session_up(rig.now, true, 1024);
    rig.drain();
    rig.client.alive(rig.now, None);
    rig.drain();
    assert_eq!(queries(rig.sent.last().unwrap())[0], "ep=node");
    rig.accept("x");
    rig.client.deregister(rig.now);
    rig.drain();
    let goodbye = rig.sent.last().unwrap();
    assert_eq!((goodbye.code, goodbye.texts(option::URI_PATH).unwrap()), (Code::DELETE, vec!["rd", "x"]));
    rig.respond(Code::DELETED);
    assert_eq!(rig.client.state(), State::Idle);
}

#[test]
fn r13_a_silent_server_is_tried_again_with_growing_waits_while_the_node_lives() {
    let mut rig = Rig::new();
    let mut starts = Vec::new();
    for minute in 0..60 {
        rig.run_to(S(1 + 60 * minute));
        rig.client.alive(rig.now, None);
        rig.drain();
    }
    let mut before = None;
    for (index, message) in rig.sent.iter().enumerate() {
        if before != Some(message.message_id) {
            starts.push(index);
        }
        before = Some(message.message_id);
    }
    assert!((4..=8).contains(&starts.len()), "{} tries in an hour", starts.len());
    assert!(rig.sent.len() <= 5 * starts.len(), "C2: four repetitions at most");
    let failed =
        |event: &&ClientEvent| matches!(event, ClientEvent::RegistrationFailed { reason: Failure::Timeout, .. });
    assert!(rig.events.iter().filter(failed).count() >= 4);
}

#[test]
fn c2_repetitions_double_and_end_within_93_seconds() {
    let mut rig = Rig::new();
    rig.client.alive(rig.now, None);
    rig.drain();
    let mut times = vec![rig.now];
    while rig.sent.len() < 5 {
        let due = rig.client.deadline().unwrap();
        rig.run_to(due);
        times.push(rig.now);
    }
    let waits: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    assert!((2.0..=3.0).contains(&waits[0]), "{waits:?}");
    for pair in waits.windows(2) {
        assert!((pair[1] / pair[0] - 2.0).abs() < 1e-6, "{waits:?}");
    }
    rig.run_to(rig.now + S(50));
    assert_eq!(rig.sent.len(), 5);
    assert!(matches!(rig.events.last(), Some(ClientEvent::RegistrationFailed { reason: Failure::Timeout, .. })));
}

#[test]
fn d1_d2_reads_have_their_codes() {
    let mut rig = Rig::registered();
    for (path, code) in [
        ("/0/0", Code::UNAUTHORIZED),
        ("/0", Code::UNAUTHORIZED),
        ("/21/0", Code::UNAUTHORIZED),
        ("/3303/1/5700", Code::CONTENT),
        ("/3303/1", Code::CONTENT),
        ("/3303", Code::CONTENT),
        ("/3303/2", Code::NOT_FOUND),
        ("/3303/1/9999", Code::NOT_FOUND),
        ("/9", Code::NOT_FOUND),
        ("/3306/0/5850", Code::NOT_FOUND),
        ("/1/0/8", Code::METHOD_NOT_ALLOWED),
        ("/x", Code::NOT_FOUND),
        ("/", Code::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(rig.get(path).code, code, "{path}");
    }
    let text = rig.get("/3303/1/5700");
    assert_eq!((text.uint(option::CONTENT_FORMAT), text.payload.as_slice()), (Some(0), &b"20"[..]));
    let refused = rig.ask(Code::GET, "/3303/1", |message| message.add_uint(option::ACCEPT, 0));
    assert_eq!(refused.code, Code::NOT_ACCEPTABLE, "text carries one value only");
    let unknown = rig.ask(Code::GET, "/3303/1", |message| message.add_uint(option::ACCEPT, 9999));
    assert_eq!(unknown.code, Code::NOT_ACCEPTABLE);
}

#[test]
fn a_value_has_an_age() {
    let mut rig = Rig::registered();
    assert_eq!(rig.get("/3303/1/5700").code, Code::CONTENT);
    rig.run_to(rig.now + S(601));
    assert_eq!(rig.get("/3303/1/5700").code, Code::UNAVAILABLE, "stale");
    assert_eq!(rig.get("/3/0/0").code, Code::CONTENT, "static values do not age");
    let instance = rig.ask(Code::GET, "/3303/1", |message| message.add_uint(option::ACCEPT, 110));
    assert_eq!(instance.payload, b"[]", "larger reads leave stale values out");
}

#[test]
fn d5_d6_d16_writes_are_checked_then_asked_and_answered_in_the_acknowledgement() {
    let mut rig = Rig::registered();
    let before = rig.sent.len();
    let write = rig.request(Code::PUT, "/3306/0/5850", |message| message.payload = b"1".to_vec());
    rig.receive(&write);
    let Some(Output::Write { exchange, writes, replace: true }) = rig.asked.pop() else { panic!("not asked") };
    assert_eq!(writes, [(Path::resource(3306, 0, 5850), Value::Boolean(true))]);
    assert_eq!(rig.sent.len(), before, "nothing is answered yet");
    rig.client.answer(rig.now, exchange, Answer::Changed);
    rig.drain();
    let answer = rig.sent.last().unwrap();
    assert_eq!((answer.kind, answer.message_id, answer.code), (Kind::Acknowledgement, write.message_id, Code::CHANGED));
    // C1: the same message again is not asked again, and answered the same.
    rig.receive(&write);
    assert!(rig.asked.is_empty());
    assert_eq!(rig.sent[rig.sent.len() - 1], rig.sent[rig.sent.len() - 2]);

    for (code, path, payload, format, wanted) in [
        (Code::PUT, "/3303/1/5700", &b"1"[..], None, Code::METHOD_NOT_ALLOWED),
        (Code::PUT, "/3306/0/5850", b"2", None, Code::BAD_REQUEST),
        (Code::PUT, "/3306/0/5850", b"1", Some(9999), Code::UNSUPPORTED_FORMAT),
        (Code::PUT, "/3306/0/5850", b"{", Some(110), Code::BAD_REQUEST),
        (Code::PUT, "/3306/1/5850", b"1", None, Code::NOT_FOUND),
        (Code::PUT, "/3306", b"1", None, Code::METHOD_NOT_ALLOWED),
        (Code::POST, "/3306", b"", Some(11542), Code::METHOD_NOT_ALLOWED),
        (Code::DELETE, "/3306/0", b"", None, Code::METHOD_NOT_ALLOWED),
        (Code::PUT, "/1/0/0", b"7", None, Code::METHOD_NOT_ALLOWED),
        (Code(0x05), "/", b"", None, Code::METHOD_NOT_ALLOWED),
    ] {
        let answer = rig.ask(code, path, |message| {
            message.payload = payload.to_vec();
            if let Some(format) = format {
                message.add_uint(option::CONTENT_FORMAT, format);
            }
        });
        assert_eq!(answer.code, wanted, "{code} {path}");
    }
    assert!(rig.asked.is_empty(), "nothing refused reached the caller");
}

#[test]
fn d4_a_replacement_that_would_unset_a_value_of_the_node_is_refused() {
    let mut rig = Rig::registered();
    let dimmer = Reading { path: Path::resource(3306, 0, 5851), value: Value::Integer(50), at_unix_ms: None };
    rig.client.apply(rig.now, &[dimmer]);
    rig.drain();
    let payload = b"[{\"bn\":\"/3306/0/\",\"n\":\"5850\",\"vb\":true}]";
    let with_format = |message: &mut Message| {
        message.add_uint(option::CONTENT_FORMAT, 110);
        message.payload = payload.to_vec();
    };
    assert_eq!(rig.ask(Code::PUT, "/3306/0", with_format).code, Code::METHOD_NOT_ALLOWED);
    assert!(rig.asked.is_empty());
}

#[test]
fn r15_disable_survives_a_restart_and_a_new_configured_lifetime_wins_over_the_stored_one() {
    let mut rig = Rig::registered();
    assert_eq!(rig.ask(Code::PUT, "/1/0/5", |message| message.payload = b"1000".to_vec()).code, Code::CHANGED);
    assert_eq!(rig.ask(Code::POST, "/1/0/4", |_| {}).code, Code::CHANGED);
    assert_eq!(rig.sent.last().unwrap().code, Code::DELETE);
    rig.respond(Code::DELETED);
    assert!(matches!(rig.client.state(), State::Disabled { .. }));
    let snapshot = rig.saves.pop().unwrap();
    let mut again = Rig::with(client(config(), Some(snapshot.clone())));
    again.client.alive(again.now, Some(1_000_000));
    again.drain();
    assert!(again.sent.is_empty() && matches!(again.client.state(), State::Disabled { .. }));
    let longer = ClientConfig { lifetime_s: 1200, ..config() };
    assert_eq!(client(longer, Some(snapshot)).lifetime_s(), 1200);
}

#[test]
fn d16_a_late_answer_is_acknowledged_first_and_comes_as_a_separate_response() {
    let mut rig = Rig::registered();
    let write = rig.request(Code::PUT, "/3306/0/5850", |message| message.payload = b"1".to_vec());
    rig.receive(&write);
    let Some(Output::Write { exchange, .. }) = rig.asked.pop() else { panic!("not asked") };
    rig.run_to(rig.now + S(1));
    let empty = rig.sent.last().unwrap();
    assert_eq!((empty.kind, empty.code, empty.message_id), (Kind::Acknowledgement, Code::EMPTY, write.message_id));
    rig.client.answer(rig.now, exchange, Answer::Unavailable { max_age_s: 60 });
    rig.drain();
    let separate = rig.sent.last().unwrap().clone();
    assert_eq!((separate.kind, separate.code, separate.token), (Kind::Confirmable, Code::UNAVAILABLE, write.token));
    assert_eq!(separate.uint(option::MAX_AGE), Some(60));
    rig.receive(&Message::empty(Kind::Acknowledgement, separate.message_id));
    rig.sent.clear();
    rig.run_to(rig.now + S(100));
    assert!(rig.sent.is_empty(), "acknowledged: not repeated");
}

#[test]
fn d7_execute_and_the_servers_own_object() {
    let mut rig = Rig::registered();
    assert_eq!(rig.ask(Code::POST, "/1/0/8", |_| {}).code, Code::CHANGED);
    let update = rig.sent.last().unwrap();
    assert_eq!(update.texts(option::URI_PATH).unwrap(), ["rd", "5a3f"], "the trigger leads to an Update");
    rig.respond(Code::CHANGED);
    let lifetime = rig.ask(Code::PUT, "/1/0/1", |message| message.payload = b"1200".to_vec());
    assert_eq!(lifetime.code, Code::CHANGED);
    assert_eq!(queries(rig.sent.last().unwrap()), ["lt=1200"]);
    rig.respond(Code::CHANGED);
    assert_eq!(rig.get("/1/0/1").payload, b"1200");
    assert_eq!(rig.ask(Code::POST, "/3303/1/5700", |_| {}).code, Code::METHOD_NOT_ALLOWED);
    let bad = rig.ask(Code::POST, "/3303/1/5605", |message| message.payload = b"0='".to_vec());
    assert_eq!(bad.code, Code::BAD_REQUEST);
    let reset = rig.request(Code::POST, "/3303/1/5605", |_| {});
    rig.receive(&reset);
    assert!(matches!(rig.asked.pop(), Some(Output::Execute { path, .. }) if path == Path::resource(3303, 1, 5605)));
}

#[test]
fn i1_i5_i9_a_change_notifies_once_first_confirmable_then_not() {
    let mut rig = Rig::registered();
    let token = rig.observe("/3303/1/5700");
    rig.measure(20.0);
    assert!(rig.sent.is_empty(), "the same value is no change");
    rig.measure(21.5);
    let first = rig.sent.pop().unwrap();
    assert_eq!(
        (first.kind, first.code, first.token, first.payload.as_slice()),
        (Kind::Confirmable, Code::CONTENT, token, &b"21.5"[..])
    );
    rig.receive(&Message::empty(Kind::Acknowledgement, first.message_id));
    rig.measure(22.0);
    let second = rig.sent.pop().unwrap();
    assert_eq!(second.kind, Kind::NonConfirmable);
    assert!(second.uint(option::OBSERVE) > first.uint(option::OBSERVE));
    rig.run_to(rig.now + S(25 * 3600));
    rig.client.alive(rig.now, None);
    rig.drain();
    rig.accept("y");
    rig.measure(22.5);
    rig.observe("/3303/1/5700");
    rig.measure(23.0);
    assert_eq!(rig.sent.pop().unwrap().kind, Kind::Confirmable);
}

#[test]
fn i3_pmin_merges_and_pmax_repeats() {
    let mut rig = Rig::registered();
    assert_eq!(
        rig.ask(Code::PUT, "/3303/1/5700", |m| {
            m.add(option::URI_QUERY, b"pmin=10");
            m.add(option::URI_QUERY, b"pmax=60");
        })
        .code,
        Code::CHANGED
    );
    rig.observe("/3303/1/5700");
    let start = rig.now;
    for (second, value) in [(1, 21.0), (2, 22.0), (3, 23.0)] {
        rig.run_to(start + S(second));
        rig.measure(value);
    }
    assert!(rig.sent.is_empty());
    rig.run_to(start + S(9));
    assert!(rig.sent.is_empty());
    rig.run_to(start + S(10));
    assert_eq!(rig.sent.iter().map(|m| m.payload.clone()).collect::<Vec<_>>(), [b"23"], "one, the newest");
    rig.acknowledge_all();
    rig.run_to(start + S(69));
    assert!(rig.sent.is_empty());
    rig.run_to(start + S(70));
    assert_eq!(rig.sent.len(), 1, "unchanged, but pmax is over");
    // D12: nonsense is refused and changes nothing.
    for query in ["pmin=x", "pmin=-1", "foo=1", "st=-1"] {
        assert_eq!(
            rig.ask(Code::PUT, "/3303/1/5700", |m| m.add(option::URI_QUERY, query.as_bytes())).code,
            Code::BAD_REQUEST,
            "{query}"
        );
    }
    let discover = rig.ask(Code::GET, "/3303/1/5700", |m| m.add_uint(option::ACCEPT, 40));
    assert_eq!(discover.payload, b"</3303/1/5700>;pmin=10;pmax=60");
}

#[test]
fn i4_thresholds_notify_on_crossing_and_step() {
    let mut rig = Rig::registered();
    for query in ["gt=30", "st=5"] {
        assert_eq!(
            rig.ask(Code::PUT, "/3303/1/5700", |m| m.add(option::URI_QUERY, query.as_bytes())).code,
            Code::CHANGED
        );
    }
    rig.observe("/3303/1/5700");
    let mut notified = Vec::new();
    for value in [22.0, 24.0, 25.5, 29.0, 31.0, 32.0, 28.0] {
        rig.measure(value);
        notified.extend(rig.sent.iter().map(|m| String::from_utf8(m.payload.clone()).unwrap()));
        rig.acknowledge_all();
        rig.now += S(1);
    }
    assert_eq!(notified, ["25.5", "31", "28"]);
}

#[test]
fn i10_both_ways_to_cancel() {
    let mut rig = Rig::registered();
    rig.observe("/3303/1/5700");
    rig.measure(21.0);
    let notification = rig.sent.pop().unwrap();
    rig.receive(&Message::empty(Kind::Reset, notification.message_id));
    rig.measure(22.0);
    assert!(rig.sent.is_empty(), "a reset ends it");
    let token = rig.observe("/3303/1/5700");
    rig.measure(22.5);
    rig.acknowledge_all();
    rig.measure(23.0);
    let unconfirmed = rig.sent.pop().unwrap();
    assert_eq!(unconfirmed.kind, Kind::NonConfirmable);
    rig.receive(&Message::empty(Kind::Reset, unconfirmed.message_id));
    rig.measure(24.0);
    assert!(rig.sent.is_empty(), "also to a non-confirmable notification");
    rig.observe("/3303/1/5700");
    let answer = rig.ask(Code::GET, "/3303/1/5700", |m| {
        m.token = Token::new(&[9]).unwrap();
        m.add_uint(option::OBSERVE, 1);
    });
    assert_eq!(answer.code, Code::CONTENT, "an unknown token is harmless");
    assert!(matches!(rig.client.state(), State::Registered { observations: 1, .. }));
    let _ = token;
}

#[test]
fn i9_a_server_that_does_not_acknowledge_is_asked_by_an_update_before_more_is_sent() {
    let mut rig = Rig::registered();
    rig.observe("/3303/1/5700");
    rig.measure(21.0);
    rig.run_to(rig.now + S(100));
    assert_eq!(rig.sent.len(), 5, "one and four repetitions");
    rig.sent.clear();
    rig.measure(22.0);
    assert!(rig.sent.is_empty(), "held");
    rig.client.alive(rig.now, None);
    rig.drain();
    assert_eq!(rig.sent.last().unwrap().texts(option::URI_PATH).unwrap(), ["rd", "5a3f"]);
    rig.respond(Code::CHANGED);
    assert_eq!(rig.sent.last().unwrap().payload, b"22", "then the newest value");
}

#[test]
fn s_34_registration_observations_and_sequence_survive_a_restart() {
    let mut rig = Rig::registered();
    let token = rig.observe("/3303/1/5700");
    rig.measure(21.0);
    let before = rig.sent.pop().unwrap().uint(option::OBSERVE).unwrap();
    let snapshot = rig.saves.pop().unwrap();
    let json = serde_json::to_string(&snapshot).unwrap();
    let mut rig = Rig::with(client(config(), Some(serde_json::from_str(&json).unwrap())));
    rig.measure(25.0);
    assert!(rig.sent.is_empty(), "a restart does not speak for a silent node");
    rig.client.alive(rig.now, Some(1_000_000));
    rig.drain();
    assert_eq!(rig.sent.pop().unwrap().texts(option::URI_PATH).unwrap(), ["rd", "5a3f"], "Update at the old location");
    rig.respond_to_update();
    let notification = rig.sent.last().unwrap();
    assert_eq!((notification.token, notification.payload.as_slice()), (token, &b"25"[..]));
    assert!(notification.uint(option::OBSERVE).unwrap() > before);
}

impl Rig {
    /// Answers an Update that was taken off the list of what was sent.
    fn respond_to_update(&mut self) {
        let token = self.client.reliable.bytes().map(|bytes| Message::decode(bytes).unwrap()).unwrap();
        self.receive(&Message::new(Kind::Acknowledgement, Code::CHANGED, token.message_id, token.token));
    }
}

#[test]
fn c4_c5_c6_options_pings_and_blocks() {
    let mut rig = Rig::registered();
    let bad = rig.ask(Code::GET, "/3303/1/5700", |message| message.add(9, b"x"));
    assert_eq!(bad.code, Code::BAD_OPTION);
    let ping = Message::empty(Kind::Confirmable, 77);
    rig.receive(&ping);
    assert_eq!((rig.sent.last().unwrap().kind, rig.sent.last().unwrap().message_id), (Kind::Reset, 77));
    let stray = Message::new(Kind::Confirmable, Code::CONTENT, 78, Token::new(b"zz").unwrap());
    rig.receive(&stray);
    assert_eq!(rig.sent.last().unwrap().kind, Kind::Reset);

    // Block2 with a small size that the server asks for: the pieces make up the whole.
    let whole = rig.ask(Code::GET, "/3", |message| message.add_uint(option::ACCEPT, 110));
    let mut pieces = Vec::new();
    for number in 0.. {
        let part = rig.ask(Code::GET, "/3", |message| {
            message.add_uint(option::ACCEPT, 110);
            message.add_uint(option::BLOCK2, number << 4 | 1);
        });
        assert_eq!(part.code, Code::CONTENT);
        pieces.extend_from_slice(&part.payload);
        if part.uint(option::BLOCK2).unwrap() & 8 == 0 {
            break;
        }
        assert_eq!(part.payload.len(), 32);
    }
    assert_eq!(pieces, whole.payload);
    let beyond = rig.ask(Code::GET, "/3", |message| message.add_uint(option::BLOCK2, 500 << 4 | 1));
    assert_eq!(beyond.code, Code::BAD_REQUEST);
}

#[test]
fn c7_a_write_in_blocks_is_put_together_and_a_gap_is_refused() {
    let mut rig = Rig::registered();
    let body = b"[{\"bn\":\"/3306/0/\",\"n\":\"5850\",\"vb\":true}]";
    let mut codes = Vec::new();
    for (number, part) in body.chunks(16).enumerate() {
        let more = (number + 1) * 16 < body.len();
        let request = rig.request(Code::POST, "/3306/0", |message| {
            message.add_uint(option::CONTENT_FORMAT, u32::from(ContentFormat::SenmlJson.number()));
            message.add_uint(option::BLOCK1, (number as u32) << 4 | u32::from(more) << 3);
            message.payload = part.to_vec();
        });
        rig.receive(&request);
        if more {
            codes.push(rig.sent.last().unwrap().code);
        }
    }
    assert!(codes.iter().all(|code| *code == Code::CONTINUE), "{codes:?}");
    let Some(Output::Write { exchange, replace: false, .. }) = rig.asked.pop() else { panic!("not asked") };
    rig.client.answer(rig.now, exchange, Answer::Changed);
    rig.drain();
    assert!(rig.sent.last().unwrap().has(option::BLOCK1));
    let gap = rig.ask(Code::POST, "/3306/0", |message| message.add_uint(option::BLOCK1, 3 << 4));
    assert_eq!(gap.code, Code::INCOMPLETE);
}

/// RFC 7959 §2.3, as a reading that no single message holds needs it.
#[test]
fn a_send_that_is_too_large_goes_in_blocks_and_the_server_may_want_smaller_ones() {
    let mut rig = Rig::registered();
    rig.client.config.max_block = 64;
    let raw = Reading {
        path: Path { object: 19, instance: Some(1), resource: Some(0), resource_instance: Some(0) },
        value: Value::Opaque((0..=199).collect()),
        at_unix_ms: Some(1_700_000_000_000),
    };
    assert_eq!(rig.client.send_readings(rig.now, &[raw.clone(), raw.clone()]), Sending::Started(1));
    rig.drain();
    let (mut body, mut tokens) = (Vec::new(), Vec::new());
    for round in 0.. {
        let sent = rig.sent.last().unwrap().clone();
        assert_eq!((sent.code, sent.texts(option::URI_PATH).unwrap()), (Code::POST, vec!["dp"]));
        let mut block = Block::decode(sent.uint(option::BLOCK1).unwrap()).unwrap();
        if round == 0 {
            assert_eq!(block, Block { number: 0, more: true, size_exponent: 2 });
            block.size_exponent = 1;
            rig.respond_with(Code::TOO_LARGE, |message| message.add_uint(option::BLOCK1, block.encode()));
            continue;
        }
        assert_eq!((block.offset(), block.size()), (body.len(), 32));
        assert!(!tokens.contains(&sent.token));
        tokens.push(sent.token);
        body.extend_from_slice(&sent.payload);
        let code = if block.more { Code::CONTINUE } else { Code::CHANGED };
        rig.respond_with(code, |message| message.add_uint(option::BLOCK1, block.encode()));
        if !block.more {
            break;
        }
    }
    assert_eq!(rig.asked.pop(), Some(Output::Sent(SendOutcome::Delivered)));
    assert!(body.windows(200).any(|window| window.iter().copied().eq(0..=199)), "{body:?}");

    assert_eq!(rig.client.send_readings(rig.now, &[temperature(1.0)]), Sending::Started(1));
    rig.drain();
    assert!(!rig.sent.last().unwrap().has(option::BLOCK1));
    rig.respond(Code::BAD_OPTION);
    assert_eq!(rig.asked.pop(), Some(Output::Sent(SendOutcome::Refused(Failure::Code(Code::BAD_OPTION)))));

    // A server without blocks does not take it, and that is no reason to hold back the next one.
    assert_eq!(rig.client.send_readings(rig.now, &[raw]), Sending::Started(1));
    rig.drain();
    rig.respond(Code::BAD_OPTION);
    assert_eq!(rig.asked.pop(), Some(Output::Sent(SendOutcome::TooLarge)));
}

proptest::proptest! {
    /// Whatever comes, the client neither panics nor grows: its tables keep their bounds.
    #[test]
    fn any_datagrams_leave_the_client_whole(
        datagrams in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), 0..40),
        mutate in proptest::prelude::any::<u64>(),
    ) {
        let mut rig = Rig::registered();
        let seed = rig.request(Code::GET, "/3303/1/5700", |message| message.add_uint(option::OBSERVE, 0)).encode();
        let mut rng = Rng::new(mutate);
        for bytes in datagrams {
            let mut near = seed.clone();
            let at = (rng.next_u64() as usize) % near.len();
            near[at] = rng.next_u64() as u8;
            rig.client.handle_datagram(rig.now, None, &bytes);
            rig.client.handle_datagram(rig.now, None, &near);
            while rig.client.poll().is_some() {}
            rig.now += Duration::from_millis(300);
            rig.client.tick(rig.now, None);
        }
        proptest::prop_assert!(rig.client.observations.len() <= 32);
        proptest::prop_assert!(rig.client.exchanges.len() <= 8);
    }
}

/// D15: full paths with times, one confirmable POST at a time, as much as fits; then what comes of each answer.
#[test]
fn d15_send_carries_times_and_full_paths_and_its_answers_are_told_apart() {
    let mut rig = Rig::registered();
    let at = |value: f64, at: u64| Reading { at_unix_ms: Some(at), ..temperature(value) };
    let unknown = Reading { path: Path::resource(9999, 0, 0), ..temperature(0.0) };
    let readings = [unknown.clone(), at(1.5, 1_700_000_000_000), at(2.5, 1_700_000_060_500)];
    assert_eq!(rig.client.send_readings(rig.now, &[unknown]), Sending::Skipped(1));
    assert_eq!(rig.client.send_readings(rig.now, &readings), Sending::Skipped(1));
    let readings = &readings[1..];
    assert_eq!(rig.client.send_readings(rig.now, readings), Sending::Started(2));
    assert_eq!(rig.client.send_readings(rig.now, readings), Sending::NotNow, "one at a time");
    rig.drain();
    let sent = rig.sent.last().unwrap().clone();
    assert_eq!((sent.kind, sent.code), (Kind::Confirmable, Code::POST));
    assert_eq!(sent.texts(option::URI_PATH).unwrap(), ["dp"]);
    assert_eq!(sent.uint(option::CONTENT_FORMAT), Some(112));
    // [{0: "/3303/1/5700", 6: 1700000000.0, 2: 1.5}, ...] by RFC 8428 §6.
    assert_eq!(sent.payload[..4], [0x82, 0xa3, 0x00, 0x6c]);
    assert_eq!(&sent.payload[4..16], b"/3303/1/5700");
    rig.respond(Code::UNSUPPORTED_FORMAT);
    assert_eq!(rig.asked.pop(), Some(Output::Sent(SendOutcome::Lost)));
    assert_eq!(rig.client.send_readings(rig.now, readings), Sending::Started(2));
    rig.drain();
    let json: serde_json::Value = serde_json::from_slice(&rig.sent.last().unwrap().payload).unwrap();
    assert_eq!(
        json,
        serde_json::json!([
            {"n": "/3303/1/5700", "t": 1_700_000_000.0, "v": 1.5},
            {"n": "/3303/1/5700", "t": 1_700_000_060.5, "v": 2.5},
        ])
    );
    rig.respond(Code::CHANGED);
    assert_eq!(rig.asked.pop(), Some(Output::Sent(SendOutcome::Delivered)));
    for (code, outcome) in [
        (Code::METHOD_NOT_ALLOWED, SendOutcome::Refused(Failure::Code(Code::METHOD_NOT_ALLOWED))),
        (Code::UNAVAILABLE, SendOutcome::Lost),
    ] {
        assert_eq!(rig.client.send_readings(rig.now, readings), Sending::Started(2));
        rig.drain();
        rig.respond(code);
        assert_eq!(rig.asked.pop(), Some(Output::Sent(outcome)));
    }
    assert!(!rig.client.is_caught_up(), "after 5.03 an Update comes first");
    assert_eq!(rig.client.send_readings(rig.now, readings), Sending::NotNow);
}

/// D15: nothing is larger than a block; what does not fit waits for the next one.
#[test]
fn d15_a_send_holds_what_fits_in_one_message() {
    let mut rig = Rig::registered();
    let at = |n: u64| Reading { at_unix_ms: Some(1_700_000_000_000 + 1000 * n), ..temperature(n as f64 + 0.1) };
    let many: Vec<Reading> = (0..100).map(at).collect();
    let Sending::Started(taken) = rig.client.send_readings(rig.now, &many) else { panic!() };
    rig.drain();
    let payload = rig.sent.last().unwrap().payload.len();
    assert!((20..=64).contains(&taken) && (900..=1024).contains(&payload), "{taken} readings in {payload} B");
}

/// D15: of two values of one resource without times a server would keep one.
#[test]
fn d15_values_that_time_does_not_tell_apart_go_in_messages_of_their_own() {
    let mut rig = Rig::registered();
    let dated = Reading { at_unix_ms: Some(1_700_000_000_000), ..temperature(3.0) };
    let readings = [temperature(1.0), dated.clone(), temperature(2.0), dated];
    assert_eq!(rig.client.send_readings(rig.now, &readings), Sending::Started(2));
    rig.drain();
    rig.respond(Code::CHANGED);
    assert_eq!(rig.client.send_readings(rig.now, &readings[2..]), Sending::Started(2));
}

/// D15: no Send before registration, none while it is muted, and a lost one is reported after 93 s at most.
#[test]
fn d15_mute_send_and_silence() {
    let mut rig = Rig::new();
    assert_eq!(rig.client.send_readings(rig.now, &[temperature(1.0)]), Sending::NotNow);
    let mut rig = Rig::registered();
    assert_eq!(rig.get("/1/0/23").payload, b"0");
    assert_eq!(rig.ask(Code::PUT, "/1/0/23", |message| message.payload = b"1".to_vec()).code, Code::CHANGED);
    assert!(rig.client.is_muted() && rig.saves.last().unwrap().mute_send);
    assert_eq!(rig.client.send_readings(rig.now, &[temperature(1.0)]), Sending::NotNow);
    assert_eq!(rig.ask(Code::PUT, "/1/0/23", |message| message.payload = b"0".to_vec()).code, Code::CHANGED);
    assert_eq!(rig.client.send_readings(rig.now, &[temperature(1.0)]), Sending::Started(1));
    rig.drain();
    rig.run_to(rig.now + S(93));
    assert_eq!(rig.asked.pop(), Some(Output::Sent(SendOutcome::Lost)));
    assert!(!rig.client.is_caught_up());
    rig.client.session_down(rig.now);
    assert!(!rig.client.is_caught_up());
}

/// `/1/0/6`: with a backlog every notification is confirmable.
#[test]
fn i9_notifications_are_confirmable_where_nothing_may_be_lost() {
    let mut rig = Rig::with(client(ClientConfig { storing: true, ..config() }, None));
    rig.client.apply(rig.now, &[temperature(20.0)]);
    rig.client.alive(rig.now, Some(1_000_000));
    rig.drain();
    rig.accept("5a3f");
    rig.ask(Code::GET, "/3303/1/5700", |message| message.add_uint(option::OBSERVE, 0));
    for n in 0..3 {
        rig.now += S(10);
        rig.client.apply(rig.now, &[temperature(21.0 + f64::from(n))]);
        rig.drain();
        let told = rig.sent.last().unwrap().clone();
        assert_eq!((told.kind, told.code), (Kind::Confirmable, Code::CONTENT));
        assert!(!rig.client.is_caught_up());
        rig.receive(&Message::empty(Kind::Acknowledgement, told.message_id));
        assert!(rig.client.is_caught_up());
    }
}
