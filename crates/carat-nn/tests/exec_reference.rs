//! The oracle itself: hand-computed examples for each primitive, and random programs that stay in their ranges.

mod exec_support;

use carat_nn::exec::reference;
use exec_support::{Builder, KINDS, Rng, build, inputs};
use std::collections::BTreeSet;

/// Every primitive occurs among random programs, every value stays in its proven range, and no program is trivial.
#[test]
fn random_programs_reach_every_primitive() {
    let mut seen = BTreeSet::new();
    let mut nodes = 0;
    for case in 0..400u64 {
        let mut rng = Rng(case);
        let recipe: Vec<_> = (0..rng.below(10) + 2)
            .map(|_| (rng.below(KINDS.into()) as u8, rng.next()))
            .collect();
        let (program, weights) = build(rng.next(), &recipe);
        let x = inputs(&program, &mut rng);
        reference::run(&program, &weights, &x).unwrap();
        seen.extend(program.nodes.iter().map(|n| n.op.name()));
        nodes += program.nodes.len();
    }
    assert_eq!(
        seen.len(),
        22,
        "21 primitives, one of them with two names: {seen:?}"
    );
    assert!(nodes > 2000, "only {nodes} nodes");
    let _ = Builder::new(0);
}
