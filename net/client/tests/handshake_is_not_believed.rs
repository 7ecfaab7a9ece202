//! Whatever stands at the socket, `attach` ends with a client or with an error that says what to do.

mod pretend;

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use io_oi_client::{AttachError, AttachRefusal, Client, Options};
use pretend::{Habit, PretendNode, World, place};

fn attach_to(habit: Habit) -> Result<Client, AttachError> {
    let (_dir, path) = place();
    let _node = PretendNode::start(&path, Arc::default(), habit);
    let options = Options { handshake: Duration::from_millis(300), ..Options::default() };
    Client::attach_with(&path, options)
}

fn protocol_error(habit: Habit) -> String {
    match attach_to(habit) {
        Err(AttachError::Protocol { what }) => what,
        Err(error) => panic!("another error than expected: {error}"),
        Ok(_) => panic!("attached to nonsense"),
    }
}

#[test]
fn an_honest_node_is_attached_to() {
    let client = attach_to(Habit::Honest).unwrap();
    assert_eq!(client.shards(), 1);
    assert!(client.is_attached());
}

#[test]
fn no_socket_says_that_no_node_listens() {
    let (_dir, path) = place();
    let error = Client::attach(&path).err().unwrap();
    assert!(matches!(error, AttachError::NodeAbsent { .. }), "{error}");
    assert!(error.to_string().contains("start one"), "{error}");
}

#[test]
fn patience_waits_for_a_node_that_comes_late() {
    let (_dir, path) = place();
    let late = path.clone();
    let starter = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        PretendNode::start(&late, Arc::default(), Habit::Honest)
    });
    let options = Options { patience: Duration::from_secs(20), ..Options::default() };
    assert!(Client::attach_with(&path, options).is_ok());
    drop(starter.join().unwrap());
}

#[test]
fn a_socket_of_another_type_is_no_node() {
    let (_dir, path) = place();
    let _stream = UnixListener::bind(&path).unwrap();
    assert!(matches!(Client::attach(&path), Err(AttachError::Protocol { .. })));
}

#[test]
fn a_path_too_long_for_a_socket_is_told() {
    let path = format!("/tmp/{}", "x".repeat(200));
    assert!(matches!(Client::attach(path), Err(AttachError::BadPath { .. })));
}

#[test]
fn a_refusal_carries_code_and_text() {
    for code in AttachRefusal::ALL {
        match attach_to(Habit::Refuse(code)) {
            Err(AttachError::Refused { code: found, text }) => {
                assert_eq!(found, code);
                assert_eq!(text, code.text());
            }
            other => panic!("{code}: {:?}", other.err()),
        }
    }
}

#[test]
fn garbage_instead_of_a_welcome_is_refused() {
    for garbage in [vec![0], vec![0xff; 100], vec![17, 1], vec![17; 16 * 1024]] {
        protocol_error(Habit::Say(garbage));
    }
}

#[test]
fn a_packet_larger_than_the_protocol_allows_is_refused() {
    assert!(protocol_error(Habit::Say(vec![17; 20 * 1024])).contains("cut"));
}

#[test]
fn a_node_that_hangs_up_or_stays_silent_is_told_apart() {
    assert!(matches!(attach_to(Habit::HangUp), Err(AttachError::HungUp)));
    assert!(matches!(attach_to(Habit::Silent), Err(AttachError::TimedOut)));
}

#[test]
fn doors_and_descriptors_must_be_what_they_should_be() {
    assert!(protocol_error(Habit::WrongLayout).contains("layout"));
    assert!(protocol_error(Habit::WrongDoor).contains("shard 7"));
    assert!(protocol_error(Habit::FewDescriptors).contains("4 descriptors"));
    assert!(matches!(attach_to(Habit::MixedDescriptors), Err(AttachError::Segment { segment: "hot", .. })));
    assert!(matches!(attach_to(Habit::OtherBoot), Err(AttachError::Segment { segment: "hot", .. })));
}

#[test]
fn a_node_of_another_user_is_refused_when_the_user_is_named() {
    let (_dir, path) = place();
    let _node = PretendNode::start(&path, Arc::<std::sync::Mutex<World>>::default(), Habit::Honest);
    let own = rustix::process::geteuid().as_raw();
    let named = |uid| Options { node_uid: Some(uid), ..Options::default() };
    assert!(Client::attach_with(&path, named(own)).is_ok());
    let error = Client::attach_with(&path, named(own + 1)).err().unwrap();
    assert!(matches!(error, AttachError::WrongUser { .. }), "{error}");
}

#[test]
fn options_that_contradict_the_limits_are_refused() {
    let small = Options { window_bytes: 100, ..Options::default() };
    assert!(matches!(Client::attach_with("/nowhere", small), Err(AttachError::Options { .. })));
    let named = Options { name: "x".repeat(1000), ..Options::default() };
    assert!(matches!(Client::attach_with("/nowhere", named), Err(AttachError::Options { .. })));
}
