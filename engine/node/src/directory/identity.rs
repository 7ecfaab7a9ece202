//! Who this node is: its key, its cluster, its boot.
//!
//! Order of a founding: boot number, key, genesis. A crash in between leaves no genesis, and the next start founds
//! again with the same key. A member of a larger cluster finds key and genesis placed before its first start. Once a log
//! stands beside them, the boot number must stand, too.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use io_oi_record::genesis::{ControlMode, Genesis, Member, TrustMode};
use io_oi_record::token::TokenKey;
use io_oi_record::{ClusterId, Nanos, NodeId, ShardId, Signature, SignedGenesis, Signer};

use super::durable::replace;
use super::{Directory, DirectoryError, Founding};

/// What the directory says about its node.
#[derive(Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node's public key.
    pub node: NodeId,
    /// The signed birth of the cluster.
    pub genesis: SignedGenesis,
    /// How often a node started here, this time included.
    pub boot: u32,
    /// Makes and checks session tokens.
    pub tokens: TokenKey,
    secret: Secret,
}

impl Identity {
    /// A signer for one shard's thread.
    pub(crate) fn signer(&self) -> Signer {
        Signer::from_secret(&self.secret.0)
    }

    /// The private key itself, for the endpoint that proves it to peers.
    pub(crate) fn secret(&self) -> [u8; 32] {
        self.secret.0
    }

    /// This node as the genesis names it; `None` for one that joined later.
    pub fn member(&self) -> Option<&Member> {
        self.genesis.genesis.member(&self.node)
    }

    /// Every shard of the cluster.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.genesis.genesis.shards).map(ShardId)
    }

    pub(super) fn load_or_found(dir: &Path, founding: &Founding<'_>) -> Result<Self, DirectoryError> {
        let genesis_path = dir.join("genesis");
        let is_founded = genesis_path.exists();
        if !is_founded {
            refuse_orphans(dir, &genesis_path)?;
        }
        // What is placed is looked at before anything is written: a wrong genesis changes nothing.
        let placed = if is_founded { Some(load_genesis(&genesis_path)?) } else { None };
        let is_alone = placed.as_ref().is_none_or(|placed| stands_alone(&placed.genesis));
        let boot = count_boot(dir, is_founded, if is_alone { 0 } else { seconds(founding.now) })?;
        let secret = load_or_make_key(dir, is_founded)?;
        let signer = Signer::from_secret(&secret.0);
        let genesis = match placed {
            Some(placed) => placed,
            None => found(&genesis_path, founding, &signer)?,
        };
        check(dir, &genesis, &signer, founding)?;
        let cluster = genesis.genesis.cluster();
        Ok(Self { cluster, node: signer.node(), genesis, boot, tokens: TokenKey::of(&signer), secret })
    }
}

/// 32 secret bytes that never show in a log.
struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Logs without a genesis are somebody's data: founding anew beside them would bury it.
fn refuse_orphans(dir: &Path, genesis: &Path) -> Result<(), DirectoryError> {
    if !has_log(dir) {
        return Ok(());
    }
    Err(DirectoryError::Missing {
        path: genesis.to_owned(),
        beside: dir.join("shard-0"),
        what: "restore the genesis that these logs belong to, or move the logs away to found a new cluster",
    })
}

/// A cluster of one that nobody else can reach: only the key that founded it belongs there.
pub(crate) fn stands_alone(genesis: &Genesis) -> bool {
    genesis.members.len() == 1 && genesis.members.iter().all(|member| member.address.is_empty())
}

fn seconds(now: Nanos) -> u32 {
    u32::try_from(now.get() / 1_000_000_000).unwrap_or(u32::MAX - 1)
}

