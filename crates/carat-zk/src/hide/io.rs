//! Ties the inputs and outputs of a proof to an `io/v1` commitment, without showing them.
//!
//! The claims on a statement's tensors become one claim on the table under its commitment. The table's rows are combined at
//! the claim's columns: the fold, 256 values and 256 random numbers, is shown under a mask, and compared with some leaves of
//! the commitment.

use super::{
    code::{Code, evaluate},
    masks,
    tape::Tape,
};
use crate::{
    Error,
    checks::Checks,
    field::{E, F},
    io::{LEAVES, ROWS, Table, leaf, node, top},
    layout::{eq, eq_index, eq_table},
    pcs::{Profile, Refused, Security, Term},
    steps::powers,
    sumcheck,
    transcript::Source,
    verify::TensorClaim as Claim,
};
use alloc::{collections::BTreeMap, string::ToString, vec::Vec};
use carat_receipt::Digest;
use p3_field::PrimeCharacteristicRing;

#[cfg(feature = "prover")]
use super::random::{Purpose, Random};
#[cfg(feature = "prover")]
use crate::{
    io::Committed,
    kernels::{Vector, add, eq_vector, product},
    transcript::Sink,
};

const DIGEST: usize = 32;

/// Variables that number the rows of a table.
const ROW_VARS: usize = ROWS.ilog2() as usize;

/// The code of an `io/v1` commitment, and how many leaves a proof shows.
fn code(profile: Profile) -> Code {
    Code {
        message: ROWS,
        tail: ROWS,
        levels: LEAVES.ilog2() as usize,
        work: match profile {
            Profile::Proven100 => 10,
            Profile::Proven120 => 12,
        },
    }
}

/// Leaves that one proof shows.
pub(crate) fn queries(profile: Profile) -> usize {
    match profile {
        Profile::Proven100 => 66,
        Profile::Proven120 => 80,
    }
}

/// The error terms for one statement. What an `io/v1` commitment stands for may be one of a short list: whoever made it
/// chose what to be held to, and the surrounding argument is charged for the list. What the messages are depends on which
/// pads are meant, of `2^pads` that their commitment may stand for.
pub(crate) fn security(profile: Profile, table: &Table, pads: f64) -> Security {
    let code = code(profile);
    let candidates = code.candidates(code.length());
    let shown = Code {
        tail: queries(profile),
        ..code
    };
    let bad = 2 * (ROW_VARS + table.columns) + table.blocks.len() + 1;
    Security {
        terms: alloc::vec![
            code.agreement("correlated agreement", table.columns + 1),
            Term {
                name: "joining of claims",
                count: 1,
                bits: super::field_bits() as f64 - libm::log2(bad as f64) - candidates - pads,
                grinding: 0,
            },
            shown.queries("queries", code.length()),
        ],
        candidates_bits: candidates,
    }
}

/// What the table's value at a point counts for the claims on its tensors.
fn kernel<V>(table: &Table, claims: &[Claim<V>], powers: &[E], at: &[E]) -> E {
    claims
        .iter()
        .zip(powers)
        .map(|((tensor, point, _), &g)| {
            let (offset, vars) = table.blocks[*tensor];
            let (prefix, own) = at.split_at(at.len() - vars);
            g * eq_index(prefix, offset >> vars) * eq(point, own)
        })
        .sum()
}

/// Checks that the claims on a statement's tensors are those of the values under `root`.
pub(crate) fn verify(
    profile: Profile,
    program: &Digest,
    root: &Digest,
    table: &Table,
    claims: &[Claim<u32>],
    tape: &mut Tape<'_>,
) -> Result<(), Error> {
    let gamma = tape.challenge();
    let powers = powers(gamma, claims.len());
    let terms: Vec<(E, u32)> = (powers.iter().copied())
        .zip(claims.iter().map(|c| c.2))
        .collect();
    let sum = tape.sum(E::ZERO, &terms);
    let (at, left) = sumcheck::verify(tape, ROW_VARS + table.columns, 2, sum)?;
    let value = tape.hear("table", 1)?[0];
    let kernel = kernel(table, claims, &powers, &at);
    tape.equal(left, kernel, value, "the joining of inputs and outputs")?;
    let (row, column) = at.split_at(ROW_VARS);
    let mask = tape.root("io mask")?;
    let masked = tape.hear("mask", 1)?[0];
    let beta = tape.challenge();
    let fold = tape.clear("fold", 2 * ROWS)?;
    let at_row: E = fold.iter().zip(eq_table(row)).map(|(&f, e)| f * e).sum();
    let difference = tape.sum(-at_row, &[(E::ONE, masked), (beta, value)]);
    tape.zero(difference, "the opening of inputs and outputs")?;
    let Some(source) = tape.source() else {
        return Ok(());
    };
    let refused = |reason: &str| Error::Opening("io/v1", reason.to_string());
    let reading = |r| match r {
        Refused::Reading(error) => error,
        Refused::Opening(reason) => refused(&reason),
    };
    let code = code(profile);
    let leaves = masks::leaves(code.levels, queries(profile), code.work);
    let positions = leaves.redraw(source).map_err(reading)?;
    let masks = leaves.read_at(&positions, &mask, source).map_err(reading)?;
    let rows = read_leaves(&positions, table.columns, program, root, source)?;
    let places: Vec<F> = positions.iter().map(|&p| code.place(p)).collect();
    let weights: Vec<E> = eq_table(column).into_iter().map(|e| e * beta).collect();
    for ((at, mask), row) in evaluate(&fold, &places)
        .into_iter()
        .zip(masks::shown(&masks))
        .zip(&rows)
    {
        let row: E = weights.iter().zip(row).map(|(&w, &v)| w * v).sum();
        if at != mask + row {
            return Err(refused("the fold is not that of the committed values"));
        }
    }
    Ok(())
}

