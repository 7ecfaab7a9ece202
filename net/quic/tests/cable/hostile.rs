//! A member that holds a valid key and keeps none of the rules above TLS.
//!
//! Invariant: it does what its test tells it, and checks nothing.

use super::{CLUSTER, Node, SHARD};
use bytes::{Bytes, BytesMut};
use io_oi_quic::io::Io;
use io_oi_quic::memory::Memory;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event,
    ServerConfig, StreamId, TransportConfig, VarInt,
};
use ring::{hkdf, hmac};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A QUIC client or server of its own making.
pub struct Hostile {
    io: Memory,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    base: Instant,
    /// Everything that quinn-proto told it.
    pub events: Vec<String>,
}

impl Hostile {
    pub fn new(io: Memory, listener: Option<ServerConfig>) -> Self {
        let reset = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]));
        let settings = Arc::new(EndpointConfig::new(reset));
        let endpoint = Endpoint::new(settings, listener.map(Arc::new), false, None);
        Hostile { io, endpoint, connection: None, base: Instant::now(), events: Vec::new() }
    }

    pub fn dial(&mut self, now_ns: u64, node: &Node, config: ClientConfig) {
        let now = self.base + Duration::from_nanos(now_ns);
        self.connection = Some(self.endpoint.connect(now, config, node.addr, "nobody").unwrap());
    }

    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection.as_mut().unwrap().1
    }

    pub fn is_connected(&self) -> bool {
        self.events.iter().any(|event| event.contains("Connected"))
    }

    pub fn is_lost(&self) -> Option<&String> {
        self.events.iter().find(|event| event.contains("ConnectionLost"))
    }

    /// Opens a unidirectional stream and writes to it.
    pub fn write(&mut self, bytes: &[u8]) -> StreamId {
        let id = self.connection().streams().open(Dir::Uni).expect("the peer allows this stream");
        let written = self.connection().send_stream(id).write_chunks(&mut [Bytes::copy_from_slice(bytes)]);
        assert_eq!(written.unwrap().bytes, bytes.len());
        id
    }

    pub fn turn(&mut self, now_ns: u64) {
        let now = self.base + Duration::from_nanos(now_ns);
        let mut arrived = Vec::new();
        self.io.receive(&mut |from, bytes| arrived.push((from, bytes.to_vec())));
        let mut response = Vec::new();
        for (from, bytes) in arrived {
            response.clear();
            let event =
                self.endpoint.handle(now, from, None, None, BytesMut::from(&bytes[..]), &mut response);
            match event {
                Some(DatagramEvent::ConnectionEvent(_, event)) => {
                    if let Some((_, connection)) = &mut self.connection {
                        connection.handle_event(event);
                    }
                }
                Some(DatagramEvent::NewConnection(incoming)) => {
                    response.clear();
                    match self.endpoint.accept(incoming, now, &mut response, None) {
                        Ok(accepted) => self.connection = Some(accepted),
                        Err(fault) => self.events.push(format!("refused: {}", fault.cause)),
                    }
                }
                Some(DatagramEvent::Response(transmit)) => {
                    self.io.send(transmit.destination, &response[..transmit.size], transmit.size);
                }
                None => {}
            }
        }
        self.drive(now);
    }

    fn drive(&mut self, now: Instant) {
        let Some((handle, connection)) = &mut self.connection else { return };
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            connection.handle_timeout(now);
        }
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            if let Event::Stream(quinn_proto::StreamEvent::Opened { dir }) = event {
                while connection.streams().accept(dir).is_some() {}
            }
            self.events.push(format!("{event:?}"));
        }
        let mut buffer = Vec::new();
        while let Some(transmit) = connection.poll_transmit(now, 1, &mut buffer) {
            self.io.send(transmit.destination, &buffer[..transmit.size], transmit.size);
            buffer.clear();
        }
    }
}

/// The ALPN name of WIRE.md, version 1.
pub fn protocol(cluster: [u8; 32], shard: u16) -> Vec<u8> {
    let mut name = b"io_oi/1 ".to_vec();
    name.extend_from_slice(&cluster);
    name.extend_from_slice(&shard.to_le_bytes());
    name
}

pub fn right_protocol() -> Vec<u8> {
    protocol(CLUSTER, SHARD)
}

/// How a member with this key dials, with any protocol name.
pub fn dialler(node: &Node, protocol: Vec<u8>) -> ClientConfig {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_cert_resolver(Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(
            certified(node),
        )));
    tls.alpn_protocols = vec![protocol];
    tls.enable_sni = false;
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(Arc::new(generous()));
    config
}

/// How a member with this key listens: to anybody.
pub fn listener(node: &Node, protocol: Vec<u8>) -> ServerConfig {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(Arc::new(rustls::server::AlwaysResolvesServerRawPublicKeys::new(certified(
            node,
        ))));
    tls.alpn_protocols = vec![protocol];
    let token = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&[2; 32]);
    let mut config = ServerConfig::new(Arc::new(QuicServerConfig::try_from(tls).unwrap()), Arc::new(token));
    config.transport_config(Arc::new(generous()));
    config
}

fn generous() -> TransportConfig {
    let mut config = TransportConfig::default();
    config.max_concurrent_uni_streams(VarInt::from_u32(100));
    config
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certified(node: &Node) -> Arc<CertifiedKey> {
    let mut pkcs8 =
        vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    pkcs8.extend_from_slice(&node.secret);
    let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    spki.extend_from_slice(&node.key);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
    let signing = provider().key_provider.load_private_key(key).unwrap();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signing))
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
