//! The thread that looks at this host again and again: a look reads `/proc` and files, and the loop must not wait for it.

use super::Look;
use crate::gateway::event::Event;
use crate::gateway::input::Input;
use crate::io::Clock;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How often this host is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// New directories that may wait for the thread.
const WAITING: usize = 4;

/// The thread; it ends when this is dropped, or when the gateway is gone.
pub struct Watch {
    directories: SyncSender<PathBuf>,
}

impl Watch {
    /// Begins to look; what is seen goes to the gateway.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(mut look: Look, clock: Clock, to_gateway: Sender<Input>) -> std::io::Result<Watch> {
        let (directories, changed) = sync_channel(WAITING);
        std::thread::Builder::new().name("facts".into()).spawn(move || {
            let mut said = Vec::new();
            loop {
                let looked = look.look(clock.now().unix_ms);
                let news = news(&mut said, looked.troubles).into_iter().map(Input::Noticed);
                for input in news.chain([Input::Facts(looked.facts)]) {
                    if to_gateway.blocking_send(input).is_err() {
                        return;
                    }
                }
                match changed.recv_timeout(INTERVAL) {
                    Ok(facts_dir) => look.facts_dir = facts_dir,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Watch { directories })
    }

    /// Reads fact files in another directory from now on, and looks at once.
    pub fn read_in(&self, facts_dir: PathBuf) {
        // Full: the thread has not looked since several reloads; closed: the gateway is gone. A later reload tells it.
        drop(self.directories.try_send(facts_dir));
    }
}

/// What was not said with the look before.
fn news(said: &mut Vec<Event>, troubles: Vec<Event>) -> Vec<Event> {
    let news = troubles.iter().filter(|event| !said.contains(event)).cloned().collect();
    *said = troubles;
    news
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::event::Kind;

    #[test]
    fn a_trouble_is_said_once_and_again_when_it_comes_back_or_changes() {
        let trouble = |reason: &str| Event::new(Kind::FactFileRefused).with("reason", reason);
        let mut said = Vec::new();
        assert_eq!(news(&mut said, vec![trouble("a"), trouble("b")]), [trouble("a"), trouble("b")]);
        assert_eq!(news(&mut said, vec![trouble("a"), trouble("b")]), []);
        assert_eq!(news(&mut said, vec![trouble("a"), trouble("c")]), [trouble("c")]);
        assert_eq!(news(&mut said, vec![trouble("c")]), []);
        assert_eq!(news(&mut said, vec![trouble("c"), trouble("a")]), [trouble("a")]);
    }
}
