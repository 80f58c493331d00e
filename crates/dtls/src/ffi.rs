//! The OpenSSL calls that the `openssl` crate does not wrap. The only unsafe code of this crate; each block says which
//! condition of the OpenSSL manual it keeps.
#![expect(unsafe_code, reason = "the calls of OpenSSL that no safe crate offers")]

use std::os::raw::{c_int, c_long, c_uint, c_void};
use std::sync::Once;

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::pkey::{PKeyRef, Public};
use openssl::ssl::{SslContextBuilder, SslRef, SslSessionRef, SslStream};
use openssl::x509::{X509Ref, X509VerifyResult};
use openssl_sys as sys;

use crate::notes;

// Constants of `openssl/ssl.h` and `openssl/crypto.h`, unchanged since OpenSSL 1.1.
const INIT_NO_LOAD_CONFIG: u64 = 0x0000_0080;
const INIT_NO_ATEXIT: u64 = 0x0008_0000;
const INIT_LOAD_SSL_STRINGS: u64 = 0x0020_0000;
const CTRL_SET_MSG_CALLBACK: c_int = 15;
const CTRL_SET_MAX_CERT_LIST: c_int = 51;
const CTRL_SET_MAX_SEND_FRAGMENT: c_int = 52;
const CTRL_HANDLE_TIMEOUT: c_int = 74;

/// Content types that the message callback reports (`openssl/ssl3.h`).
const RT_ALERT: c_int = 21;
const RT_HANDSHAKE: c_int = 22;

type TimerCallback = extern "C" fn(*mut sys::SSL, c_uint) -> c_uint;
type MessageCallback = extern "C" fn(c_int, c_int, c_int, *const c_void, usize, *mut sys::SSL, *mut c_void);

unsafe extern "C" {
    fn DTLS_set_timer_cb(ssl: *mut sys::SSL, callback: TimerCallback);
    fn SSL_callback_ctrl(ssl: *mut sys::SSL, command: c_int, callback: Option<extern "C" fn()>) -> c_long;
    fn SSL_CTX_set_tlsext_max_fragment_length(ctx: *mut sys::SSL_CTX, mode: u8) -> c_int;
    fn SSL_SESSION_get_max_fragment_length(session: *const sys::SSL_SESSION) -> u8;
    fn SSL_SESSION_get0_peer(session: *mut sys::SSL_SESSION) -> *mut sys::X509;
    fn SSL_CTX_set1_client_cert_type(ctx: *mut sys::SSL_CTX, types: *const u8, length: usize) -> c_int;
    fn SSL_CTX_set1_server_cert_type(ctx: *mut sys::SSL_CTX, types: *const u8, length: usize) -> c_int;
    fn SSL_CTX_dane_enable(ctx: *mut sys::SSL_CTX) -> c_int;
    fn SSL_dane_enable(ssl: *mut sys::SSL, domain: *const std::os::raw::c_char) -> c_int;
    fn SSL_add_expected_rpk(ssl: *mut sys::SSL, key: *mut sys::EVP_PKEY) -> c_int;
}

/// Initialises the library without reading any configuration file: `openssl.cnf` and `OPENSSL_CONF` change nothing. Must
/// come before any other call of OpenSSL in the process, because the first one decides.
pub(crate) fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        // SAFETY: OPENSSL_init_ssl(3) may be called at any time from any thread; a null pointer stands for no settings.
        unsafe {
            sys::OPENSSL_init_ssl(INIT_NO_LOAD_CONFIG | INIT_NO_ATEXIT | INIT_LOAD_SSL_STRINGS, std::ptr::null())
        };
        openssl::init();
    });
}

/// What OpenSSL did when told that its retransmission timer has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// It wrote the flight once more.
    Repeated,
    /// By its own (wall) clock the time is not there yet.
    NotDue,
    /// It gave up, or could not write.
    Failed,
}

/// DTLSv1_handle_timeout(3).
pub(crate) fn handle_timeout<S>(stream: &mut SslStream<S>) -> Timeout {
    // SAFETY: the pointer is that of a live DTLS object, held exclusively through `stream`; the command takes no argument.
    let result = unsafe { sys::SSL_ctrl(stream.ssl().as_ptr(), CTRL_HANDLE_TIMEOUT, 0, std::ptr::null_mut()) };
    match result {
        1.. => Timeout::Repeated,
        0 => Timeout::NotDue,
        _ => {
            let _ = ErrorStack::get();
            Timeout::Failed
        }
    }
}

/// Lets [`notes`] of this connection decide the timer, and hear of alerts and handshake messages.
pub(crate) fn set_callbacks(ssl: &mut SslRef) {
    // SAFETY: the object is live and not yet used; the callback has the type of `DTLS_timer_cb`, is a plain function, and
    // so outlives the object (DTLS_set_timer_cb(3)).
    unsafe { DTLS_set_timer_cb(ssl.as_ptr(), on_timer) };
    let callback: MessageCallback = on_message;
    // SAFETY: function pointers of all types have one size and form; SSL_CTRL_SET_MSG_CALLBACK casts the pointer back to
    // the type of `on_message` before it calls it (SSL_set_msg_callback(3)).
    unsafe {
        let callback = std::mem::transmute::<MessageCallback, extern "C" fn()>(callback);
        SSL_callback_ctrl(ssl.as_ptr(), CTRL_SET_MSG_CALLBACK, Some(callback));
    }
}

