//! One hash over a fixed set of random programs, their inputs and their answers: the same on every machine, with every
//! instruction set. A change of this hash is a change of what programs mean.

mod exec_support;

use carat_nn::exec::{Executable, Options, reference};
use carat_program::encode_tensors;
use carat_receipt::Digest;
use exec_support::{KINDS, Rng, build, inputs};

const PINNED: &str = "b1c04deb839b6a88ad4b4e94809dfd02510b3c44bc86ac8af239025b1c597dfa";

#[test]
fn answers_of_fixed_programs() {
    let mut all = vec![];
    for case in 0..300u64 {
        let mut rng = Rng(0xca7a7 + case);
        let recipe: Vec<_> = (0..rng.below(10) + 2)
            .map(|_| (rng.below(KINDS.into()) as u8, rng.next()))
            .collect();
        let (program, weights) = build(rng.next(), &recipe);
        let x = inputs(&program, &mut rng);
        let y = Executable::new(&program, &weights, Options::default())
            .unwrap()
            .run(&x)
            .unwrap();
        assert_eq!(
            y,
            reference::run(&program, &weights, &x).unwrap(),
            "case {case}"
        );
        all.extend_from_slice(Digest::sha256(&encode_tensors(&x)).as_bytes());
        all.extend_from_slice(Digest::sha256(&encode_tensors(&y)).as_bytes());
    }
    assert_eq!(Digest::sha256(&all).to_string(), PINNED);
}