/// Goes past the last boot number, and past `floor`, and makes that durable.
///
/// Other nodes remember the sessions that this one named after its boots. So where there are others, the number also goes
/// past the clock's seconds: a directory restored from a backup names none of its later boots again.
fn count_boot(dir: &Path, is_founded: bool, floor: u32) -> Result<u32, DirectoryError> {
    let path = dir.join("boot");
    let last = match std::fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse::<u32>()
            .map_err(|_| DirectoryError::damaged(&path, "it is not a decimal number"))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !(is_founded && has_log(dir)) => 0,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DirectoryError::Missing {
                path,
                beside: dir.join("shard-0"),
                what: "session ids could be given out twice. Write a number above every earlier start into it \
                       (the log of the last start names its number)",
            });
        }
        Err(error) => return Err(DirectoryError::io("read", &path, error)),
    };
    let next = last.checked_add(1).ok_or_else(|| DirectoryError::damaged(&path, "the number is used up"))?;
    let boot = next.max(floor);
    place_boot(dir, boot)?;
    Ok(boot)
}

/// Whether a node has written a log here.
fn has_log(dir: &Path) -> bool {
    std::fs::read_dir(dir.join("shard-0")).is_ok_and(|mut entries| entries.next().is_some())
}

fn load_or_make_key(dir: &Path, is_founded: bool) -> Result<Secret, DirectoryError> {
    let path = dir.join("node.key");
    match std::fs::metadata(&path) {
        Ok(_) => read_key(&path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_founded => write_key(&path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(DirectoryError::Missing {
            path,
            beside: dir.join("genesis"),
            what: "the node's key belongs beside its genesis. Restore it from a backup; for a node that never ran, make one \
                   (`io_oi genesis key`) and let the operators name it",
        }),
        Err(error) => Err(DirectoryError::io("read", &path, error)),
    }
}

fn read_key(path: &Path) -> Result<Secret, DirectoryError> {
    let io = |error| DirectoryError::io("read", path, error);
    let mode = std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(DirectoryError::KeyExposed { path: path.to_owned(), mode });
    }
    parse_key(path, std::fs::read_to_string(path).map_err(io)?.trim())
}

fn parse_key(path: &Path, text: &str) -> Result<Secret, DirectoryError> {
    // Any 32 bytes in hexadecimal; the hash type happens to read exactly that.
    let bytes: io_oi_record::Hash = text.parse().map_err(|error| DirectoryError::damaged(path, error))?;
    Ok(Secret(bytes.0))
}

fn write_key(path: &Path) -> Result<Secret, DirectoryError> {
    let secret = Secret(random()?);
    keep_key(path, &secret)?;
    Ok(secret)
}

fn keep_key(path: &Path, secret: &Secret) -> Result<(), DirectoryError> {
    let text = format!("{}\n", io_oi_record::Hash(secret.0));
    replace(path, text.as_bytes(), 0o600).map_err(|error| DirectoryError::io("write", path, error))
}

/// Puts a key into a directory that has none: a copy of this file, or else a new one.
pub(crate) fn place_key(dir: &Path, file: Option<&Path>) -> Result<NodeId, DirectoryError> {
    let path = dir.join("node.key");
    let secret = match file {
        Some(file) => {
            let secret = read_key(file)?;
            keep_key(&path, &secret)?;
            secret
        }
        None => write_key(&path)?,
    };
    Ok(Signer::from_secret(&secret.0).node())
}

/// Writes how often a node has started in a directory; the next start is the one after.
pub(crate) fn place_boot(dir: &Path, boot: u32) -> Result<(), DirectoryError> {
    let path = dir.join("boot");
    replace(&path, format!("{boot}\n").as_bytes(), 0o644)
        .map_err(|error| DirectoryError::io("write", &path, error))
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], DirectoryError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| DirectoryError::Io {
        verb: "read random bytes from",
        path: PathBuf::from("the kernel"),
        error: std::io::Error::other(error.to_string()),
    })?;
    Ok(bytes)
}

/// Reads a genesis that all its operators have signed.
pub(crate) fn load_genesis(path: &Path) -> Result<SignedGenesis, DirectoryError> {
    let bytes = std::fs::read(path).map_err(|error| DirectoryError::io("read", path, error))?;
    let genesis = SignedGenesis::decode(&bytes).map_err(|error| DirectoryError::damaged(path, error))?;
    check_signatures(path, &genesis)?;
    Ok(genesis)
}

