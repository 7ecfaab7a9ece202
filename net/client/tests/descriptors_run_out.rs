//! A process at its limit of descriptors is told so, and goes on once it has room again. One test, because the limit
//! is the whole process's.

mod pretend;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use io_oi_client::{AttachError, Client};
use pretend::{Habit, PretendNode, World, place};

#[test]
fn a_client_without_descriptors_says_what_to_raise_and_keeps_its_session() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::StarvingOnce);
    let error = Client::attach(&path).err().expect("five descriptors do not fit into two places");
    assert!(matches!(error, AttachError::DescriptorsExhausted), "{error}");
    assert!(error.to_string().contains("ulimit -n"), "{error}");
    let mut client = Client::attach(&path).unwrap();
    let session = client.session();
    node.die();
    let _node = PretendNode::start(&path, world, Habit::StarvingOnce);
    let end = Instant::now() + Duration::from_secs(60);
    while client.stats().reattached == 0 {
        assert!(Instant::now() < end, "waited in vain");
        assert_eq!(client.lost_reason(), None);
        client.tend();
        std::thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(client.session(), session);
}
