//! The tree against vectors and implementations that are not ours.

use carat_log::{
    ConsistencyProof, Hash, InclusionProof, MemoryTree, ProofError, TreeError, empty_root,
    leaf_hash,
};

fn hash(hex_text: &str) -> Hash {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex_text, &mut bytes).expect("vector is hex");
    Hash::new(bytes)
}

fn hashes(hex_texts: &[&str]) -> Vec<Hash> {
    hex_texts.iter().map(|text| hash(text)).collect()
}

/// The eight leaves of the reference tree of Certificate Transparency
/// (google/certificate-transparency, `merkle_tree_test.cc`).
fn reference_leaves() -> Vec<Vec<u8>> {
    [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    .iter()
    .map(|text| hex::decode(text).expect("vector is hex"))
    .collect()
}

const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn reference_tree() -> MemoryTree {
    MemoryTree::from_leaves(reference_leaves().iter().map(Vec::as_slice))
}

#[test]
fn reference_roots() {
    assert_eq!(
        empty_root(),
        hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    );
    let tree = reference_tree();
    assert_eq!(tree.root(0), Ok(empty_root()));
    for (size, root) in (1..).zip(ROOTS) {
        assert_eq!(tree.root(size), Ok(hash(root)), "size {size}");
    }
    assert_eq!(
        tree.root(9),
        Err(TreeError::NoSuchSize { asked: 9, have: 8 })
    );
}

#[test]
fn reference_inclusion_paths() {
    // (zero-based leaf, tree size, path)
    let vectors: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            3,
            &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        ),
        (
            1,
            5,
            &[
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    let (tree, leaves) = (reference_tree(), reference_leaves());
    for (index, size, path) in vectors {
        let want = InclusionProof {
            index,
            size,
            path: hashes(path),
        };
        assert_eq!(tree.prove_inclusion(index, size), Ok(want.clone()));
        let leaf = leaf_hash(&leaves[index as usize]);
        assert_eq!(
            want.verify_root(leaf, hash(ROOTS[size as usize - 1])),
            Ok(())
        );
    }
}

#[test]
fn reference_consistency_proofs() {
    let vectors: [(u64, u64, &[&str]); 5] = [
        (1, 1, &[]),
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
        // transparency-dev/merkle, testdata/consistency/4/happy-path.json
        (
            6,
            7,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
    ];
    let tree = reference_tree();
    for (from, to, path) in vectors {
        let want = ConsistencyProof {
            from,
            to,
            path: hashes(path),
        };
        assert_eq!(
            tree.prove_consistency(from, to),
            Ok(want.clone()),
            "{from} to {to}"
        );
        assert_eq!(
            want.verify_roots(hash(ROOTS[from as usize - 1]), hash(ROOTS[to as usize - 1])),
            Ok(())
        );
    }
}

/// The root by the recursion of RFC 9162 section 2.1.1, word for word: shares
/// no code with the crate but the two hash functions.
fn recursive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            carat_log::node_hash(recursive_root(&leaves[..k]), recursive_root(&leaves[k..]))
        }
    }
}

