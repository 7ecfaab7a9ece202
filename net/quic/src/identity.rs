//! A node's ed25519 key as its identity in TLS 1.3, and the demand for exactly one peer's key.
//!
//! Invariant: a handshake ends well only between two keys that expected each other, in one cluster, one shard and
//! one version of WIRE.md; no session is resumed and nothing travels in 0-RTT.

use crate::{BindError, Config, Key, WIRE_VERSION};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{ClientConfig, NoneTokenStore, ServerConfig, TimeSource, TransportConfig};
use ring::{hkdf, hmac};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;

/// `SubjectPublicKeyInfo` of ed25519 up to the key (RFC 8410, section 4): SEQUENCE { SEQUENCE { OID 1.3.101.112 },
/// BIT STRING, no unused bits }.
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// `OneAsymmetricKey` v1 of ed25519 up to the seed (RFC 8410, section 7): SEQUENCE { INTEGER 0, SEQUENCE { OID
/// 1.3.101.112 }, OCTET STRING { OCTET STRING } }.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The name that a dialler must give to TLS; it is never sent and nobody reads it.
pub(crate) const NAME: &str = "io-oi";

/// What one endpoint needs to prove itself and to recognise others.
pub(crate) struct Identity {
    certified: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
    protocol: Vec<u8>,
    token_key: Arc<hkdf::Prk>,
    reset_key: Arc<hmac::Key>,
    connection_id_key: u64,
}

impl Identity {
    pub(crate) fn new(config: &Config) -> Result<Self, BindError> {
        let provider = Arc::new(provider());
        let certified = certified(config, &provider)?;
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"io_oi/quic").extract(&config.secret);
        let mut connection_id_key = [0; 8];
        connection_id_key.copy_from_slice(&derive(&secret, config, b"connection id")[..8]);
        let token_secret = derive(&secret, config, b"retry token");
        Ok(Identity {
            certified: Arc::new(certified),
            provider,
            protocol: protocol(config),
            token_key: Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&token_secret)),
            reset_key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &derive(&secret, config, b"reset"))),
            connection_id_key: u64::from_le_bytes(connection_id_key),
        })
    }

    /// The same after a restart: a peer that still talks to the old process is told so at once.
    pub(crate) fn reset_key(&self) -> Arc<hmac::Key> {
        self.reset_key.clone()
    }

    /// The same after a restart, for the same reason.
    pub(crate) fn connection_id_key(&self) -> u64 {
        self.connection_id_key
    }

    /// How to dial the peer of this key.
    pub(crate) fn dialler(&self, peer: Key, transport: &Arc<TransportConfig>) -> Result<ClientConfig, Error> {
        let expected = Arc::new(Expected { key: peer, provider: self.provider.clone() });
        let mut tls = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(expected)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                self.certified.clone(),
            )));
        tls.alpn_protocols = vec![self.protocol.clone()];
        tls.enable_sni = false;
        tls.enable_early_data = false;
        tls.resumption = Resumption::disabled();
        let crypto = QuicClientConfig::try_from(tls).map_err(|fault| Error::General(fault.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport.clone()).token_store(Arc::new(NoneTokenStore));
        Ok(config)
    }

    /// How to be dialled by the peer of this key.
    pub(crate) fn listener(
        &self,
        peer: Key,
        transport: &Arc<TransportConfig>,
        time: Arc<dyn TimeSource>,
    ) -> Result<ServerConfig, Error> {
        let expected = Arc::new(Expected { key: peer, provider: self.provider.clone() });
        let mut tls = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(expected)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.certified.clone())));
        tls.alpn_protocols = vec![self.protocol.clone()];
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.max_early_data_size = 0;
        let crypto = QuicServerConfig::try_from(tls).map_err(|fault| Error::General(fault.to_string()))?;
        let mut config = ServerConfig::new(Arc::new(crypto), self.token_key.clone());
        config
            .transport_config(transport.clone())
            .migration(false)
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX)
            .time_source(time);
        config.validation_token.sent(0);
        Ok(config)
    }
}

/// An Initial is answered or ignored in the turn that reads it: none ever waits.
const INCOMING_MAX: usize = 16;
const INCOMING_BYTES_MAX: u64 = 64 * 1024;

/// AES-128-GCM, X25519 and ed25519, nothing to negotiate: one suite is one set of code paths to trust.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![rustls::crypto::ring::kx_group::X25519],
        ..rustls::crypto::ring::default_provider()
    }
}

fn certified(config: &Config, provider: &CryptoProvider) -> Result<CertifiedKey, BindError> {
    let mut pkcs8 = PKCS8_HEAD.to_vec();
    pkcs8.extend_from_slice(&config.secret);
    let signing = provider
        .key_provider
        .load_private_key(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8)))
        .map_err(|fault| BindError::Key(fault.to_string()))?;
    let public = spki(&config.own);
    if signing.public_key().as_deref() != Some(public.as_slice()) {
        return Err(BindError::Key("the public key does not belong to the secret".to_owned()));
    }
    Ok(CertifiedKey::new(vec![CertificateDer::from(public)], signing))
}

pub(crate) fn spki(key: &Key) -> Vec<u8> {
    let mut der = SPKI_HEAD.to_vec();
    der.extend_from_slice(key);
    der
}

/// The ALPN name: WIRE.md, "Who may talk to whom".
fn protocol(config: &Config) -> Vec<u8> {
    let mut name = format!("io_oi/{WIRE_VERSION} ").into_bytes();
    name.extend_from_slice(&config.cluster);
    name.extend_from_slice(&config.shard.to_le_bytes());
    name
}

fn derive(secret: &hkdf::Prk, config: &Config, purpose: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let shard = config.shard.to_le_bytes();
    secret
        .expand(&[purpose, &config.cluster, &shard], hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut key))
        .expect("HKDF fills 32 bytes, as RFC 5869 promises");
    key
}

/// Demands one key and an ed25519 signature of it over the handshake.
#[derive(Debug)]
struct Expected {
    key: Key,
    provider: Arc<CryptoProvider>,
}

impl Expected {
    fn check_key(&self, presented: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
        if presented.as_ref() == spki(&self.key) && rest.is_empty() {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(Error::InvalidCertificate(CertificateError::BadSignature));
        }
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
    }
}

fn only_tls13() -> Error {
    Error::General("QUIC is TLS 1.3 only".to_owned())
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_key(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Expected {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check_key(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
