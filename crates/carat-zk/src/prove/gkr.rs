//! The prover's half of the fractional-sum argument; see [`crate::gkr`].

use super::kernels::{Layer, Vector, add_scaled, eq_products};
use crate::{field::E, transcript::Sink};

/// Proves that the fractions of the leaves sum to zero. Returns the point at which both leaf polynomials are claimed.
pub(crate) fn prove(sink: &mut Sink, leaves: Layer) -> Vec<E> {
    let mut layers = vec![leaves];
    while layers[layers.len() - 1].numerators.len() > 1 {
        let above = layers[layers.len() - 1].above();
        layers.push(above);
    }
    let root = layers.pop().expect("at least one layer");
    sink.send("root denominator", &[root.denominators.single()]);
    let mut point = Vec::new();
    let (mut numerator, mut denominator) = (root.numerators.single(), root.denominators.single());
    while let Some(layer) = layers.pop() {
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

/// A layer from its elements.
pub(crate) fn layer(numerators: Vec<E>, denominators: Vec<E>) -> Layer {
    Layer {
        numerators: Vector::new(numerators),
        denominators: Vector::new(denominators),
    }
}