/// Reads the leaves of an `io/v1` commitment at some positions.
fn read_leaves(
    positions: &[usize],
    columns: usize,
    program: &Digest,
    root: &Digest,
    source: &mut Source<'_>,
) -> Result<Vec<Vec<F>>, Error> {
    let refused = |reason: &str| Error::Opening("io/v1", reason.to_string());
    let flat = source.receive_f("io leaves", positions.len() << columns)?;
    let salts = source.receive_bytes("io salts", positions.len() * DIGEST)?;
    let rows: Vec<Vec<F>> = flat.chunks_exact(1 << columns).map(<[F]>::to_vec).collect();
    let digest = |bytes: &[u8]| {
        let mut out = [0; DIGEST];
        out.copy_from_slice(bytes);
        Digest::from_bytes(out)
    };
    let mut known: BTreeMap<usize, Digest> = BTreeMap::new();
    for ((&position, row), salt) in positions.iter().zip(&rows).zip(salts.chunks_exact(DIGEST)) {
        let leaf = leaf(&digest(salt), row);
        if known.insert(position, leaf).is_some_and(|l| l != leaf) {
            return Err(refused("one position has two leaves"));
        }
    }
    for _ in 0..LEAVES.ilog2() {
        let siblings = known
            .keys()
            .filter(|&&i| !known.contains_key(&(i ^ 1)))
            .count();
        let bytes = source.receive_bytes("io siblings", siblings * DIGEST)?;
        let mut siblings = bytes.chunks_exact(DIGEST);
        let mut above = BTreeMap::new();
        for (&i, own) in &known {
            let parent = match (known.get(&(i ^ 1)), i % 2) {
                // A pair is taken with its left half.
                (Some(_), 1) => continue,
                (Some(right), _) => node(own, right),
                (None, side) => {
                    let Some(other) = siblings.next() else {
                        return Err(Error::Truncated);
                    };
                    let other = digest(other);
                    if side == 0 {
                        node(own, &other)
                    } else {
                        node(&other, own)
                    }
                }
            };
            above.insert(i / 2, parent);
        }
        known = above;
    }
    match known.get(&0) {
        Some(tree) if top(program, columns, tree) == *root => Ok(rows),
        _ => Err(refused("the leaves are not the commitment's")),
    }
}

/// Proves that the claims on a statement's tensors are those of the values under its commitment.
#[cfg(feature = "prover")]
pub(crate) fn prove(
    profile: Profile,
    committed: &Committed,
    table: &Table,
    claims: &[Claim<E>],
    random: &mut Random,
    sink: &mut Sink,
) {
    let columns = 1usize << table.columns;
    let gamma = sink.transcript.challenge();
    let powers = powers(gamma, claims.len());
    let sum = claims.iter().zip(&powers).map(|(c, &g)| c.2 * g).sum();
    let mut kernel = Vector::new(alloc::vec![E::ZERO; ROWS * columns]);
    for ((tensor, point, _), &g) in claims.iter().zip(&powers) {
        let (offset, vars) = table.blocks[*tensor];
        let mut whole = alloc::vec![E::ZERO; ROWS * columns];
        let own = eq_vector(point, g).unpack();
        whole[offset..offset + (1 << vars)].copy_from_slice(&own);
        add(&mut kernel, &Vector::new(whole));
    }
    let values = committed.rows[..ROWS * columns].iter();
    let values = Vector::new(values.map(|&v| v.into()).collect());
    let (at, value, _) = product(sink, sum, values, kernel);
    sink.send("table", &[value]);
    let (row, column) = at.split_at(ROW_VARS);
    let code = code(profile);
    let (root, mask) = masks::Mask::new(
        [Purpose::TieMask, Purpose::TieSalt],
        2 * ROWS,
        code.levels,
        random,
    );
    sink.send_bytes("io mask", &root.0);
    let masked: E = (mask.coefficients.iter())
        .zip(eq_table(row))
        .map(|(&m, e)| m * e)
        .sum();
    sink.send("mask", &[masked]);
    let beta = sink.transcript.challenge();
    let weights: Vec<E> = eq_table(column).into_iter().map(|e| e * beta).collect();
    let fold: Vec<E> = (committed.rows.chunks_exact(columns))
        .zip(&mask.coefficients)
        .map(|(row, &m)| m + weights.iter().zip(row).map(|(&w, &v)| w * v).sum::<E>())
        .collect();
    sink.send_clear("fold", &fold);
    sink.aside(|sink| {
        let leaves = masks::leaves(code.levels, queries(profile), code.work);
        let positions = leaves.draw(sink);
        let _ = leaves.show_at(&positions, &mask.tree, sink);
        show_leaves(&positions, columns, committed, sink);
    });
}

#[cfg(feature = "prover")]
fn show_leaves(positions: &[usize], columns: usize, committed: &Committed, sink: &mut Sink) {
    let flat: Vec<F> = positions
        .iter()
        .flat_map(|&p| committed.code[p * columns..][..columns].iter().copied())
        .collect();
    sink.send_f("io leaves", &flat);
    let salts: Vec<u8> = positions
        .iter()
        .flat_map(|&p| *committed.salts[p].as_bytes())
        .collect();
    sink.send_bytes("io salts", &salts);
    let mut known: std::collections::BTreeSet<usize> = positions.iter().copied().collect();
    for level in &committed.levels[..committed.levels.len() - 1] {
        let siblings: Vec<u8> = known
            .iter()
            .filter(|&&i| !known.contains(&(i ^ 1)))
            .flat_map(|&i| *level[i ^ 1].as_bytes())
            .collect();
        sink.send_bytes("io siblings", &siblings);
        known = known.iter().map(|i| i / 2).collect();
    }
}
