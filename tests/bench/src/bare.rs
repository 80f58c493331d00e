//! Bare OpenSSL as the floor: a PSK client with the suite of the profile and nothing around it. No profile is kept, no
//! record is looked at before OpenSSL has it.

use openssl::error::ErrorStack;
use openssl::ssl::{
    ShutdownState, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSession, SslStream, SslVersion,
};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

/// Towards a server that knows this identity and key.
pub fn context(identity: &'static [u8], key: &'static [u8]) -> Result<SslContext, ErrorStack> {
    let mut context = SslContextBuilder::new(SslMethod::dtls_client())?;
    context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_TICKET);
    context.set_cipher_list("PSK-AES128-CCM8:@SECLEVEL=0")?;
    context.set_psk_client_callback(move |_ssl, _hint, name, secret| {
        name[..identity.len()].copy_from_slice(identity);
        name[identity.len()] = 0;
        secret[..key.len()].copy_from_slice(key);
        Ok(key.len())
    });
    Ok(context.build())
}

/// A client; datagrams as they come and go.
pub struct Client {
    stream: SslStream<Datagrams>,
    done: bool,
}

impl Client {
    /// Its hello is ready to be sent.
    pub fn start(context: &SslContext, resume: Option<&SslSession>) -> Result<Client, ErrorStack> {
        let mut ssl = Ssl::new(context)?;
        ssl.set_mtu(1_200)?;
        if let Some(session) = resume {
            #[expect(unsafe_code, reason = "the crate cannot know that the session fits")]
            // SAFETY: the session comes from a connection of the same context.
            unsafe {
                ssl.set_session(session)?;
            }
        }
        ssl.set_connect_state();
        let mut client = Client { stream: SslStream::new(ssl, Datagrams::default())?, done: false };
        client.go_on();
        Ok(client)
    }

    fn go_on(&mut self) {
        self.done = self.stream.do_handshake().is_ok();
    }

    /// A datagram of the handshake.
    pub fn on_datagram(&mut self, datagram: &[u8]) {
        self.stream.get_mut().inbound.push_back(datagram.to_vec());
        self.go_on();
    }

    /// The next datagram to send.
    pub fn poll_send(&mut self) -> Option<Vec<u8>> {
        self.stream.get_mut().outbound.pop_front()
    }

    /// Whether the handshake is done.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether it was an abbreviated one.
    pub fn resumed(&self) -> bool {
        self.stream.ssl().session_reused()
    }

    /// To be resumed.
    pub fn session(&self) -> Option<SslSession> {
        self.stream.ssl().session().map(ToOwned::to_owned)
    }

    /// A payload as a datagram.
    pub fn seal(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        self.stream.ssl_write(payload).ok()?;
        self.poll_send()
    }

    /// Length of the payload of a datagram.
    pub fn open(&mut self, datagram: &[u8], payload: &mut [u8]) -> Option<usize> {
        self.stream.get_mut().inbound.push_back(datagram.to_vec());
        self.stream.ssl_read(payload).ok()
    }
}

impl Drop for Client {
    /// OpenSSL lets no session be resumed whose connection was freed and not closed.
    fn drop(&mut self) {
        self.stream.set_shutdown(ShutdownState::SENT | ShutdownState::RECEIVED);
    }
}

#[derive(Debug, Default)]
struct Datagrams {
    inbound: VecDeque<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(datagram) = self.inbound.pop_front() else { return Err(ErrorKind::WouldBlock.into()) };
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok(length)
    }
}

impl Write for Datagrams {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbound.push_back(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
