//! The control socket: one JSON object a line in, one a line out. Mode 0600.

use crate::gateway::control::{Request, error};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// Longest request in bytes.
const MAX_REQUEST: u64 = 4096;
/// Longest answer that `lpwad status` and the like read, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// Connections at the same time; more of them wait.
const MAX_CONNECTIONS: usize = 16;
/// How long a connection may be silent, and how long it may leave an answer unread.
const IDLE: Duration = Duration::from_secs(60);

/// Wait after a connection could not be taken.
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// A request and where its answer goes.
pub type Asked = (Request, oneshot::Sender<serde_json::Value>);

/// The socket; its file is removed when this is dropped.
pub struct Control {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Control {
    /// Listens at `path`; requests go to `requests`. A socket file that nobody listens at is replaced.
    #[expect(clippy::disallowed_methods, reason = "src/io is where tasks are started")]
    pub fn listen(path: &Path, requests: mpsc::Sender<Asked>) -> io::Result<Control> {
        if let Ok(meta) = std::fs::symlink_metadata(path) {
            if !meta.file_type().is_socket() {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is a file of this name that is no socket",
                ));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another lpwad listens here"));
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let task = tokio::spawn(async move {
            while let Ok(place) = places.clone().acquire_owned().await {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of descriptors: some may be free again later.
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                };
                let requests = requests.clone();
                tokio::spawn(async move {
                    // A broken connection is its client's concern.
                    drop(serve(stream, requests, IDLE).await);
                    drop(place);
                });
            }
        });
        Ok(Control { path: path.into(), task })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        drop(std::fs::remove_file(&self.path));
    }
}

async fn serve(stream: UnixStream, requests: mpsc::Sender<Asked>, idle: Duration) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut read).take(MAX_REQUEST);
        let length = timeout(idle, bounded.read_until(b'\n', &mut line)).await??;
        if length == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => {
                let (reply, answer) = oneshot::channel();
                match requests.send((request, reply)).await {
                    Ok(()) => answer.await.unwrap_or_else(|_| error("lpwad is stopping")),
                    Err(_) => error("lpwad is stopping"),
                }
            }
            Err(problem) => error(&format!("not a request: {problem}")),
        };
        timeout(idle, write.write_all(format!("{answer}\n").as_bytes())).await??;
        if !whole {
            return Ok(());
        }
    }
}

/// Asks the lpwad that listens at `path`.
///
/// # Errors
/// Nobody listens, or the connection breaks.
pub fn ask(path: &Path, request: &Request) -> io::Result<serde_json::Value> {
    use std::io::{BufRead, Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let line = serde_json::to_string(request).map_err(io::Error::other)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    std::io::BufReader::new(stream.take(MAX_ANSWER_BYTES)).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_does_not_read_its_answer_loses_its_place() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (requests, mut asked) = mpsc::channel(1);
            theirs.write_all(b"{\"command\":\"status\"}\n").await.unwrap();
            let answer = async {
                let (_, reply): Asked = asked.recv().await.unwrap();
                // More than the socket holds.
                reply.send(serde_json::Value::String("x".repeat(4 << 20))).unwrap();
            };
            let (served, ()) = tokio::join!(serve(ours, requests, Duration::from_millis(1)), answer);
            assert_eq!(served.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }
}