fn numbered(count: u64) -> (Vec<Hash>, MemoryTree) {
    let leaves: Vec<Hash> = (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect();
    let mut tree = MemoryTree::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    (leaves, tree)
}

const EXHAUSTIVE: u64 = 70;

#[test]
fn every_inclusion_proof_up_to_70() {
    let (leaves, tree) = numbered(EXHAUSTIVE);
    for size in 1..=EXHAUSTIVE {
        let root = recursive_root(&leaves[..size as usize]);
        assert_eq!(tree.root(size), Ok(root));
        for index in 0..size {
            let proof = tree.prove_inclusion(index, size).expect("in range");
            let leaf = leaves[index as usize];
            assert_eq!(proof.verify_root(leaf, root), Ok(()));
            refuse_changed_inclusion(&proof, leaf, root);
        }
        assert!(tree.prove_inclusion(size, size).is_err());
    }
}

fn refuse_changed_inclusion(proof: &InclusionProof, leaf: Hash, root: Hash) {
    let refused = |proof: &InclusionProof, why: &str| {
        assert!(proof.verify_root(leaf, root).is_err(), "{why}: {proof:?}");
    };
    for at in 0..proof.path.len() {
        // One bit of every byte of every hash.
        for byte in 0..32 {
            let mut changed = proof.clone();
            let mut bytes = *changed.path[at].as_bytes();
            bytes[byte] ^= 1 << (byte % 8);
            changed.path[at] = Hash::new(bytes);
            refused(&changed, "changed byte");
        }
        let mut shorter = proof.clone();
        shorter.path.remove(at);
        refused(&shorter, "hash removed");
        let mut longer = proof.clone();
        longer.path.insert(at, root);
        refused(&longer, "hash inserted");
    }
    let mut longer = proof.clone();
    longer.path.push(root);
    assert_eq!(
        longer.verify_root(leaf, root),
        Err(ProofError::WrongLength {
            found: proof.path.len() + 1
        })
    );
    for index in [
        proof.index + 1,
        proof.index ^ 1,
        proof.index ^ 2,
        proof.size,
        u64::MAX,
    ] {
        let changed = InclusionProof {
            index,
            ..proof.clone()
        };
        refused(&changed, "other index");
    }
    refused(
        &InclusionProof {
            size: 0,
            ..proof.clone()
        },
        "empty tree",
    );
    assert!(
        proof.verify_root(root, root).is_err() || proof.path.is_empty(),
        "root as leaf"
    );
    assert!(proof.verify_root(leaf, empty_root()).is_err());
}

#[test]
fn every_consistency_proof_up_to_70() {
    let (leaves, tree) = numbered(EXHAUSTIVE);
    let roots: Vec<Hash> = (0..=EXHAUSTIVE)
        .map(|n| recursive_root(&leaves[..n as usize]))
        .collect();
    for to in 0..=EXHAUSTIVE {
        for from in 0..=to {
            let proof = tree.prove_consistency(from, to).expect("in range");
            let (old, new) = (roots[from as usize], roots[to as usize]);
            assert_eq!(proof.verify_roots(old, new), Ok(()), "{from} to {to}");
            refuse_changed_consistency(&proof, old, new);
        }
    }
    assert_eq!(
        tree.prove_consistency(3, 2),
        Err(TreeError::SizesReversed { from: 3, to: 2 })
    );
}

fn refuse_changed_consistency(proof: &ConsistencyProof, old: Hash, new: Hash) {
    let refused = |proof: &ConsistencyProof, why: &str| {
        assert!(proof.verify_roots(old, new).is_err(), "{why}: {proof:?}");
    };
    for at in 0..proof.path.len() {
        for byte in 0..32 {
            let mut changed = proof.clone();
            let mut bytes = *changed.path[at].as_bytes();
            bytes[byte] ^= 1 << (byte % 8);
            changed.path[at] = Hash::new(bytes);
            refused(&changed, "changed byte");
        }
        let mut shorter = proof.clone();
        shorter.path.remove(at);
        refused(&shorter, "hash removed");
        let mut longer = proof.clone();
        longer.path.insert(at, new);
        refused(&longer, "hash inserted");
    }
    let mut longer = proof.clone();
    longer.path.push(new);
    assert_eq!(
        longer.verify_roots(old, new),
        Err(ProofError::WrongLength {
            found: longer.path.len()
        })
    );
    if proof.from == 0 {
        // Nothing was signed of an empty tree but its root.
        assert!(proof.verify_roots(new, new).is_err() || proof.to == 0);
        return;
    }
    let mut other = *old.as_bytes();
    other[0] ^= 1;
    assert!(proof.verify_roots(Hash::new(other), new).is_err());
    assert!(proof.verify_roots(old, Hash::new(other)).is_err());
    assert!(proof.verify_roots(new, old).is_err() || old == new);
    refused(
        &ConsistencyProof {
            from: proof.to + 1,
            ..proof.clone()
        },
        "reversed",
    );
}

/// A proof made for one pair of sizes must not hold for the roots of another.
#[test]
fn consistency_proof_of_other_sizes() {
    let (leaves, tree) = numbered(20);
    let roots: Vec<Hash> = (0..=20).map(|n| recursive_root(&leaves[..n])).collect();
    for to in 1..=20u64 {
        for from in 1..to {
            let proof = tree.prove_consistency(from, to).expect("in range");
            for claimed in (1..to).filter(|claimed| *claimed != from) {
                let forged = ConsistencyProof {
                    from: claimed,
                    ..proof.clone()
                };
                assert!(
                    forged
                        .verify_roots(roots[from as usize], roots[to as usize])
                        .is_err()
                );
            }
        }
    }
}

/// Sizes no memory holds: a path that is right for the largest trees, and no
/// overflow or endless loop at the edge of 64 bits.
#[test]
fn largest_sizes_terminate() {
    let hash = leaf_hash(b"x");
    for index in [0, 1, u64::MAX / 2, u64::MAX - 2, u64::MAX - 1, u64::MAX] {
        for count in 0..66 {
            let proof = InclusionProof {
                index,
                size: u64::MAX,
                path: vec![hash; count],
            };
            let _ = proof.root(hash);
            let proof = ConsistencyProof {
                from: index,
                to: u64::MAX,
                path: vec![hash; count],
            };
            assert!(proof.verify_roots(hash, hash).is_err() || index == u64::MAX && count == 0);
        }
    }
    let deepest = InclusionProof {
        index: 0,
        size: u64::MAX,
        path: vec![hash; 64],
    };
    assert!(deepest.root(hash).is_ok());
}

/// `tlog_tiles` is an independent implementation (a port of Go's `sumdb/tlog`).
#[test]
fn agrees_with_tlog_tiles() {
    use tlog_tiles as other;
    struct Storage(Vec<other::Hash>);
    impl other::HashReader for Storage {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<other::Hash>, other::Error> {
            Ok(indexes
                .iter()
                .map(|&index| self.0[index as usize])
                .collect())
        }
    }
    let (mut storage, mut tree) = (Storage(Vec::new()), MemoryTree::new());
    for i in 0..300u64 {
        let leaf = i.to_le_bytes();
        let new = other::stored_hashes(i, &leaf, &storage).expect("oracle accepts");
        storage.0.extend(new);
        tree.push(leaf_hash(&leaf));
    }
    let theirs = |hashes: &[Hash]| -> Vec<other::Hash> {
        hashes
            .iter()
            .map(|hash| other::Hash(*hash.as_bytes()))
            .collect()
    };
    for size in [1, 2, 3, 64, 127, 128, 129, 255, 256, 257, 299, 300] {
        let root = tree.root(size).expect("in range");
        assert_eq!(
            other::tree_hash(size, &storage).expect("oracle").0,
            *root.as_bytes()
        );
        for index in (0..size).step_by(7).chain([size - 1]) {
            let ours = tree.prove_inclusion(index, size).expect("in range");
            assert_eq!(
                other::prove_record(size, index, &storage).expect("oracle"),
                theirs(&ours.path)
            );
            let theirs = other::prove_record(size, index, &storage).expect("oracle");
            let path = theirs.iter().map(|hash| Hash::new(hash.0)).collect();
            let leaf = leaf_hash(&index.to_le_bytes());
            assert_eq!(
                InclusionProof { index, size, path }.verify_root(leaf, root),
                Ok(())
            );
        }
        for from in (1..=size).step_by(5) {
            let ours = tree.prove_consistency(from, size).expect("in range");
            assert_eq!(
                other::prove_tree(size, from, &storage).expect("oracle"),
                theirs(&ours.path)
            );
        }
    }
}