/// A signature that an operator still owes is all zero: that is no damage, and there is something else to do.
fn check_signatures(path: &Path, signed: &SignedGenesis) -> Result<(), DirectoryError> {
    let needed = signed.genesis.operators.len();
    let given = |signature: &&Signature| signature.0.iter().any(|byte| *byte != 0);
    let found = signed.signatures.iter().filter(given).count();
    if found < needed {
        return Err(DirectoryError::Unsigned { path: path.to_owned(), needed, found });
    }
    signed.verify().map(drop).map_err(|error| DirectoryError::damaged(path, error))
}

/// Makes the node's key, or finds the one that is there. The directory is made when it is missing.
///
/// # Errors
/// A node runs there, the key is damaged or readable by others, or the system refuses.
pub fn make_key(dir: &Path) -> Result<NodeId, DirectoryError> {
    let _directory = Directory::open(dir)?;
    let secret = load_or_make_key(dir, false)?;
    Ok(Signer::from_secret(&secret.0).node())
}

/// Places the genesis of the cluster that this directory's node is to belong to, beside the key made before.
///
/// # Errors
/// A node runs there, it belongs to another cluster or was one of its own already, the key is missing, or the genesis is
/// not signed by all its operators.
pub fn install_genesis(dir: &Path, genesis: &SignedGenesis) -> Result<(), DirectoryError> {
    let _directory = Directory::open(dir)?;
    let path = dir.join("genesis");
    check_signatures(&path, genesis)?;
    load_or_make_key(dir, true)?;
    if path.exists() {
        let (here, given) = (load_genesis(&path)?.genesis.cluster(), genesis.genesis.cluster());
        if here != given {
            return Err(DirectoryError::GenesisDiffers { path: dir.to_owned(), here, given });
        }
        return Ok(());
    }
    refuse_orphans(dir, &path)?;
    place_genesis(dir, genesis)
}

/// Writes the genesis into a directory.
pub(crate) fn place_genesis(dir: &Path, genesis: &SignedGenesis) -> Result<(), DirectoryError> {
    let path = dir.join("genesis");
    let bytes = genesis.encode().map_err(|error| DirectoryError::damaged(&path, error))?;
    replace(&path, &bytes, 0o644).map_err(|error| DirectoryError::io("write", &path, error))
}

/// A cluster of one: the node is its only member and its only operator.
fn found(path: &Path, founding: &Founding<'_>, signer: &Signer) -> Result<SignedGenesis, DirectoryError> {
    let member =
        Member { node: signer.node(), name: founding.name.to_owned(), address: founding.address.to_owned() };
    let genesis = Genesis {
        members: vec![member],
        operators: vec![signer.operator()],
        shards: founding.shards.unwrap_or(SHARDS_DEFAULT),
        trust: TrustMode::Full,
        control: ControlMode::Strict,
        hash_seed: random()?,
        arbitrators: founding.arbitrators,
        created: founding.now,
    };
    let damaged = |error: &dyn std::fmt::Display| DirectoryError::damaged(path, error);
    let signed = SignedGenesis::sign(genesis, &[signer]).map_err(|error| damaged(&error))?;
    let bytes = signed.encode().map_err(|error| damaged(&error))?;
    replace(path, &bytes, 0o644).map_err(|error| DirectoryError::io("write", path, error))?;
    Ok(signed)
}

