//! The prover's half of the fractional-sum argument; see [`crate::gkr`].

use crate::{
    field::E,
    kernels::fractions::{Above, Leaves},
    transcript::Sink,
};

/// A claim on a layer: its numerators and its denominators at one point.
struct Claim {
    numerator: E,
    denominator: E,
    point: Vec<E>,
}

impl Claim {
    /// One layer down, by a sumcheck that gives a point and both halves' numerators and denominators there.
    fn descend(
        &mut self,
        sink: &mut Sink,
        layer: impl FnOnce(&mut Sink, E, &[E], E) -> (Vec<E>, [E; 4]),
    ) {
        let mix = sink.transcript.challenge();
        let claim = self.numerator + mix * self.denominator;
        let (at, [n0, n1, d0, d1]) = layer(sink, claim, &self.point, mix);
        sink.send("halves", &[n0, n1, d0, d1]);
        let t = sink.transcript.challenge();
        self.numerator = n0 + t * (n1 - n0);
        self.denominator = d0 + t * (d1 - d0);
        self.point = [vec![t], at].concat();
    }
}

/// Proves that the fractions of the leaves sum to zero. Returns the point at which both leaf polynomials are claimed.
pub(crate) fn prove(sink: &mut Sink, leaves: Leaves) -> Vec<E> {
    let mut layers = Vec::new();
    let mut above = leaves.above();
    let mut claim = loop {
        match above {
            Above::Layer(layer) => {
                above = layer.above();
                layers.push(layer);
            }
            Above::Root {
                numerator,
                denominator,
            } => {
                break Claim {
                    numerator,
                    denominator,
                    point: Vec::new(),
                };
            }
        }
    };
    sink.send_nonzero("root denominator", claim.denominator);
    while let Some(layer) = layers.pop() {
        claim.descend(sink, |sink, sum, z, mix| layer.prove(sink, sum, z, mix));
    }
    if leaves.numerators.len() > 1 {
        claim.descend(sink, |sink, sum, z, mix| leaves.prove(sink, sum, z, mix));
    }
    claim.point
}
