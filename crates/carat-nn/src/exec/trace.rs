//! Everything that a run computed, and one salted root over it.

use carat_program::{Tensor, encode_tensors};
use carat_receipt::Digest;

const SALT: &str = "carat/trace-salt/v1";
const LEAF: &str = "carat/trace-leaf/v1";
const NODE: &str = "carat/trace-node/v1";
const ROOT: &str = "carat/trace/v1";

/// All values of one run on one sample, constants excepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The inputs, in program order.
    pub inputs: Vec<Tensor>,
    /// The result of each node, in program order.
    pub nodes: Vec<Tensor>,
    /// The outputs, in program order (each is also an input, a constant or a node's result).
    pub outputs: Vec<Tensor>,
}

impl Trace {
    /// The salted Merkle root over inputs and node results in program order.
    ///
    /// Leaf `i` is `Digest::of("carat/trace-leaf/v1", [salt_i, encode_tensors([tensor_i])])` with
    /// `salt_i = Digest::of("carat/trace-salt/v1", [salt, i as u64 big-endian])`, so that showing one tensor (with its
    /// own salt) says nothing about another, however few values that one could have. The tree has the shape of RFC 9162
    /// section 2.1.1 with inner nodes `Digest::of("carat/trace-node/v1", [left, right])`, and the root binds the number
    /// of leaves: `Digest::of("carat/trace/v1", [count as u64 big-endian, top])`. Constants are left out: the program's
    /// digest names them.
    #[must_use]
    pub fn root(&self, salt: &[u8; 32]) -> Digest {
        let leaves: Vec<Digest> = self
            .inputs
            .iter()
            .chain(&self.nodes)
            .enumerate()
            .map(|(i, t)| leaf(salt, i, t))
            .collect();
        let top = subtree(&leaves);
        Digest::of(
            ROOT,
            &[&(leaves.len() as u64).to_be_bytes(), top.as_bytes()],
        )
    }
}

fn leaf(salt: &[u8; 32], index: usize, tensor: &Tensor) -> Digest {
    let salt = Digest::of(SALT, &[salt, &(index as u64).to_be_bytes()]);
    Digest::of(
        LEAF,
        &[
            salt.as_bytes(),
            &encode_tensors(std::slice::from_ref(tensor)),
        ],
    )
}

fn subtree(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(NODE, &[]),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            Digest::of(NODE, &[subtree(left).as_bytes(), subtree(right).as_bytes()])
        }
    }
}
