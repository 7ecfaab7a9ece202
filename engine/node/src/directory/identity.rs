//! Who this node is: its key, its cluster, its boot.
//!
//! Order of a founding: boot number, key, genesis. A crash in between leaves no genesis, and the next start founds
//! again with the same key; once a genesis stands, key and boot number must stand, too.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use io_oi_record::genesis::{ControlMode, Genesis, Member, TrustMode};
use io_oi_record::token::TokenKey;
use io_oi_record::{ClusterId, NodeId, ShardId, SignedGenesis, Signer};

use super::durable::replace;
use super::{DirectoryError, Founding};

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
        let boot = count_boot(dir, is_founded)?;
        let secret = load_or_make_key(dir, is_founded)?;
        let signer = Signer::from_secret(&secret.0);
        let genesis =
            if is_founded { load_genesis(&genesis_path)? } else { found(&genesis_path, founding, &signer)? };
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
    let log = dir.join("shard-0");
    let mut entries = match std::fs::read_dir(&log) {
        Ok(entries) => entries,
        Err(_) => return Ok(()),
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(DirectoryError::Missing {
            path: genesis.to_owned(),
            beside: log,
            what: "restore the genesis that these logs belong to, or move the logs away to found a new cluster",
        }),
    }
}

/// Adds one to the boot number and makes that durable.
fn count_boot(dir: &Path, is_founded: bool) -> Result<u32, DirectoryError> {
    let path = dir.join("boot");
    let last = match std::fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse::<u32>()
            .map_err(|_| DirectoryError::damaged(&path, "it is not a decimal number"))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_founded => 0,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DirectoryError::Missing {
                path,
                beside: dir.join("genesis"),
                what: "session ids could be given out twice. Write a number above every earlier start into it \
                       (the log of the last start names its number)",
            });
        }
        Err(error) => return Err(DirectoryError::io("read", &path, error)),
    };
    let boot = last.checked_add(1).ok_or_else(|| DirectoryError::damaged(&path, "the number is used up"))?;
    replace(&path, format!("{boot}\n").as_bytes(), 0o644)
        .map_err(|error| DirectoryError::io("write", &path, error))?;
    Ok(boot)
}

fn load_or_make_key(dir: &Path, is_founded: bool) -> Result<Secret, DirectoryError> {
    let path = dir.join("node.key");
    match std::fs::metadata(&path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(DirectoryError::KeyExposed { path, mode });
            }
            let text =
                std::fs::read_to_string(&path).map_err(|error| DirectoryError::io("read", &path, error))?;
            parse_key(&path, text.trim())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_founded => make_key(&path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(DirectoryError::Missing {
            path,
            beside: dir.join("genesis"),
            what: "this directory belongs to the node whose key is gone. Restore the key from a backup",
        }),
        Err(error) => Err(DirectoryError::io("read", &path, error)),
    }
}

fn parse_key(path: &Path, text: &str) -> Result<Secret, DirectoryError> {
    // Any 32 bytes in hexadecimal; the hash type happens to read exactly that.
    let bytes: io_oi_record::Hash = text.parse().map_err(|error| DirectoryError::damaged(path, error))?;
    Ok(Secret(bytes.0))
}

fn make_key(path: &Path) -> Result<Secret, DirectoryError> {
    let secret = Secret(random()?);
    let text = format!("{}\n", io_oi_record::Hash(secret.0));
    replace(path, text.as_bytes(), 0o600).map_err(|error| DirectoryError::io("write", path, error))?;
    Ok(secret)
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

fn load_genesis(path: &Path) -> Result<SignedGenesis, DirectoryError> {
    let bytes = std::fs::read(path).map_err(|error| DirectoryError::io("read", path, error))?;
    let genesis = SignedGenesis::decode(&bytes).map_err(|error| DirectoryError::damaged(path, error))?;
    genesis.verify().map_err(|error| DirectoryError::damaged(path, error))?;
    Ok(genesis)
}

/// A cluster of one: the node is its only member and its only operator.
fn found(path: &Path, founding: &Founding<'_>, signer: &Signer) -> Result<SignedGenesis, DirectoryError> {
    let member = Member { node: signer.node(), name: founding.name.to_owned(), address: String::new() };
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
    if genesis.member(&signer.node()).is_none() {
        return Err(DirectoryError::ForeignKey { path: dir.to_owned() });
    }
    if genesis.members.len() > 1 {
        return unsupported(format!(
            "names {} members, this program runs clusters of one: use a newer program",
            genesis.members.len()
        ));
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
    use super::super::{Directory, LockError};
    use super::*;
    use io_oi_record::{Hash, Nanos};

    const FOUNDING: Founding<'static> =
        Founding { name: "n1", shards: None, arbitrators: Hash([7; 32]), now: Nanos(5) };

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
            (|dir| std::fs::remove_file(dir.join("boot")).unwrap(), "boot is missing"),
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
                    make_key(&dir.join("node.key")).unwrap();
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
}
