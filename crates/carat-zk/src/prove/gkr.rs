//! The prover's half of the fractional-sum argument; see [`crate::gkr`].

use super::lookups::{lift, unpack};
use crate::{
    field::{E, F},
    kernels::{GRAIN, Layer, P, Vector, WIDTH, add_scaled, eq_products},
    transcript::Sink,
};
use p3_field::{Field, PackedValue, PrimeCharacteristicRing};
use rayon::prelude::*;

/// The leaves: numerators are in the base field. A last register may be filled in part.
pub(crate) struct Leaves {
    pub(crate) numerators: Vec<F>,
    pub(crate) denominators: Vec<P>,
}

impl Leaves {
    /// The layer above, or `None` if the leaves are too few to be packed.
    fn above(&self) -> Option<Layer> {
        let half = self.numerators.len() / 2;
        if half < 2 * WIDTH {
            return None;
        }
        let numerators = <F as Field>::Packing::pack_slice(&self.numerators);
        let (n0, n1) = numerators.split_at(numerators.len() / 2);
        let (d0, d1) = self.denominators.split_at(numerators.len() / 2);
        let mut up = (vec![P::ZERO; n0.len()], vec![P::ZERO; n0.len()]);
        up.0.par_chunks_mut(GRAIN)
            .zip(up.1.par_chunks_mut(GRAIN))
            .enumerate()
            .for_each(|(c, (n, d))| {
                for (k, (n, d)) in n.iter_mut().zip(d).enumerate() {
                    let i = c * GRAIN + k;
                    *n = d1[i] * n0[i] + d0[i] * n1[i];
                    *d = d0[i] * d1[i];
                }
            });
        Some(Layer {
            numerators: Vector::Packed(up.0),
            denominators: Vector::Packed(up.1),
        })
    }

    fn into_layer(self) -> Layer {
        if self.numerators.len() < 2 * WIDTH {
            let n = self.numerators.len();
            return Layer {
                numerators: Vector::Plain(self.numerators.iter().map(|&v| v.into()).collect()),
                denominators: Vector::Plain(unpack(&self.denominators, n)),
            };
        }
        Layer {
            numerators: Vector::Packed(lift(&self.numerators)),
            denominators: Vector::Packed(self.denominators),
        }
    }
}

/// Proves that the fractions of the leaves sum to zero. Returns the point at which both leaf polynomials are claimed.
pub(crate) fn prove(sink: &mut Sink, leaves: Leaves) -> Vec<E> {
    let mut layers = Vec::new();
    match leaves.above() {
        Some(above) => {
            layers.push(None);
            layers.push(Some(above));
        }
        None => layers.push(None),
    }
    let mut leaves = Some(leaves);
    if layers.len() == 1 {
        layers[0] = leaves.take().map(Leaves::into_layer);
    }
    while let Some(last) = layers.last().and_then(Option::as_ref)
        && last.numerators.len() > 1
    {
        let above = last.above();
        layers.push(Some(above));
    }
    let root = layers
        .pop()
        .flatten()
        .expect("every layer but the leaves is there");
    sink.send("root denominator", &[root.denominators.single()]);
    let mut point = Vec::new();
    let (mut numerator, mut denominator) = (root.numerators.single(), root.denominators.single());
    while let Some(layer) = layers.pop() {
        // The leaves are lifted to the extension only when their turn comes.
        let Some(layer) = layer.or_else(|| leaves.take().map(Leaves::into_layer)) else {
            break;
        };
        let mix = sink.transcript.challenge();
        let claim = numerator + mix * denominator;
        let (n0, n1) = layer.numerators.halves();
        let (d0, d1) = layer.denominators.halves();
        // n0 d1 + n1 d0 + mix d0 d1 = n0 d1 + (n1 + mix d1) d0
        let mut mixed = n1;
        add_scaled(&mut mixed, &d1, mix);
        let (at, ends) = eq_products(sink, claim, &point, vec![[n0, d1], [mixed, d0]]);
        let ([n0, d1], [mixed, d0]) = (ends[0], ends[1]);
        let n1 = mixed - mix * d1;
        sink.send("halves", &[n0, n1, d0, d1]);
        let t = sink.transcript.challenge();
        numerator = n0 + t * (n1 - n0);
        denominator = d0 + t * (d1 - d0);
        point = vec![t];
        point.extend(at);
    }
    point
}
