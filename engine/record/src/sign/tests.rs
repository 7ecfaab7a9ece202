//! Known answers for the signature scheme itself; statements are tested in `tests/record/signatures.rs`.

use super::*;
use std::vec::Vec;

/// RFC 8032 section 7.1: secret, public, message, signature.
const RFC_8032: [[&str; 4]; 4] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
    [
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ],
];

/// The eight points of small order, in their canonical encodings.
const SMALL_ORDER: [&str; 8] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn unhex_fixed<const BYTES: usize>(text: &str) -> [u8; BYTES] {
    unhex(text).try_into().expect("as many digits as bytes")
}

#[test]
fn the_rfc_8032_vectors_sign_and_verify() {
    for [secret, public, message, signature] in RFC_8032 {
        let signer = Signer::from_secret(&unhex_fixed(secret));
        assert_eq!(signer.node().0, unhex_fixed(public));
        let message = unhex(message);
        assert_eq!(signer.key.sign(&message).to_bytes(), unhex_fixed(signature));
        let key = VerifyingKey::new(&unhex_fixed(public)).expect("a proper key");
        assert_eq!(key.verify_bytes(&message, &Signature(unhex_fixed(signature))), Ok(()));
    }
}

#[test]
fn the_wycheproof_cases_are_judged_as_they_should_be() {
    let mut cases = 0;
    let lines = include_str!("../../golden/wycheproof_ed25519.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let [id, result, key, message, signature] =
            line.split(' ').map(|word| if word == "-" { "" } else { word }).collect::<Vec<_>>()[..]
        else {
            panic!("five words expected: {line}")
        };
        // A signature of another length is no `Signature` here, so that the type refuses it.
        let verified = <[u8; 64]>::try_from(unhex(signature)).is_ok_and(|signature| {
            VerifyingKey::new(&unhex_fixed(key))
                .and_then(|key| key.verify_bytes(&unhex(message), &Signature(signature)))
                .is_ok()
        });
        assert_eq!(verified, result == "valid", "case {id}");
        cases += 1;
    }
    assert_eq!(cases, 151);
}

#[test]
fn keys_of_small_order_are_refused() {
    for key in SMALL_ORDER {
        assert_eq!(VerifyingKey::new(&unhex_fixed(key)), Err(VerifyError::KeyUnusable), "{key}");
    }
}

#[test]
fn a_signature_that_fits_every_message_under_a_weak_key_is_refused() {
    use ed25519_dalek::Verifier as _;
    let identity: [u8; 32] = unhex_fixed(SMALL_ORDER[0]);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&identity);
    let weak = ed25519_dalek::VerifyingKey::from_bytes(&identity).expect("a point of the curve");
    let any = ed25519_dalek::Signature::from_bytes(&signature);
    assert!(weak.verify(b"one", &any).is_ok() && weak.verify(b"two", &any).is_ok(), "what strictness is for");
    let key = VerifyingKey { key: weak };
    assert_eq!(key.verify_bytes(b"one", &Signature(signature)), Err(VerifyError::SignatureWrong));
}

#[test]
fn signatures_with_a_small_order_nonce_are_refused() {
    let key = VerifyingKey::new(&Signer::from_secret(&[7; 32]).node().0).expect("a proper key");
    for nonce in SMALL_ORDER {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&unhex_fixed::<32>(nonce));
        assert_eq!(key.verify_bytes(b"message", &Signature(signature)), Err(VerifyError::SignatureWrong));
    }
}

#[test]
fn bytes_that_are_no_point_are_no_key() {
    let mut key = [0; 32];
    key[0] = 2;
    assert_eq!(VerifyingKey::new(&key), Err(VerifyError::KeyUnusable));
}

#[test]
fn a_signer_shows_its_public_half_only() {
    let signer = Signer::from_secret(&[7; 32]);
    assert_eq!(std::format!("{signer:?}"), std::format!("Signer({})", signer.node()));
    assert_ne!(signer.derive_secret("one purpose"), signer.derive_secret("another purpose"));
}