fn check(
    dir: &Path,
    signed: &SignedGenesis,
    signer: &Signer,
    founding: &Founding<'_>,
) -> Result<(), DirectoryError> {
    let genesis = &signed.genesis;
    let unsupported = |what: String| Err(DirectoryError::Unsupported { path: dir.to_owned(), what });
    if genesis.member(&signer.node()).is_none() && stands_alone(genesis) {
        return Err(DirectoryError::ForeignKey { path: dir.to_owned() });
    }
    if genesis.arbitrators != founding.arbitrators {
        return unsupported(format!(
            "asks for the arbitrators {}, this program has {}: run the program that has them",
            genesis.arbitrators, founding.arbitrators
        ));
    }
    match founding.shards {
        Some(config) if config != genesis.shards => {
            Err(DirectoryError::ShardsDiffer { path: dir.to_owned(), genesis: genesis.shards, config })
        }
        _ => Ok(()),
    }
}

/// One shard needs one core; more of them are the operator's choice.
const SHARDS_DEFAULT: u16 = 1;

#[cfg(test)]
mod tests {
    use super::super::LockError;
    use super::*;
    use io_oi_record::Hash;

    const FOUNDING: Founding<'static> =
        Founding { name: "n1", address: "", shards: None, arbitrators: Hash([7; 32]), now: Nanos(5) };

    fn identify(dir: &Path) -> Result<Identity, DirectoryError> {
        Directory::open(dir).unwrap().identify(&FOUNDING)
    }

    #[test]
    fn the_second_start_is_the_same_node_with_the_next_boot_number() {
        let dir = tempfile::tempdir().unwrap();
        let first = identify(dir.path()).unwrap();
        let second = identify(dir.path()).unwrap();
        assert_eq!((first.boot, second.boot), (1, 2));
        assert_eq!((first.node, first.cluster), (second.node, second.cluster));
        assert_eq!(first.shards().count(), 1);
    }

    #[test]
    fn a_second_node_in_the_directory_is_told_who_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let _held = Directory::open(dir.path()).unwrap();
        let error = Directory::open(dir.path()).unwrap_err();
        assert!(matches!(error, DirectoryError::Lock(LockError::Held { .. })));
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        identify(dir.path()).unwrap();
        let key = dir.path().join("node.key");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = identify(dir.path()).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn missing_and_damaged_files_are_named() {
        type Harm = fn(&Path);
        let cases: [(Harm, &str); 6] = [
            (|dir| std::fs::remove_file(dir.join("node.key")).unwrap(), "node.key is missing"),
            (
                |dir| {
                    std::fs::remove_file(dir.join("boot")).unwrap();
                    std::fs::create_dir(dir.join("shard-0")).unwrap();
                    std::fs::write(dir.join("shard-0/wal-0.log"), "x").unwrap();
                },
                "boot is missing",
            ),
            (|dir| std::fs::write(dir.join("boot"), "x").unwrap(), "boot is damaged"),
            (|dir| std::fs::write(dir.join("genesis"), "x").unwrap(), "genesis is damaged"),
            (
                |dir| {
                    std::fs::remove_file(dir.join("genesis")).unwrap();
                    std::fs::create_dir(dir.join("shard-0")).unwrap();
                    std::fs::write(dir.join("shard-0/wal-0.log"), "x").unwrap();
                },
                "genesis is missing",
            ),
            (
                |dir| {
                    std::fs::remove_file(dir.join("node.key")).unwrap();
                    write_key(&dir.join("node.key")).unwrap();
                },
                "not the key of the member",
            ),
        ];
        for (harm, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            identify(dir.path()).unwrap();
            harm(dir.path());
            let error = identify(dir.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} does not say: {expected}");
        }
    }

