//! How things are hashed: for tables in memory, and for the index on the disk.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use im_core::id::Uid;
use im_core::message::SendKey;
use siphasher::sip::SipHasher13;

/// A map by numbers that nobody outside chooses.
pub(super) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Multiplies and mixes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        /// 2^64 divided by the golden ratio.
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let mixed = (self.0 ^ number).wrapping_mul(GOLDEN);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// Hashes send keys under the store's own number, so that nobody can choose keys that collide. The hashes are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyHasher(pub(super) u64);

impl KeyHasher {
    /// The hash of a sender's key.
    pub(super) fn hash(self, from: &Uid, key: &SendKey) -> u64 {
        match key {
            SendKey::Client(id) => self.hash_parts(from.as_str(), b'c', id.as_str().as_bytes()),
            SendKey::Link(..) => {
                let bytes = key.to_bytes();
                self.hash_bytes(from.as_str(), &bytes)
            }
        }
    }

    /// The same, of the key's bytes.
    pub(super) fn hash_bytes(self, from: &str, key: &[u8]) -> u64 {
        match key.split_first() {
            Some((kind, rest)) => self.hash_parts(from, *kind, rest),
            None => 0,
        }
    }

    fn hash_parts(self, from: &str, kind: u8, key: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0, 0);
        hasher.write(from.as_bytes());
        hasher.write(&[0xFF, kind]);
        hasher.write(key);
        hasher.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use im_core::id::{ClientMsgId, ConnId};
    use im_proto::{CmdId, Seq};

    use super::*;

    #[test]
    fn a_keys_hash_is_the_same_in_every_build_because_it_is_stored() {
        let (alice, key) = (Uid::new("alice").unwrap(), SendKey::Client(ClientMsgId::new("k").unwrap()));
        let hash = KeyHasher(7).hash(&alice, &key);
        assert_eq!(hash, KeyHasher(7).hash_bytes("alice", b"ck"));
        assert_eq!(hash, 12_299_207_020_445_261_338);
        assert_ne!(hash, KeyHasher(8).hash(&alice, &key));
    }

    #[test]
    fn a_links_key_has_the_hash_of_its_bytes() {
        let (alice, key) = (Uid::new("alice").unwrap(), SendKey::Link(ConnId(1), CmdId(2), Seq(3)));
        assert_eq!(KeyHasher(7).hash(&alice, &key), KeyHasher(7).hash_bytes("alice", &key.to_bytes()));
    }
}
