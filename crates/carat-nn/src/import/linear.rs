//! Matrix products.

use super::{ImportError, Outputs, ctx::Ctx, one};
use crate::graph::{GraphOp, Id};
use carat_program::{Contraction, Dtype, Op};

pub(super) fn lower(c: &mut Ctx<'_>) -> Outputs {
    match c.op() {
        "MatMul" => {
            let (a, b) = (c.x(0)?, c.x(1)?);
            c.same_type(&[a, b])?;
            let dtype = c.dtype(a);
            one(matmul(c, a, b, dtype)?)
        }
        "MatMulInteger" => {
            let (a, b) = (centred(c, 0, 2)?, centred(c, 1, 3)?);
            one(matmul(c, a, b, Dtype::I32)?)
        }
        "Gemm" => gemm(c),
        "Einsum" => einsum(c),
        _ => Ok(None),
    }
}

/// Operand `i` minus its zero point (operand `z`): a scalar, or one value per row of the first matrix operand or per
/// column of the second.
pub(super) fn centred(c: &mut Ctx<'_>, i: usize, z: usize) -> Result<Id, ImportError> {
    let x = c.x(i)?;
    if !c.present(z) {
        return c.retype(x, Dtype::I32);
    }
    let mut zero = c.x(z)?;
    if c.shape(zero).elements() == 1 {
        zero = c.reshape(zero, &[])?;
    } else if i == 0 && c.rank(zero) == 1 {
        let n = c.dims(zero)[0];
        zero = c.reshape(zero, &[n, 1])?;
    }
    c.linear(&[(x, 1.0), (zero, -1.0)], 0.0, Dtype::I32)
}

/// NumPy's matmul: the last two axes multiply, the others broadcast.
pub(super) fn matmul(c: &mut Ctx<'_>, a: Id, b: Id, dtype: Dtype) -> Result<Id, ImportError> {
    let (mut da, mut db) = (c.dims(a), c.dims(b));
    if da.is_empty() || db.is_empty() {
        return c.refuse("multiplies a scalar");
    }
    let (vector_a, vector_b) = (da.len() == 1, db.len() == 1);
    if vector_a {
        da.insert(0, 1);
    }
    if vector_b {
        db.push(1);
    }
    let (mut a, mut b) = (c.reshape(a, &da)?, c.reshape(b, &db)?);
    let rank = da.len().max(db.len());
    // Batch axes of length one repeat: leave them out of that operand's labels.
    let labels = |dims: &[usize], rows: u8, columns: u8| -> (Vec<usize>, Vec<u8>) {
        let batch = dims.len() - 2;
        let offset = rank - dims.len();
        let mut kept = Vec::new();
        let mut labels = Vec::new();
        for (i, &d) in dims[..batch].iter().enumerate() {
            if d != 1 {
                kept.push(d);
                labels.push((offset + i) as u8);
            }
        }
        kept.extend(&dims[batch..]);
        labels.extend([rows, columns]);
        (kept, labels)
    };
    let (ka, la) = labels(&da, 200, 201);
    let (kb, lb) = labels(&db, 201, 202);
    (a, b) = (c.reshape(a, &ka)?, c.reshape(b, &kb)?);
    let mut out: Vec<u8> = la.iter().chain(&lb).copied().filter(|&l| l < 200).collect();
    out.sort_unstable();
    out.dedup();
    out.extend([200, 202]);
    let spec = Contraction { a: la, b: lb, out };
    let r = c.add(
        GraphOp::Prim(Op::Contract { spec, l1: None }),
        vec![a, b],
        dtype,
    )?;
    // Put back the batch axes of length one.
    let at = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |k| dims[k]);
    let mut shape: Vec<usize> = (0..rank - 2).map(|i| at(&da, i).max(at(&db, i))).collect();
    if !vector_a {
        shape.push(da[da.len() - 2]);
    }
    if !vector_b {
        shape.push(db[db.len() - 1]);
    }
    c.reshape(r, &shape)
}

