//! Logarithm and exponential on 64 fractional bits, in integers, with a bound on the error that is added or subtracted so
//! that every result is on the safe side. The same bits on every machine.
//!
//! A `Q64` number is an unsigned integer in units of 2^-64. Each series below truncates at most 40 times, each time by
//! less than one unit, and stops when its next term is below one unit; [`MARGIN`] covers all of that many times over. The
//! tests compare with values computed to 40 digits elsewhere.

use crate::Probability;

/// Largest error of the series here, in units of 2^-64: each result is moved by this much to the stated side.
pub const MARGIN: u128 = 256;

/// ln 2 in units of 2^-64, rounded down.
const LN_2: u128 = 12_786_308_645_202_655_659;

/// `-ln(1 - p)` rounded down, in units of 2^-64. `None` for certainty, where it is infinite.
pub fn neg_ln_complement_down(p: Probability) -> Option<u128> {
    // -ln(1-p) >= p, which is the better bound where p is small.
    Some(
        neg_ln(p.complement().bits())?
            .saturating_sub(MARGIN)
            .max(p.bits()),
    )
}

/// `-ln(1 - p)` rounded up, in units of 2^-64. `None` for certainty, where it is infinite.
pub fn neg_ln_complement_up(p: Probability) -> Option<u128> {
    match p.bits() {
        0 => Some(0),
        _ => Some(neg_ln(p.complement().bits())? + MARGIN),
    }
}

/// `1 - exp(-y)` rounded up, for `y` in units of 2^-64.
pub fn one_minus_exp_neg_up(y: u128) -> Probability {
    if y == 0 {
        return Probability::ZERO;
    }
    // 1-exp(-y) <= y, which is the better bound where y is small.
    let series = (1 << 64) - exp_neg(y).saturating_sub(MARGIN);
    Probability::from_bits(series.min(y))
}

/// `-ln(x)` for `x` in (0, 2^64] units, to within [`MARGIN`]; `None` for 0.
fn neg_ln(x: u128) -> Option<u128> {
    if x == 0 || x > 1 << 64 {
        return None;
    }
    // x = m * 2^-k with m in [1, 2); m in units of 2^-64.
    let k = x.leading_zeros() - (1_u128 << 64).leading_zeros();
    let m = x << k;
    // ln m = 2 atanh(t), t = (m-1)/(m+1) < 1/3: t + t^3/3 + t^5/5 + ...
    let t = ((m - (1 << 64)) << 63) / ((m + (1 << 64)) >> 1);
    let square = (t * t) >> 64;
    let (mut power, mut sum, mut odd) = (t, 0_u128, 1_u128);
    while power > 0 {
        sum += power / odd;
        power = (power * square) >> 64;
        odd += 2;
    }
    Some((u128::from(k) * LN_2).saturating_sub(2 * sum))
}

/// `exp(-y)` for `y` in units of 2^-64, to within [`MARGIN`].
fn exp_neg(y: u128) -> u128 {
    let halvings = y / LN_2;
    if halvings > 64 {
        return 0;
    }
    // r in [0, ln 2): sum of (-r)^n / n!, whose terms fall in size.
    let r = y % LN_2;
    let (mut term, mut n) = (1_u128 << 64, 1_u128);
    let (mut plus, mut minus) = (term, 0_u128);
    while term > 0 {
        term = ((term * r) >> 64) / n;
        if n.is_multiple_of(2) {
            plus += term
        } else {
            minus += term
        }
        n += 1;
    }
    plus.saturating_sub(minus) >> halvings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: f64 = 18_446_744_073_709_551_616.0;

    /// `(bits of p, floor(-ln(1 - p/2^64) * 2^64))` and `(y, floor((1 - exp(-y/2^64)) * 2^64))`, computed with mpmath at
    /// 60 digits.
    const LN: &[(u128, u128)] = &[
        (1, 1),
        (2, 2),
        (1000, 1000),
        (1048576, 1048576),
        (4294967296, 4294967296),
        (1000000000000000, 1000027106033930),
        (184467440737095516, 185395973344368338),
        (1152921504606846976, 1190525582320469640),
        (4611686018427387904, 5306797565112371680),
        (9223372036854775807, 12786308645202655657),
        (9223372036854775808, 12786308645202655659),
        (9223372036854775809, 12786308645202655661),
        (14757395258967641292, 29688889273197213355),
        (18446742974197923840, 306871407484863735834),
        (18446744073709551614, 805537444647767306566),
        (18446744073709551615, 818323753292969962226),
    ];
    const EXP: &[(u128, u128)] = &[
        (1, 0),
        (1000, 999),
        (4294967296, 4294967295),
        (1000000000000000, 999972895435470),
        (1152921504606846976, 1117631724489728397),
        (12786308645202655659, 9223372036854775807),
        (12786308645202655660, 9223372036854775808),
        (9223372036854775808, 7258228221132386316),
        (18446744073709551616, 11660566172440666341),
        (55340232221128654848, 17528334765347285147),
        (184467440737095528505, 18445906592824258669),
        (811656739243220271104, 18446744073709551614),
    ];

    #[test]
    fn logarithms_bracket_the_true_value_tightly() {
        for (bits, expected) in LN {
            let p = Probability::from_bits(*bits);
            let (down, up) = (
                neg_ln_complement_down(p).unwrap(),
                neg_ln_complement_up(p).unwrap(),
            );
            assert!(
                down <= *expected && *expected < up,
                "{bits}: {down} {expected} {up}"
            );
            assert!(up - down <= 3 * MARGIN, "{bits}");
        }
    }

    #[test]
    fn exponentials_are_bounded_from_above_tightly() {
        for (y, expected) in EXP {
            let up = one_minus_exp_neg_up(*y).bits();
            assert!(
                up > *expected && up - expected <= 3 * MARGIN,
                "{y}: {up} {expected}"
            );
        }
    }

    #[test]
    fn edges() {
        assert_eq!(neg_ln_complement_down(Probability::ZERO), Some(0));
        assert_eq!(neg_ln_complement_up(Probability::ZERO), Some(0));
        assert_eq!(neg_ln_complement_up(Probability::ONE), None);
        assert_eq!(neg_ln_complement_down(Probability::ONE), None);
        assert_eq!(one_minus_exp_neg_up(0), Probability::ZERO);
        assert_eq!(one_minus_exp_neg_up(u128::MAX), Probability::ONE);
        assert_eq!(one_minus_exp_neg_up(1).bits(), 1);
    }

    proptest! {
        #[test]
        fn close_to_floats(bits in 0..(1_u128 << 64)) {
            let p = bits as f64 / ONE;
            let down = neg_ln_complement_down(Probability::from_bits(bits)).unwrap() as f64 / ONE;
            prop_assert!((down + libm::log1p(-p)).abs() <= 1e-12 * down.max(1e-3));
            let up = one_minus_exp_neg_up(bits).to_f64();
            prop_assert!((up + libm::expm1(-p)).abs() <= 1e-12);
        }

        #[test]
        fn exponential_undoes_logarithm(bits in 0..(1_u128 << 64)) {
            let p = Probability::from_bits(bits);
            let up = neg_ln_complement_up(p).unwrap();
            prop_assert!(one_minus_exp_neg_up(up) >= p);
        }
    }
}
