//! Vectors of extension elements, packed for the widest registers of the build, and the sumcheck rounds over them.
//!
//! The first variable is the most significant index bit, so binding it combines the two halves of a vector, and every
//! loop runs over contiguous packed elements.

mod base;
pub(crate) mod compact;
mod eq_products;
pub(crate) mod fractions;
mod products;
mod step;
pub(crate) mod stripes;
pub(crate) mod terms;
mod vector;

use crate::field::{E, F};
use p3_field::{ExtensionField, Field, PackedValue};

pub(crate) use base::{add_powers, combine_base, dot_base, evaluate_base};
pub(crate) use eq_products::eq_products;
pub(crate) use products::{product, product_base, product_rounds, products, triple};
pub(crate) use vector::{Vector, add, add_scaled, dot, eq_vector, filled};

/// As many extension elements as the base field packs in a register.
pub(crate) type P = <E as ExtensionField<F>>::ExtensionPacking;

/// Lanes of [`P`].
pub(crate) const WIDTH: usize = <<F as Field>::Packing as PackedValue>::WIDTH;

/// Packed elements that one task handles.
pub(crate) const GRAIN: usize = 1 << 8;
