//! Which arbitrator judges which key, and what the set of them is called.

use io_oi_arbitrator::sdk::Context;
use io_oi_arbitrator::{Answer, Arbitrator, Engine, Registry, RegistryError};
use io_oi_guests::prebuilt::component;
use io_oi_record::limits::{ARBITRATORS_MAX, PREFIX_BYTES_MAX};

fn arbitrator(engine: &Engine, name: &str) -> Arbitrator {
    Arbitrator::admit(engine, component(name).expect("it ships")).expect("it is admitted")
}

fn judged_by(registry: &mut Registry, key: &[u8]) -> Option<(Vec<u8>, String)> {
    registry.judge_of(key).map(|(prefix, judge)| (prefix.to_vec(), judge.manifest().name.clone()))
}

#[test]
fn the_longest_prefix_decides_and_a_key_outside_has_no_judge() {
    let engine = Engine::new();
    let (all, risk, quota) =
        (arbitrator(&engine, "accept-all"), arbitrator(&engine, "risk-limit"), arbitrator(&engine, "quota"));
    let mut registry = Registry::default();
    for (prefix, judge) in [(&b"ord/"[..], &risk), (b"o", &all), (b"ord/big/", &quota)] {
        registry.set(prefix, judge).expect("there is room");
    }
    let found = |key: &[u8], registry: &mut Registry| judged_by(registry, key).map(|(prefix, _)| prefix);
    assert_eq!(found(b"ord/acct/1", &mut registry), Some(b"ord/".to_vec()));
    assert_eq!(found(b"ord/big/1", &mut registry), Some(b"ord/big/".to_vec()));
    assert_eq!(found(b"ord", &mut registry), Some(b"o".to_vec()));
    assert_eq!(found(b"px/1", &mut registry), None);
    assert!(registry.remove(b"ord/") && !registry.remove(b"ord/"));
    assert_eq!(judged_by(&mut registry, b"ord/acct/1"), Some((b"o".to_vec(), "accept-all".to_owned())));
}

#[test]
fn a_set_has_the_same_name_in_whatever_order_it_was_made() {
    let engine = Engine::new();
    let (all, risk) = (arbitrator(&engine, "accept-all"), arbitrator(&engine, "risk-limit"));
    let make = |entries: &[(&[u8], &Arbitrator)]| {
        let mut registry = Registry::default();
        for (prefix, judge) in entries {
            registry.set(prefix, judge).expect("there is room");
        }
        registry
    };
    let one = make(&[(b"a/", &all), (b"b/", &risk)]);
    let other = make(&[(b"b/", &all), (b"a/", &all), (b"b/", &risk)]);
    assert_eq!(one.hash(), other.hash());
    assert_ne!(one.hash(), make(&[(b"a/", &risk), (b"b/", &all)]).hash());
    assert_ne!(one.hash(), Registry::default().hash());
}

#[test]
fn one_component_has_one_instance_however_many_prefixes_it_judges() {
    let all = arbitrator(&Engine::new(), "accept-all");
    let mut registry = Registry::default();
    for number in 0..ARBITRATORS_MAX {
        registry.set(format!("p{number}/").as_bytes(), &all).expect("there is room");
    }
    assert_eq!(registry.pool().iter().count(), 1);
    assert_eq!(registry.set(b"one/too/many/", &all), Err(RegistryError::Full));
    assert_eq!(registry.set(b"p0/", &all), Ok(()), "in place of itself");
    let long = vec![b'x'; PREFIX_BYTES_MAX + 1];
    assert!(matches!(registry.set(&long, &all), Err(RegistryError::PrefixTooLong { .. })));
    let (_, judge) = registry.judge_of(b"p7/key").expect("it has a judge");
    assert_eq!(judge.decide(&Context::default(), &[], b"anything").answer, Answer::Accept);
}
