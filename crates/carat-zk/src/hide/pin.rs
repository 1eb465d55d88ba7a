//! What a key that hides constants stands for: many commitments to one polynomial.
//!
//! Each commitment may be opened a few times only, so a key has as many of them as a tree has leaves, and a proof opens one.
//! At its distance a commitment may stand for any of a short list of polynomials. So that all proofs under one key are about the
//! same one, whichever commitment they open, the key holds the polynomial's value at a point that follows from the roots of
//! all commitments: two polynomials of all lists hardly ever agree there.

use crate::{
    Error,
    field::{E, E_BYTES},
    key::ModelKey,
    pcs::{Profile, Root},
    transcript::{Source, Transcript},
    verify::read_root,
};
use alloc::{vec, vec::Vec};
use carat_receipt::Digest;
use p3_field::PrimeCharacteristicRing;

#[cfg(feature = "prover")]
use crate::{
    field::{DEGREE, F},
    kernels::compact::{Values, combine_rows},
    layout::{dot_eq, eq_index, eq_table},
    store::Store,
    transcript::Sink,
};
#[cfg(feature = "prover")]
use p3_field::Field;

/// Which polynomial a proof is about, and the commitment to it that the proof opens.
#[derive(Debug, Clone)]
pub(crate) struct Pin {
    /// Root of the tree over the commitments' roots.
    pub(crate) root: Root,
    pub(crate) point: Vec<E>,
    pub(crate) value: E,
    /// Root of the commitment that is opened.
    pub(crate) opened: Root,
}

impl Pin {
    /// One that says nothing, for the shape of an argument.
    pub(crate) fn nothing(vars: usize) -> Self {
        Self {
            root: Root([0; 32]),
            point: vec![E::ZERO; vars],
            value: E::ZERO,
            opened: Root([0; 32]),
        }
    }

    /// The point at which the key holds the polynomial's value.
    pub(crate) fn point(program: &Digest, profile: Profile, root: &Root, vars: usize) -> Vec<E> {
        let mut t = Transcript::new("carat/zk/v1 hidden weights");
        t.bytes("profile", profile.name().as_bytes());
        t.bytes("program", program.as_bytes());
        t.bytes("weights root", &root.0);
        t.derived(vars)
    }

    /// What a ModelKey holds of it.
    pub(crate) fn joint_root(&self) -> Root {
        let mut value = Vec::with_capacity(E_BYTES);
        crate::field::write(&[self.value], &mut value);
        let digest = Digest::of("carat/zk-hidden-weights/v1", &[&self.root.0, &value]);
        Root(*digest.as_bytes())
    }

    /// Reads it from a proof, and checks that the polynomial is the key's and the commitment one of its `2^levels`.
    pub(crate) fn read(
        source: &mut Source<'_>,
        key: &ModelKey,
        vars: usize,
        levels: usize,
    ) -> Result<Self, Error> {
        let root = read_root(source, "weights root")?;
        let value = source.receive("weights value", 1)?[0];
        let mut pin = Self {
            root,
            point: Self::point(&key.program, key.profile, &root, vars),
            value,
            opened: root,
        };
        if pin.joint_root() != key.root {
            return Err(Error::Check("the root of the hidden constants"));
        }
        if levels > 0 {
            let number = source.receive_bytes("weights commitment", 4)?;
            let number =
                u32::from_le_bytes(number.try_into().map_err(|_| Error::Truncated)?) as usize;
            pin.opened = read_root(source, "weights commitment root")?;
            let path = source.receive_bytes("weights path", levels * 32)?;
            let mut top = pin.opened;
            for (level, other) in digests(path).enumerate() {
                top = match number >> level & 1 {
                    0 => parent(&top, &other),
                    _ => parent(&other, &top),
                };
            }
            if number >> levels != 0 || top != root {
                return Err(Error::Check("the commitment to the hidden constants"));
            }
        }
        Ok(pin)
    }
}

