//! Keys and certificates, made when a test runs.

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};

/// 2026-06-01, the middle of what certificates are valid in by default.
pub const NOW: i64 = 1_780_272_000;
const DAY: i64 = 86_400;

pub fn now_ms() -> Option<u64> {
    u64::try_from(NOW).ok().map(|seconds| seconds * 1000)
}

pub fn ec(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub fn p256() -> PKey<Private> {
    ec(Nid::X9_62_PRIME256V1)
}

pub fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    pub certificate: X509,
    pub key: PKey<Private>,
}

/// What a certificate says.
pub struct Wish<'a> {
    pub common_name: &'a str,
    pub domains: &'a [&'a str],
    pub address: Option<&'a str>,
    pub ca: bool,
    pub from: i64,
    pub until: i64,
    pub hash: MessageDigest,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            common_name: "unnamed",
            domains: &[],
            address: None,
            ca: false,
            from: NOW - 30 * DAY,
            until: NOW + 30 * DAY,
            hash: MessageDigest::sha256(),
        }
    }
}

impl Wish<'_> {
    /// Signed by `issuer`, or by itself.
    pub fn issue(&self, key: PKey<Private>, issuer: Option<&Issued>) -> Issued {
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, self.common_name).unwrap();
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let mut serial = BigNum::new().unwrap();
        serial.rand(64, openssl::bn::MsbOption::ONE, false).unwrap();
        builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(issuer.map_or(&name, |issuer| issuer.certificate.subject_name())).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(self.from).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(self.until).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        if self.ca {
            builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
            builder.append_extension(KeyUsage::new().critical().key_cert_sign().build().unwrap()).unwrap();
        } else {
            builder.append_extension(KeyUsage::new().critical().digital_signature().build().unwrap()).unwrap();
            builder.append_extension(ExtendedKeyUsage::new().server_auth().client_auth().build().unwrap()).unwrap();
        }
        if !self.domains.is_empty() || self.address.is_some() {
            let mut names = SubjectAlternativeName::new();
            for domain in self.domains {
                names.dns(domain);
            }
            if let Some(address) = self.address {
                names.ip(address);
            }
            let names = names.build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(names).unwrap();
        }
        builder.sign(issuer.map_or(&key, |issuer| &issuer.key), self.hash).unwrap();
        Issued { certificate: builder.build(), key }
    }
}

pub fn root() -> Issued {
    Wish { common_name: "root", ca: true, ..Wish::default() }.issue(p256(), None)
}

pub fn pem(chain: &[&Issued]) -> Vec<u8> {
    chain.iter().flat_map(|issued| issued.certificate.to_pem().unwrap()).collect()
}

pub fn key_pem(key: &PKey<Private>) -> Vec<u8> {
    key.private_key_to_pem_pkcs8().unwrap()
}
