//! The one store of claims. A claim is pushed once and taken once.

use crate::{
    field::E,
    graph::{Graph, Id, Kind},
};
use alloc::vec::Vec;

/// A value's polynomial has this value at this point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValueClaim<V = E> {
    pub(crate) point: Vec<E>,
    pub(crate) value: V,
}

/// Open claims, per value.
#[derive(Debug)]
pub(crate) struct Claims<V = E> {
    open: Vec<Vec<ValueClaim<V>>>,
}

impl<V> Claims<V> {
    pub(crate) fn new(values: usize) -> Self {
        Self {
            open: (0..values).map(|_| Vec::new()).collect(),
        }
    }

    pub(crate) fn push(&mut self, id: Id, point: Vec<E>, value: V) {
        self.open[id].push(ValueClaim { point, value });
    }

    /// The claims on a value that are open.
    #[cfg(feature = "prover")]
    pub(crate) fn open(&self, id: Id) -> &[ValueClaim<V>] {
        &self.open[id]
    }

    pub(crate) fn take(&mut self, id: Id) -> Vec<ValueClaim<V>> {
        core::mem::take(&mut self.open[id])
    }

    /// Takes the claims on constants, as a store of their own.
    #[cfg(feature = "prover")]
    pub(crate) fn constants(&mut self, graph: &Graph) -> Self {
        let mut constants = Self::new(self.open.len());
        for (id, node) in graph.nodes.iter().enumerate() {
            if matches!(node.kind, Kind::Constant(_)) {
                constants.open[id] = self.take(id);
            }
        }
        constants
    }

    /// Takes the claims on the columns of the witness, or on the constants: (index, value, claim), by value and then in
    /// the order in which they were made.
    pub(crate) fn committed(
        &mut self,
        graph: &Graph,
        witness: bool,
    ) -> Vec<(usize, Id, ValueClaim<V>)> {
        let mut out = Vec::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            let index = match node.kind {
                Kind::Column(c) if witness => c,
                Kind::Constant(c) if !witness => c,
                _ => continue,
            };
            out.extend(self.take(id).into_iter().map(|claim| (index, id, claim)));
        }
        out
    }

    /// Whether nothing is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.iter().all(Vec::is_empty)
    }
}
