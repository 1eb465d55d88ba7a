//! Constants as steps read them.

use carat_program::{Elements, Ints, Weights};
use std::sync::OnceLock;

/// The constants of a program. They stay as the model holds them; those that steps read without packing them first, such
/// as tables of a gather, are widened when the first step does.
#[derive(Debug)]
pub(crate) struct Constants(Vec<(Elements, OnceLock<Vec<i32>>)>);

impl Constants {
    pub(crate) fn new(weights: &Weights) -> Self {
        let all = weights.data.iter().cloned();
        Self(all.map(|elements| (elements, OnceLock::new())).collect())
    }

    /// As the model holds them.
    pub(crate) fn elements(&self, c: usize) -> &Elements {
        &self.0[c].0
    }

    /// As steps read them.
    pub(crate) fn wide(&self, c: usize) -> &[i32] {
        let (elements, wide) = &self.0[c];
        match elements.ints() {
            Ints::Wide(data) => data,
            Ints::Bytes(_) => wide.get_or_init(|| elements.wide().into_owned()),
        }
    }
}