extern "C" fn on_timer(ssl: *mut sys::SSL, previous_us: c_uint) -> c_uint {
    // SAFETY: OpenSSL passes the object whose timer it is, which lives during the call.
    let ssl = unsafe { SslRef::from_ptr(ssl) };
    notes::of(ssl).map_or(1_000_000, |notes| notes.timer_us(previous_us == 0))
}

extern "C" fn on_message(
    written: c_int,
    _version: c_int,
    content: c_int,
    bytes: *const c_void,
    length: usize,
    ssl: *mut sys::SSL,
    _argument: *mut c_void,
) {
    if written != 0 || ssl.is_null() {
        return;
    }
    // SAFETY: OpenSSL passes the object that read the message, which lives during the call.
    let ssl = unsafe { SslRef::from_ptr(ssl) };
    let Some(notes) = notes::of(ssl) else { return };
    match content {
        RT_ALERT if length == 2 && !bytes.is_null() => {
            // SAFETY: OpenSSL passes a pointer to `length` readable bytes (SSL_set_msg_callback(3)).
            let [level, code] = unsafe { *bytes.cast::<[u8; 2]>() };
            notes.alert_read(level, code);
        }
        RT_HANDSHAKE => notes.message_read(),
        _ => {}
    }
}

/// Offers the extension with this code, 1 to 4 (RFC 6066 §4).
pub(crate) fn set_max_fragment_length(context: &mut SslContextBuilder, code: u8) -> Result<(), ErrorStack> {
    // SAFETY: the pointer is that of a live context, held exclusively; a wrong code is answered by 0.
    one(c_long::from(unsafe { SSL_CTX_set_tlsext_max_fragment_length(context.as_ptr(), code) }))
}

/// The code that was agreed, 0 for none.
pub(crate) fn max_fragment_length(session: &SslSessionRef) -> u8 {
    // SAFETY: the pointer is that of a live session, which is only read.
    unsafe { SSL_SESSION_get_max_fragment_length(session.as_ptr()) }
}

/// The certificate that the server of a session showed, if it showed one.
pub(crate) fn server_certificate(session: &SslSessionRef) -> Option<&X509Ref> {
    // SAFETY: the pointer is that of a live session, which is only read; the certificate belongs to it, and so lives as long
    // as the reference that is given (SSL_SESSION_get0_peer(3)).
    unsafe {
        let certificate = SSL_SESSION_get0_peer(session.as_ptr());
        (!certificate.is_null()).then(|| X509Ref::from_ptr(certificate))
    }
}

/// Sizes of buffers: largest record written (512 to 16384 bytes) and longest chain of certificates read.
pub(crate) fn set_sizes(context: &mut SslContextBuilder, fragment: usize, chain: u32) -> Result<(), ErrorStack> {
    let fragment = c_long::try_from(fragment).unwrap_or(512);
    let chain = c_long::from(chain);
    // SAFETY: both commands take a number and no pointer, on a live context that is held exclusively.
    unsafe {
        one(sys::SSL_CTX_ctrl(context.as_ptr(), CTRL_SET_MAX_SEND_FRAGMENT, fragment, std::ptr::null_mut()))?;
        sys::SSL_CTX_ctrl(context.as_ptr(), CTRL_SET_MAX_CERT_LIST, chain, std::ptr::null_mut());
    }
    Ok(())
}

/// Offers `session` for resumption.
pub(crate) fn set_session(ssl: &mut SslRef, session: &SslSessionRef) -> Result<(), ErrorStack> {
    // SAFETY: the crate asks that the session belongs to the context of `ssl`. Ours comes from DER and so has no context;
    // SSL_set_session(3) takes its own reference, and switches the method only if it differs, which one context per mode
    // with a fixed DTLS version excludes.
    unsafe { ssl.set_session(session) }
}

/// Raw public keys in both directions and nothing else (RFC 7250 §3: type 2).
pub(crate) fn set_raw_public_keys(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    let types = [2];
    // SAFETY: the context is live and held exclusively; OpenSSL copies the list during the call
    // (SSL_CTX_set1_server_cert_type(3)). DANE is what expected keys are checked by (SSL_add_expected_rpk(3)).
    unsafe {
        one(c_long::from(SSL_CTX_set1_client_cert_type(context.as_ptr(), types.as_ptr(), types.len())))?;
        one(c_long::from(SSL_CTX_set1_server_cert_type(context.as_ptr(), types.as_ptr(), types.len())))?;
        one(c_long::from(SSL_CTX_dane_enable(context.as_ptr())))
    }
}

/// The only key that the server may have.
pub(crate) fn expect_server_key(ssl: &mut SslRef, key: &PKeyRef<Public>) -> Result<(), ErrorStack> {
    // SAFETY: both objects are live, `ssl` is held exclusively; a null domain stands for none. The key is not changed and
    // OpenSSL takes its own reference (SSL_add_expected_rpk(3)).
    unsafe {
        one(c_long::from(SSL_dane_enable(ssl.as_ptr(), std::ptr::null())))?;
        one(c_long::from(SSL_add_expected_rpk(ssl.as_ptr(), key.as_ptr())))
    }
}

/// The verify result that OpenSSL answers by `bad_certificate`: `X509_V_ERR_CERT_REJECTED`.
pub(crate) fn certificate_rejected() -> X509VerifyResult {
    // SAFETY: 28 is a constant of `openssl/x509_vfy.h`.
    unsafe { X509VerifyResult::from_raw(28) }
}

fn one(result: c_long) -> Result<(), ErrorStack> {
    if result == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}
