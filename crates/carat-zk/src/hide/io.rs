//! Ties the inputs and outputs of a proof to an `io/v1` commitment, without showing them.
//!
//! The claims on a statement's tensors become one claim on the table under its commitment. The table's rows are combined at
//! the claim's columns: the fold, 256 values and 256 random numbers, is a polynomial, and must have the values that some
//! leaves of the commitment give it. Each of these is an equation like all others, whose coefficients everybody knows.
//!
//! The fold is no message where the table is small: then the table itself is committed to with the pads, and elements of the
//! fold are sums over it. Otherwise they are sent, under pads.

use super::{code::Code, tape::Tape};
use crate::{
    Error,
    checks::Checks,
    field::{E, F},
    io::{LEAVES, ROWS, Table, leaf, node, top},
    layout::{eq, eq_index, eq_table},
    pcs::{
        Profile, Security, Term,
        leaves::{Leaves, Shown},
    },
    steps::powers,
    sumcheck,
    transcript::Source,
    verify::TensorClaim as Claim,
};
use alloc::{collections::BTreeMap, string::ToString, vec::Vec};
use carat_receipt::Digest;
use p3_field::PrimeCharacteristicRing;

#[cfg(feature = "prover")]
use crate::{
    io::Committed,
    kernels::{Vector, add, eq_vector, product},
    transcript::Sink,
};

const DIGEST: usize = 32;

/// Variables that number the rows of a table.
const ROW_VARS: usize = ROWS.ilog2() as usize;

/// Most variables that number the columns of a table which is committed to with the pads: each column then is four rows of
/// secrets, so four numbers of F at each place that is shown of the pads. A fold under pads is 512 messages, and 20 numbers.
const MOST_COMMITTED: usize = 3;

/// The code of an `io/v1` commitment; its tail is how many leaves a proof shows, of the 256 that all proofs together may.
fn code(profile: Profile) -> Code {
    let (tail, work) = match profile {
        Profile::Proven100 => (73, 10),
        Profile::Proven120 => (85, 14),
    };
    Code {
        message: 2 * ROWS,
        tail,
        levels: LEAVES.ilog2() as usize,
        work,
    }
}

/// Whether a table is committed to with the pads.
fn is_committed(table: &Table) -> bool {
    table.columns <= MOST_COMMITTED
}

/// The error terms for one statement. The table, or the fold, and all messages depend on which pads are meant, of `2^pads`
/// that their commitment may stand for: for each of them the places are drawn after everything else is fixed.
pub(crate) fn security(profile: Profile, table: &Table, pads: f64) -> Security {
    let code = code(profile);
    let field = super::field_bits() as f64;
    let queries = code.queries("queries", code.message);
    let mut terms = Vec::new();
    let candidates = if is_committed(table) {
        // A leaf that is not the table's stays one for all but a few combinations of columns.
        terms.push(Term {
            name: "combination of columns",
            count: 1,
            bits: field - code.levels as f64 - libm::log2(table.columns as f64) - pads,
            grinding: 0,
        });
        0.0
    } else {
        // Which fold it may be depends on what the commitment stands for, one of a short list.
        terms.push(code.agreement("correlated agreement", code.message, table.columns));
        code.candidates(code.message)
    };
    let bad = 2 * (ROW_VARS + table.columns) + table.blocks.len() + 1;
    terms.push(Term {
        name: "joining of claims",
        count: 1,
        bits: field - libm::log2(bad as f64) - candidates - pads,
        grinding: 0,
    });
    terms.push(Term {
        bits: queries.bits - pads,
        ..queries
    });
    Security {
        terms,
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
    let weights = eq_table(column);
    let fold = if is_committed(table) {
        tape.secret_rows(2 * ROWS, &weights)?
    } else {
        tape.hear("folded", 2 * ROWS)?
    };
    let mut terms = alloc::vec![(E::ONE, value)];
    terms.extend(
        eq_table(row)
            .into_iter()
            .map(|e| -e)
            .zip(fold.iter().copied()),
    );
    let difference = tape.sum(E::ZERO, &terms);
    tape.zero(difference, "the opening of inputs and outputs")?;
    let code = code(profile);
    let shown = tape.shown((code.tail, weights.len()), |source| {
        let leaves = leaves(&code, table);
        let positions = leaves.redraw(source).map_err(|r| r.of("io/v1"))?;
        let elements = read_leaves(&positions, table.columns, program, root, source)?;
        Ok(Shown {
            positions,
            elements,
        })
    })?;
    let fold = tape.polynomial(fold);
    let leaves = shown.elements.chunks_exact(weights.len());
    for (&position, leaf) in shown.positions.iter().zip(leaves) {
        let value = weights.iter().zip(leaf).map(|(&w, &v)| w * v).sum();
        tape.value_at(fold, code.place(position), value);
    }
    Ok(())
}

/// The leaves of a commitment that a proof shows. They are in a tree of their own kind.
fn leaves(code: &Code, table: &Table) -> Leaves {
    Leaves {
        width: 1 << table.columns,
        levels: code.levels,
        queries: code.tail,
        work: code.work,
    }
}

/// Reads the leaves of an `io/v1` commitment at some positions, one after the other.
fn read_leaves(
    positions: &[usize],
    columns: usize,
    program: &Digest,
    root: &Digest,
    source: &mut Source<'_>,
) -> Result<Vec<F>, Error> {
    let refused = |reason: &str| Error::Opening("io/v1", reason.to_string());
    let flat = source.receive_f("io leaves", positions.len() << columns)?;
    let salts = source.receive_bytes("io salts", positions.len() * DIGEST)?;
    let rows = flat.chunks_exact(1 << columns);
    let digest = |bytes: &[u8]| {
        let mut out = [0; DIGEST];
        out.copy_from_slice(bytes);
        Digest::from_bytes(out)
    };
    let mut known: BTreeMap<usize, Digest> = BTreeMap::new();
    for ((&position, row), salt) in positions.iter().zip(rows).zip(salts.chunks_exact(DIGEST)) {
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
        Some(tree) if top(program, columns, tree) == *root => Ok(flat),
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
    if !is_committed(table) {
        let weights = eq_table(&at[ROW_VARS..]);
        let fold: Vec<E> = (committed.rows.chunks_exact(columns))
            .map(|row| weights.iter().zip(row).map(|(&w, &v)| w * v).sum())
            .collect();
        sink.send("folded", &fold);
    }
    let shown = sink.aside(|sink| {
        let positions = leaves(&code(profile), table).draw(sink);
        let elements = show_leaves(&positions, columns, committed, sink);
        Shown {
            positions,
            elements,
        }
    });
    sink.note(shown);
}

/// What is committed to with the pads for one statement.
#[cfg(feature = "prover")]
pub(crate) fn secrets<'c>(table: &Table, committed: &'c Committed) -> &'c [F] {
    if is_committed(table) {
        &committed.rows
    } else {
        &[]
    }
}

#[cfg(feature = "prover")]
fn show_leaves(
    positions: &[usize],
    columns: usize,
    committed: &Committed,
    sink: &mut Sink,
) -> Vec<F> {
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
    flat
}