    #[test]
    fn a_crash_while_founding_is_finished_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let first = identify(dir.path()).unwrap();
        std::fs::remove_file(dir.path().join("genesis")).unwrap(); // As if it had not been written yet.
        let second = identify(dir.path()).unwrap();
        assert_eq!((second.node, second.boot), (first.node, 2));
    }

    #[test]
    fn another_number_of_shards_than_the_genesis_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        identify(dir.path()).unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let error = directory.identify(&Founding { shards: Some(3), ..FOUNDING }).unwrap_err().to_string();
        assert!(error.contains("founded with 1 shards") && error.contains('3'), "{error}");
    }

    fn genesis_of(members: &[NodeId], operators: &[&Signer]) -> Genesis {
        let member = |(index, node): (usize, &NodeId)| Member {
            node: *node,
            name: format!("n{index}"),
            address: format!("127.0.0.1:{}", 7000 + 10 * index),
        };
        Genesis {
            members: members.iter().enumerate().map(member).collect(),
            operators: operators.iter().map(|operator| operator.operator()).collect(),
            shards: 1,
            trust: TrustMode::Full,
            control: ControlMode::Strict,
            hash_seed: [1; 16],
            arbitrators: FOUNDING.arbitrators,
            created: Nanos(1),
        }
    }

    #[test]
    fn a_member_starts_from_a_key_and_a_genesis_that_were_placed() {
        let dir = tempfile::tempdir().unwrap();
        let node = make_key(dir.path()).unwrap();
        assert_eq!(make_key(dir.path()).unwrap(), node, "the key that is there stays");
        let operator = Signer::from_secret(&[9; 32]);
        let others = [Signer::from_secret(&[1; 32]).node(), Signer::from_secret(&[2; 32]).node()];
        let genesis = genesis_of(&[others[0], node, others[1]], &[&operator]);
        let signed = SignedGenesis::sign(genesis, &[&operator]).unwrap();
        install_genesis(dir.path(), &signed).unwrap();
        install_genesis(dir.path(), &signed).unwrap();
        let founding = Founding { now: Nanos(1_700_000_000_000_000_000), ..FOUNDING };
        let first = Directory::open(dir.path()).unwrap().identify(&founding).unwrap();
        assert_eq!((first.node, first.cluster), (node, signed.genesis.cluster()));
        assert_eq!(first.member().map(|member| member.address.as_str()), Some("127.0.0.1:7010"));
        assert_eq!(first.boot, 1_700_000_000, "a lost directory never names its sessions again");
        let second = Directory::open(dir.path()).unwrap().identify(&founding).unwrap();
        assert_eq!(second.boot, first.boot + 1);
    }

    #[test]
    fn a_node_that_the_genesis_does_not_name_may_join_a_cluster_that_can_be_reached() {
        let dir = tempfile::tempdir().unwrap();
        make_key(dir.path()).unwrap();
        let operator = Signer::from_secret(&[9; 32]);
        let genesis = genesis_of(&[Signer::from_secret(&[1; 32]).node()], &[&operator]);
        install_genesis(dir.path(), &SignedGenesis::sign(genesis, &[&operator]).unwrap()).unwrap();
        assert_eq!(identify(dir.path()).unwrap().member(), None);
    }

    #[test]
    fn what_cannot_be_joined_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Signer::from_secret(&[8; 32]), Signer::from_secret(&[9; 32]));
        let genesis = genesis_of(&[one.node()], &[&one, &other]);
        let mut signed = SignedGenesis::sign(genesis.clone(), &[&one, &other]).unwrap();
        let error = install_genesis(dir.path(), &signed).unwrap_err().to_string();
        assert!(error.contains("node.key is missing") && error.contains("make one"), "{error}");
        make_key(dir.path()).unwrap();
        let whole = signed.clone();
        signed.signatures[1] = Signature([0; 64]);
        let error = install_genesis(dir.path(), &signed).unwrap_err().to_string();
        assert!(error.contains("1 of 2") && error.contains("genesis sign"), "{error}");
        std::fs::write(dir.path().join("genesis"), signed.encode().unwrap()).unwrap();
        let error = identify(dir.path()).unwrap_err().to_string();
        assert!(error.contains("genesis sign"), "{error}");
        std::fs::write(dir.path().join("genesis"), whole.encode().unwrap()).unwrap();
        let other = SignedGenesis::sign(Genesis { shards: 2, ..genesis }, &[&one, &other]).unwrap();
        let error = install_genesis(dir.path(), &other).unwrap_err().to_string();
        assert!(error.contains("another directory"), "{error}");
    }
}
