//! Names of servers to addresses, by the name service of this host, off the loop. One question for a name at a time, whoever
//! asks; an answer holds for a minute.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How long an answer holds.
const ANSWER_LIFETIME: Duration = Duration::from_secs(60);
/// How long the name service has.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A name and a port.
pub type Name = (String, u16);

/// An answer.
pub struct Resolved {
    /// The question.
    pub name: Name,
    /// Addresses, at least one; or why there is none, for people.
    pub addresses: Result<Vec<SocketAddr>, String>,
}

/// Names that were asked for.
pub struct Resolver {
    answers: Sender<Resolved>,
    known: BTreeMap<Name, State>,
}

enum State {
    Asked,
    Known(Vec<SocketAddr>, Duration),
}

impl Resolver {
    /// Answers go to `answers`.
    pub fn new(answers: Sender<Resolved>) -> Resolver {
        Resolver { answers, known: BTreeMap::new() }
    }

    /// The addresses of a name, if they are known; else the question is asked, and [`Resolved`] follows.
    #[expect(clippy::disallowed_methods, reason = "src/io is where tasks are started")]
    pub fn ask(&mut self, now: Duration, name: &Name) -> Option<Vec<SocketAddr>> {
        match self.known.get(name) {
            Some(State::Known(addresses, until)) if *until > now => return Some(addresses.clone()),
            Some(State::Asked) => return None,
            Some(State::Known(..)) | None => {}
        }
        self.known.insert(name.clone(), State::Asked);
        let (name, answers) = (name.clone(), self.answers.clone());
        tokio::spawn(async move {
            let asked = tokio::time::timeout(ANSWER_TIMEOUT, tokio::net::lookup_host(name.clone())).await;
            let addresses = match asked {
                Ok(Ok(found)) => match found.collect::<Vec<_>>() {
                    found if found.is_empty() => Err(format!("{} has no address", name.0)),
                    found => Ok(found),
                },
                Ok(Err(error)) => Err(format!("{}: {error}", name.0)),
                Err(_) => Err(format!("{}: the name service does not answer", name.0)),
            };
            // The loop has ended.
            drop(answers.send(Resolved { name, addresses }).await);
        });
        None
    }

    /// Keeps an answer for those who ask next.
    pub fn keep(&mut self, now: Duration, resolved: &Resolved) {
        match &resolved.addresses {
            Ok(addresses) => {
                let state = State::Known(addresses.clone(), now + ANSWER_LIFETIME);
                self.known.insert(resolved.name.clone(), state);
            }
            Err(_) => _ = self.known.remove(&resolved.name),
        }
    }
}
