//! What a server sends to a registered client: a sequence of steps.
//!
//! A step is a byte, a length of two bytes and as many bytes: a datagram as it is, or one that answers what the client sent
//! last; or the caller's answer, readings, an end of the session, time.
use lpwad_lwm2m::coap::message::{Code, Kind, Message, option};
use lpwad_lwm2m::{Answer, Client, ClientConfig, ExchangeId, Output, Path, Reading, Registry, Sending, State, Value};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| Arc::new(Registry::embedded()));

const START_UNIX_MS: u64 = 1_700_000_000_000;

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    let mut rig = Rig::registered();
    let mut rest = data;
    while let [step, high, low, behind @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (bytes, behind) = behind.split_at(behind.len().min(len));
        rig.step(*step, bytes);
        rest = behind;
    }
    // Whatever came: time alone must end what is under way.
    rig.pass(Duration::from_secs(3600));
}

struct Rig {
    client: Client,
    now: Duration,
    last: Option<Message>,
    asked: Vec<ExchangeId>,
}

impl Rig {
    fn registered() -> Rig {
        let config = ClientConfig {
            endpoint: "node".into(),
            lifetime_s: 600,
            queue_mode: false,
            default_pmin_s: 0,
            default_pmax_s: 0,
            short_server_id: 1,
            storing: false,
            max_block: 64,
            stale_after: Some(Duration::from_secs(600)),
            seed: 7,
        };
        let mut client = Client::new(config, REGISTRY.clone(), None);
        for (object, instance) in [(3303, 1), (3306, 0), (3412, 0)] {
            client.add_instance(object, instance);
        }
        client.add_resource(Path::resource(3, 0, 4));
        client.set_static(Path::resource(3, 0, 0), Value::String("maker".repeat(40)));
        let mut rig = Rig { client, now: Duration::from_secs(1), last: None, asked: Vec::new() };
        rig.client.session_up(rig.now, false, 1024);
        rig.measure(20.0);
        rig.client.alive(rig.now, rig.wall());
        rig.drain();
        let request = rig.last.clone().expect("a Register");
        let mut response = Message::new(Kind::Acknowledgement, Code::CREATED, request.message_id, request.token);
        response.add(option::LOCATION_PATH, b"rd");
        response.add(option::LOCATION_PATH, b"5a3f");
        rig.receive(&response.encode());
        assert!(matches!(rig.client.state(), State::Registered { .. }));
        rig
    }

    fn wall(&self) -> Option<u64> {
        Some(START_UNIX_MS + self.now.as_millis() as u64)
    }

    fn step(&mut self, step: u8, bytes: &[u8]) {
        let number = bytes.first().copied().unwrap_or(0);
        match step & 7 {
            0 => self.receive(bytes),
            // Acknowledges or resets the last message of the client, or answers it with code, options and payload.
            1 => {
                let Some(last) = self.last.clone() else { return };
                let kind = if step & 8 == 0 { Kind::Acknowledgement } else { Kind::Reset };
                self.receive(&Message::empty(kind, last.message_id).encode());
            }
            2 => {
                let Some(last) = self.last.clone() else { return };
                let mut answer =
                    Message::new(Kind::Acknowledgement, Code(number), last.message_id, last.token).encode();
                answer.extend(bytes.iter().skip(1));
                self.receive(&answer);
            }
            3 => {
                let answers = [
                    Answer::Changed,
                    Answer::BadRequest,
                    Answer::NotFound,
                    Answer::NotAllowed,
                    Answer::InternalError,
                    Answer::Unavailable { max_age_s: 60 },
                ];
                if let Some(exchange) = self.asked.pop() {
                    self.client.answer(self.now, exchange, answers[usize::from(number) % answers.len()]);
                    self.drain();
                }
            }
            // What was missed, or something new.
            4 if step & 8 != 0 => {
                let reading = self.temperature(f64::from(number) / 4.0);
                let all = vec![reading; usize::from(number)];
                if let Sending::Started(taken) | Sending::Skipped(taken) = self.client.send_readings(self.now, &all) {
                    assert!((1..=all.len()).contains(&taken));
                }
                self.drain();
            }
            4 => {
                self.measure(f64::from(number) / 4.0);
                self.client.alive(self.now, self.wall());
                self.drain();
            }
            5 => self.pass(Duration::from_millis(u64::from(number) * 500)),
            6 => {
                self.client.session_down(self.now);
                self.drain();
                self.client.session_up(self.now, number & 1 == 1, 16 << (number >> 5));
                self.drain();
            }
            _ => {
                self.client.deregister(self.now);
                self.drain();
            }
        }
    }

    fn measure(&mut self, value: f64) {
        self.client.apply(self.now, &[self.temperature(value)]);
        self.drain();
    }

    fn temperature(&self, value: f64) -> Reading {
        Reading { path: Path::resource(3303, 1, 5700), value: Value::Float(value), at_unix_ms: self.wall() }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.client.handle_datagram(self.now, self.wall(), bytes);
        self.drain();
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut turns = 0;
        while let Some(due) = self.client.deadline().filter(|due| *due <= until) {
            turns += 1;
            assert!(turns < 100_000, "a deadline that never passes: {due:?}");
            self.now = self.now.max(due);
            self.client.tick(self.now, self.wall());
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Send(bytes) => {
                    assert!(bytes.len() <= 1500, "{} bytes in one datagram", bytes.len());
                    self.last = Some(Message::decode(&bytes).expect("what is sent is CoAP"));
                }
                Output::Write { exchange, .. } | Output::Execute { exchange, .. } => self.asked.push(exchange),
                Output::Save(snapshot) => {
                    assert!(snapshot.observations.len() <= 32 && snapshot.attributes.len() <= 32);
                }
                Output::Sent(_) | Output::Event(_) => {}
            }
        }
        assert_eq!(self.client.counters().outputs_dropped, 0);
    }
}
