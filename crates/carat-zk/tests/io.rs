//! `io/v1` commitments: the vectors of `docs/io-commitment.md`, which a second implementation in Python computed, and what
//! must change a root.

use carat_program::{Shape, Tensor};
use carat_receipt::{Digest, Salt};
use carat_zk::io::{Seed, root};

const DOC: &str = include_str!("../../../docs/io-commitment.md");

fn tensor(dims: &[usize], data: Vec<i32>) -> Tensor {
    Tensor::new(Shape::new(dims).unwrap(), data).unwrap()
}

fn seed() -> Seed {
    let salt = |from: u8| Salt::from_bytes(core::array::from_fn(|i| from + i as u8));
    Seed::from_salts(&salt(0), &salt(32))
}

fn program() -> Digest {
    Digest::sha256(b"program")
}

fn small() -> [Tensor; 2] {
    [
        tensor(&[1, 3], vec![1, -2, 3]),
        tensor(&[1, 2], vec![-2114, 2114]),
    ]
}

fn of(tensors: &[Tensor]) -> Digest {
    root(&program(), &tensors.iter().collect::<Vec<_>>(), &seed()).unwrap()
}

#[test]
fn vectors_of_the_other_implementation() {
    let image = (0..1200).map(|i| (7 * i) % 255 - 127).collect();
    let large = [
        tensor(&[1, 3, 20, 20], image),
        tensor(&[1, 10], (-5..5).collect()),
    ];
    for (name, root) in [("small", of(&small())), ("large", of(&large))] {
        let row = format!("| `{root}` |");
        assert!(
            DOC.contains(&row),
            "{name}: {root} is not in docs/io-commitment.md"
        );
    }
}

#[test]
fn everything_is_bound() {
    let base = of(&small());
    let [x, y] = small();
    assert_eq!(base, of(&[x.clone(), y.clone()]));
    for i in 0..3 {
        let mut data = x.data().to_vec();
        data[i] += 1;
        assert_ne!(base, of(&[tensor(&[1, 3], data), y.clone()]));
    }
    // Blocks of one size lie in the order of input and output.
    let (a, b) = (
        tensor(&[4], vec![1, 2, 3, 4]),
        tensor(&[2, 2], vec![5, 6, 7, 8]),
    );
    assert_ne!(of(&[a.clone(), b.clone()]), of(&[b, a]));
    let tensors = [&x, &y];
    let other = Digest::sha256(b"another program");
    assert_ne!(base, root(&other, &tensors, &seed()).unwrap());
    let salts = |a, b| Seed::from_salts(&Salt::from_bytes([a; 32]), &Salt::from_bytes([b; 32]));
    let roots = [(1, 2), (2, 1), (1, 1)].map(|(a, b)| root(&program(), &tensors, &salts(a, b)));
    assert!(roots[0] != roots[1] && roots[0] != roots[2] && roots[1] != roots[2]);
    // Shapes are the Program's to say, and its digest is in the root: padding alone does not tell them apart.
    let (three, four) = (tensor(&[3], vec![1, 2, 3]), tensor(&[4], vec![1, 2, 3, 0]));
    assert_eq!(
        of(&[three.clone(), y.clone()]),
        of(&[four.clone(), y.clone()])
    );
    assert_ne!(
        root(&program(), &[&three, &y], &seed()).unwrap(),
        root(&other, &[&four, &y], &seed()).unwrap()
    );
}
