//! Waiting for what the last life of lpwad still holds: after a kill, a plugin that was just being started has its lock and
//! its socket for some milliseconds more.

use std::time::Duration;

/// How often it is tried again.
const TRIES: u32 = 20;
/// How far apart.
const PAUSE_WAIT: Duration = Duration::from_millis(100);

/// Tries until it is not `busy` any more, 2 s at most. Blocks: for the start only.
pub fn patiently<T, E>(mut attempt: impl FnMut() -> Result<T, E>, busy: impl Fn(&E) -> bool) -> Result<T, E> {
    for _ in 0..TRIES {
        match attempt() {
            Err(error) if busy(&error) => {
                #[expect(clippy::disallowed_methods, reason = "at the start, before there is anything to hold up")]
                std::thread::sleep(PAUSE_WAIT);
            }
            other => return other,
        }
    }
    attempt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_busy_for_a_moment_is_waited_for_and_other_errors_are_not() {
        let mut left = 2;
        let result = patiently(
            || {
                left -= 1;
                if left > 0 { Err("busy") } else { Ok(7) }
            },
            |error| *error == "busy",
        );
        assert_eq!(result, Ok(7));
        assert_eq!(patiently(|| Err::<(), _>("no"), |error| *error == "busy"), Err("no"));
    }
}
