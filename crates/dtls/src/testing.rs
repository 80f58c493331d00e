//! A DTLS server in the process, on the same OpenSSL: for tests, fuzz targets and benches. Not a peer to prove interworking
//! with, and not for production: its cookie protects nothing.

use std::collections::VecDeque;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{
    ErrorCode, ShutdownState, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSessionCacheMode,
    SslStream, SslVersion,
};

use crate::record::records;
use crate::wire::Wire;
use crate::{Handshake, Psk, Session, ffi, notes};

/// Longest datagram it sends, in bytes.
const MTU: usize = 1_400;
/// The same for all: a server for tests needs no protection from clients.
const COOKIE: &[u8; 16] = b"a cookie for all";

/// What several servers share: keys, and the cache of sessions.
#[derive(Clone)]
pub struct ServerContext(SslContext);

impl ServerContext {
    /// A server that knows one identity, and asks for no cookie.
    ///
    /// # Errors
    /// OpenSSL refuses.
    pub fn psk(psk: Psk) -> Result<Self, ErrorStack> {
        Self::build(move |identity| (identity == psk.identity()).then(|| psk.clone()), SslOptions::empty())
    }

    /// A server that knows the identities that `find` knows, and asks each client for a cookie (RFC 6347 §4.2.1).
    ///
    /// # Errors
    /// OpenSSL refuses.
    pub fn psks(find: impl Fn(&[u8]) -> Option<Psk> + Send + Sync + 'static) -> Result<Self, ErrorStack> {
        Self::build(find, SslOptions::COOKIE_EXCHANGE)
    }

    fn build(
        find: impl Fn(&[u8]) -> Option<Psk> + Send + Sync + 'static,
        more: SslOptions,
    ) -> Result<Self, ErrorStack> {
        ffi::init();
        let mut context = SslContextBuilder::new(SslMethod::dtls_server())?;
        context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
        context.set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_TICKET | more);
        context.set_session_cache_mode(SslSessionCacheMode::SERVER);
        context.set_session_id_context(b"lpwad")?;
        context.set_cookie_generate_cb(|_ssl, place| {
            let place = place.get_mut(..COOKIE.len()).unwrap_or_default();
            place.copy_from_slice(COOKIE.get(..place.len()).unwrap_or_default());
            Ok(place.len())
        });
        context.set_cookie_verify_cb(|_ssl, cookie| cookie == COOKIE);
        context.set_cipher_list("PSK-AES128-CCM8:PSK-AES128-CCM:PSK-AES128-GCM-SHA256:@SECLEVEL=0")?;
        context.set_psk_server_callback(move |_ssl, identity, key| {
            let psk = identity.and_then(&find);
            Ok(psk.map_or(0, |psk| {
                let place = key.get_mut(..psk.key().len()).unwrap_or_default();
                place.copy_from_slice(psk.key().get(..place.len()).unwrap_or_default());
                place.len()
            }))
        });
        Ok(Self(context.build()))
    }
}

/// One association of it.
pub struct Server {
    stream: SslStream<Wire>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Server {
    /// Waits for a hello.
    ///
    /// # Errors
    /// OpenSSL refuses.
    pub fn new(context: &ServerContext) -> Result<Self, ErrorStack> {
        let mut ssl = Ssl::new(&context.0)?;
        // Its timer is far away: it repeats nothing by itself.
        notes::attach(&mut ssl, None, u32::MAX)?;
        ffi::set_callbacks(&mut ssl);
        ssl.set_mtu(1_400)?;
        ssl.set_accept_state();
        Ok(Self { stream: SslStream::new(ssl, Wire::default())?, outgoing: VecDeque::new() })
    }

    /// Takes in a datagram; what its records held.
    pub fn open(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        for record in records(datagram) {
            self.stream.get_mut().push(record.bytes);
        }
        let mut buffer = vec![0; datagram.len().max(1)];
        while let Ok(length) = self.stream.ssl_read(&mut buffer) {
            payloads.push(buffer.get(..length).unwrap_or_default().to_vec());
        }
        self.collect();
        payloads
    }

    /// Its clock passes by whatever it waits for: it repeats its flight. Only if the wall clock agrees.
    pub fn on_timer(&mut self) {
        ffi::handle_timeout(&mut self.stream);
        self.collect();
    }

    /// A payload as a datagram. `None` before the handshake is done, or if it is longer than was agreed.
    pub fn seal(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        self.stream.ssl_write(payload).ok()?;
        self.stream.get_mut().take_datagrams(MTU).pop()
    }

    /// `close_notify` as a datagram.
    pub fn close(&mut self) -> Option<Vec<u8>> {
        let _ = self.stream.shutdown();
        self.stream.get_mut().take_datagrams(MTU).pop()
    }

    /// The next datagram for the client.
    pub fn poll_send(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// Whether it waits for something of the handshake.
    #[must_use]
    pub fn is_waiting(&mut self) -> bool {
        matches!(self.stream.do_handshake(), Err(error) if error.code() == ErrorCode::WANT_READ)
    }

    fn collect(&mut self) {
        self.outgoing.extend(self.stream.get_mut().take_datagrams(MTU));
    }
}

impl Drop for Server {
    /// OpenSSL takes the session of an association that was not closed out of the cache; here it stays, so that a client
    /// can resume it.
    fn drop(&mut self) {
        self.stream.set_shutdown(ShutdownState::SENT | ShutdownState::RECEIVED);
    }
}

/// Carries datagrams between the two until the handshake has an outcome, without loss and without time. `None` if they
/// fall silent.
pub fn connect(
    handshake: &mut Handshake,
    server: &mut Server,
    now: Duration,
) -> Option<Result<Session, crate::Failure>> {
    for _ in 0..20 {
        while let Some(datagram) = handshake.poll_send() {
            server.open(&datagram);
        }
        if let Some(outcome) = handshake.take_outcome() {
            return Some(outcome);
        }
        while let Some(datagram) = server.poll_send() {
            handshake.on_datagram(now, &datagram);
        }
    }
    None
}

/// An export with a valid checksum around any bytes: `body` is the code of the fragment length and a session in DER.
#[must_use]
pub fn envelope(context: &[u8; 32], body: &[u8]) -> Vec<u8> {
    crate::export::envelope(context, body).to_vec()
}
