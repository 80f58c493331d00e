//! The thread that looks at this host again and again: a look reads `/proc` and files, and the loop must not wait for it.

use super::Look;
use crate::gateway::event::Event;
use crate::gateway::input::Input;
use crate::io::Clock;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Bound: How often this host is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// The thread; it ends when this is dropped, or when the gateway is gone.
pub struct Watch {
    /// Where fact files are; what is newer replaces what the thread has not taken yet.
    facts_dir: Arc<Mutex<PathBuf>>,
    changed: SyncSender<()>,
}

impl Watch {
    /// Begins to look; what is seen goes to the gateway.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(mut look: Look, clock: Clock, to_gateway: Sender<Input>) -> std::io::Result<Watch> {
        let (watch, changed) = Watch::of(look.facts_dir.clone());
        let facts_dir = Arc::clone(&watch.facts_dir);
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
                    Ok(()) => look.facts_dir.clone_from(&facts_dir.lock().unwrap_or_else(PoisonError::into_inner)),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(watch)
    }

    /// Without a thread yet; with what tells it of another directory.
    fn of(facts_dir: PathBuf) -> (Watch, Receiver<()>) {
        let (changed, told) = sync_channel(1);
        (Watch { facts_dir: Arc::new(Mutex::new(facts_dir)), changed }, told)
    }

    /// Reads fact files in another directory from now on, and looks at once.
    pub fn read_in(&self, facts_dir: PathBuf) {
        *self.facts_dir.lock().unwrap_or_else(PoisonError::into_inner) = facts_dir;
        // Full: the thread has yet to take a former one, and will take this; closed: the gateway is gone.
        let _ = self.changed.try_send(());
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
    fn of_many_new_directories_the_newest_is_taken_however_long_the_thread_was_busy() {
        let (watch, told) = Watch::of("0".into());
        (1..=9).for_each(|n| watch.read_in(n.to_string().into()));
        assert_eq!(told.try_recv(), Ok(()));
        assert_eq!(*watch.facts_dir.lock().unwrap(), PathBuf::from("9"));
        assert!(told.try_recv().is_err(), "once");
        watch.read_in("10".into());
        assert_eq!((told.try_recv(), watch.facts_dir.lock().unwrap().clone()), (Ok(()), "10".into()));
        drop(watch);
        assert_eq!(told.recv_timeout(INTERVAL), Err(RecvTimeoutError::Disconnected), "the thread ends");
    }

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