fn gemm(c: &mut Ctx<'_>) -> Outputs {
    let (a, b) = (c.x(0)?, c.x(1)?);
    let (alpha, beta) = (c.float("alpha", 1.0), c.float("beta", 1.0));
    let _ = c.int("broadcast", 0);
    c.same_type(&[a, b])?;
    if c.rank(a) != 2 || c.rank(b) != 2 {
        return c.refuse("needs two matrices");
    }
    let side = |flag: i64, plain: [u8; 2]| {
        if flag != 0 {
            vec![plain[1], plain[0]]
        } else {
            plain.to_vec()
        }
    };
    let spec = Contraction {
        a: side(c.int("transA", 0), [0, 1]),
        b: side(c.int("transB", 0), [1, 2]),
        out: vec![0, 2],
    };
    let dtype = c.dtype(a);
    // Scaling a constant matrix costs nothing.
    let b = if alpha != 1.0 && c.g.constant(b).is_some() {
        c.linear(&[(b, alpha)], 0.0, dtype)?
    } else {
        b
    };
    let scale = if alpha != 1.0 && c.g.constant(b).is_none() {
        alpha
    } else {
        1.0
    };
    let product = c.add(
        GraphOp::Prim(Op::Contract { spec, l1: None }),
        vec![a, b],
        dtype,
    )?;
    if !c.present(2) {
        return one(if scale == 1.0 {
            product
        } else {
            c.linear(&[(product, scale)], 0.0, dtype)?
        });
    }
    let bias = c.x(2)?;
    let bias = if beta == 1.0 {
        bias
    } else {
        c.linear(&[(bias, beta)], 0.0, dtype)?
    };
    one(c.linear(&[(product, scale), (bias, 1.0)], 0.0, dtype)?)
}

fn einsum(c: &mut Ctx<'_>) -> Outputs {
    let equation: String = c
        .text("equation", "")
        .chars()
        .filter(|ch| !ch.is_whitespace())
        .collect();
    if !equation
        .chars()
        .all(|ch| ch.is_ascii_alphabetic() || ",->.".contains(ch))
    {
        return c.refuse("has an equation that is not understood");
    }
    let n = c.count();
    let operands = (0..n).map(|i| c.x(i)).collect::<Result<Vec<_>, _>>()?;
    let (left, right) = match equation.split_once("->") {
        Some((l, r)) => (l.to_string(), Some(r.to_string())),
        None => (equation.clone(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != n || !(1..=2).contains(&n) {
        return c.refuse("supports one or two operands");
    }
    // An ellipsis stands for leading axes, aligned at their end: labels 128 and up.
    let mut labelled = Vec::new();
    let mut widest = 0;
    for (term, &x) in terms.iter().zip(&operands) {
        let letters = term.replace("...", "").len();
        let rank = c.rank(x);
        let hidden = if term.contains("...") {
            rank.checked_sub(letters)
        } else {
            (rank == letters).then_some(0)
        };
        let Some(hidden) = hidden else {
            return c.refuse("has an equation that does not fit its operands");
        };
        widest = widest.max(hidden);
        labelled.push(hidden);
    }
    let ellipsis = |hidden: usize| (widest - hidden..widest).map(|i| 128 + i as u8);
    let expand = |term: &str, hidden: usize| -> Vec<u8> {
        match term.split_once("...") {
            Some((a, b)) => a.bytes().chain(ellipsis(hidden)).chain(b.bytes()).collect(),
            None => term.bytes().collect(),
        }
    };
    let ins: Vec<Vec<u8>> = terms
        .iter()
        .zip(&labelled)
        .map(|(t, &h)| expand(t, h))
        .collect();
    let out: Vec<u8> = match right {
        Some(r) => expand(&r, widest),
        None => {
            let all: Vec<u8> = ins.concat();
            let mut once: Vec<u8> = all
                .iter()
                .copied()
                .filter(|l| all.iter().filter(|m| *m == l).count() == 1 && *l < 128)
                .collect();
            once.sort_unstable();
            (0..widest).map(|i| 128 + i as u8).chain(once).collect()
        }
    };
    if ins
        .iter()
        .any(|t| (0..t.len()).any(|i| t[..i].contains(&t[i])))
    {
        return c.refuse("repeats an index within one operand, which is not supported");
    }
    // Indices of one operand only that the output does not have are summed first.
    let mut reduced = Vec::new();
    for (i, labels) in ins.iter().enumerate() {
        let other: &[u8] = if n == 2 { &ins[1 - i] } else { &[] };
        let gone: Vec<usize> = (0..labels.len())
            .filter(|&k| !out.contains(&labels[k]) && !other.contains(&labels[k]))
            .collect();
        let x = c.sum(operands[i], &gone, false)?;
        reduced.push((
            x,
            labels
                .iter()
                .enumerate()
                .filter(|(k, _)| !gone.contains(k))
                .map(|(_, &l)| l)
                .collect::<Vec<u8>>(),
        ));
    }
    if let [(x, labels)] = &reduced[..] {
        let perm = out
            .iter()
            .map(|l| labels.iter().position(|m| m == l))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| c.unsupported("has an output index that no operand has"))?;
        return one(c.transpose(*x, &perm)?);
    }
    let [(a, la), (b, lb)] = &reduced[..] else {
        return c.refuse("supports one or two operands");
    };
    let dtype = c.dtype(*a);
    let spec = Contraction {
        a: la.clone(),
        b: lb.clone(),
        out,
    };
    one(c.add(
        GraphOp::Prim(Op::Contract { spec, l1: None }),
        vec![*a, *b],
        dtype,
    )?)
}