#[cfg(feature = "prover")]
impl Pin {
    /// The pin of constants with these values, under these roots.
    pub(crate) fn of(
        roots: &HidingRoots,
        number: usize,
        (program, profile): (&Digest, Profile),
        values: Values<'_>,
        vars: usize,
    ) -> Self {
        let (root, _) = roots.path(number);
        let point = Self::point(program, profile, &root, vars);
        let (row, column) = point.split_at(vars / 2);
        let combined = combine_rows(values, 0, 1 << column.len(), &eq_table(row)).unpack();
        let value = dot_eq(&combined, column);
        Self {
            root,
            point,
            value,
            opened: roots.0[number],
        }
    }

    /// Whether the random constants make the value uniform: what they count at the point, five elements of E, are independent
    /// over F.
    pub(crate) fn is_blind(&self, store: &Store) -> bool {
        let Some(blind) = store.pieces.iter().map(|p| p.tensor).max() else {
            return false;
        };
        let mut matrix: Vec<Vec<F>> = store
            .slots_of(blind)
            .map(|slot| super::code::slices(&eq_index(&self.point, slot)).to_vec())
            .collect();
        debug_assert_eq!(matrix.len(), DEGREE);
        // Elimination, row by row.
        for column in 0..DEGREE {
            let Some(pivot) = (column..matrix.len()).find(|&r| !matrix[r][column].is_zero()) else {
                return false;
            };
            matrix.swap(column, pivot);
            let scale = matrix[column][column].inverse();
            let own = matrix[column].clone();
            for row in &mut matrix[column + 1..] {
                let factor = row[column] * scale;
                for (r, &o) in row.iter_mut().zip(&own) {
                    *r -= factor * o;
                }
            }
        }
        true
    }
}

/// Roots that lie one after the other, 32 bytes each.
fn digests(bytes: &[u8]) -> impl Iterator<Item = Root> + '_ {
    let (whole, _) = bytes.as_chunks();
    whole.iter().map(|&digest| Root(digest))
}

fn parent(left: &Root, right: &Root) -> Root {
    let digest = Digest::of("carat/zk-hidden-weights/v1 node", &[&left.0, &right.0]);
    Root(*digest.as_bytes())
}

/// The roots of all commitments under a key that hides a model's constants, in order. They show nothing, and cannot be had from
/// the key; whoever proves keeps them, or makes all commitments again for each proof.
#[cfg(feature = "prover")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HidingRoots(pub(crate) Vec<Root>);

#[cfg(feature = "prover")]
impl HidingRoots {
    /// The roots, 32 bytes each.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|root| root.0).collect()
    }

    /// What [`HidingRoots::to_bytes`] gave; `None` if it is no power of two of roots. That they are a key's is found out when
    /// one of the commitments is made again.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.len().is_multiple_of(32) && (bytes.len() / 32).is_power_of_two();
        whole.then(|| Self(digests(bytes).collect()))
    }

    /// The root of the tree over them, and the siblings on the way up from one.
    pub(crate) fn path(&self, number: usize) -> (Root, Vec<Root>) {
        let (mut level, mut at, mut path) = (self.0.clone(), number, Vec::new());
        while level.len() > 1 {
            path.push(level[at ^ 1]);
            level = (level.chunks_exact(2))
                .map(|pair| parent(&pair[0], &pair[1]))
                .collect();
            at /= 2;
        }
        (level[0], path)
    }

    /// Sends what [`Pin::read`] reads.
    pub(crate) fn send(&self, pin: &Pin, number: usize, sink: &mut Sink) {
        let (_, path) = self.path(number);
        sink.send_bytes("weights root", &pin.root.0);
        sink.send("weights value", &[pin.value]);
        if !path.is_empty() {
            sink.send_bytes("weights commitment", &(number as u32).to_le_bytes());
            sink.send_bytes("weights commitment root", &pin.opened.0);
            let path: Vec<u8> = path.iter().flat_map(|root| root.0).collect();
            sink.send_bytes("weights path", &path);
        }
    }
}
