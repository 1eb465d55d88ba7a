//! Resampling: every mode is a constant matrix along each axis, or a selection.

use super::{ImportError, Outputs, ctx::Ctx, one, reduce::along_axis};
use crate::graph::Id;

pub(super) fn lower(c: &mut Ctx<'_>) -> Outputs {
    match c.op() {
        "Resize" | "Upsample" => resize(c),
        _ => Ok(None),
    }
}

/// How an output position maps to an input position.
struct Axis {
    input: usize,
    output: usize,
    scale: f64,
    roi: (f64, f64),
}

impl Axis {
    fn source(&self, mode: &str, i: usize) -> Option<f64> {
        // ONNX computes with the length before it is rounded down.
        let (x, n, m) = (i as f64, self.input as f64, self.scale * self.input as f64);
        Some(match mode {
            "half_pixel" => (x + 0.5) / self.scale - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = self.output as f64 / m;
                let centre = n / 2.0;
                centre * (1.0 - adjustment) + (x + 0.5) / self.scale - 0.5
            }
            "pytorch_half_pixel" => {
                if self.output > 1 {
                    (x + 0.5) / self.scale - 0.5
                } else {
                    0.0
                }
            }
            "align_corners" => {
                if m == 1.0 {
                    0.0
                } else {
                    x * (n - 1.0) / (m - 1.0)
                }
            }
            "asymmetric" => x / self.scale,
            "tf_crop_and_resize" => {
                if m > 1.0 {
                    self.roi.0 * (n - 1.0) + x * (self.roi.1 - self.roi.0) * (n - 1.0) / (m - 1.0)
                } else {
                    0.5 * (self.roi.0 + self.roi.1) * (n - 1.0)
                }
            }
            _ => return None,
        })
    }
}

fn nearest(mode: &str, x: f64) -> Option<f64> {
    Some(match mode {
        "round_prefer_floor" => {
            if x == libm::floor(x) + 0.5 {
                libm::floor(x)
            } else {
                libm::round(x)
            }
        }
        "round_prefer_ceil" => libm::floor(x + 0.5),
        "floor" => libm::floor(x),
        "ceil" => libm::ceil(x),
        _ => return None,
    })
}

fn resize(c: &mut Ctx<'_>) -> Outputs {
    let mut x = c.x(0)?;
    let dims = c.dims(x);
    let rank = dims.len();
    let upsample = c.op() == "Upsample";
    let mode = c.text("mode", "nearest");
    let transformation = if upsample || c.opset < 11 {
        "asymmetric".to_string()
    } else {
        c.text("coordinate_transformation_mode", "half_pixel")
    };
    let rounding = if upsample || c.opset < 11 {
        "floor".to_string()
    } else {
        c.text("nearest_mode", "round_prefer_floor")
    };
    let a = c.float("cubic_coeff_a", -0.75);
    let exclude = c.int("exclude_outside", 0) != 0;
    let extrapolation = c.float("extrapolation_value", 0.0);
    if c.int("antialias", 0) != 0 {
        return c.refuse("with antialias is not supported");
    }
    let axes = match c.ints("axes") {
        Some(v) => v
            .iter()
            .map(|&v| c.axis(v, rank))
            .collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let policy = c.text("keep_aspect_ratio_policy", "stretch");
    let operand = |c: &Ctx<'_>, i: usize| -> Result<Option<Vec<f64>>, ImportError> {
        if !c.present(i) {
            return Ok(None);
        }
        Ok(Some(c.constant(i)?.data.clone()).filter(|v| !v.is_empty()))
    };
    let (roi, scales, sizes) = if upsample || c.opset < 11 {
        let s = match c.floats("scales") {
            Some(s) => Some(s),
            None => operand(c, 1)?,
        };
        (None, s, None)
    } else {
        let roi = if transformation == "tf_crop_and_resize" {
            operand(c, 1)?
        } else {
            None
        };
        (roi, operand(c, 2)?, operand(c, 3)?)
    };
    let n = axes.len();
    let roi = roi.unwrap_or_else(|| [vec![0.0; n], vec![1.0; n]].concat());
    if roi.len() != 2 * n
        || scales
            .as_ref()
            .or(sizes.as_ref())
            .is_none_or(|v| v.len() != n)
    {
        return c.refuse("needs one scale or size per axis");
    }
    let mut plan = Vec::new();
    for (k, &axis) in axes.iter().enumerate() {
        let input = dims[axis];
        let (output, scale) = match (&scales, &sizes) {
            (Some(s), _) => (libm::floor(input as f64 * s[k]), s[k]),
            (None, Some(s)) => (s[k], s[k] / input as f64),
            (None, None) => return c.refuse("needs one scale or size per axis"),
        };
        if !(1.0..=1e6).contains(&output) || !scale.is_finite() {
            return c.refuse(format!("makes an axis of length {output}"));
        }
        plan.push((
            axis,
            Axis {
                input,
                output: output as usize,
                scale,
                roi: (roi[k], roi[n + k]),
            },
        ));
    }
    if scales.is_none() && policy != "stretch" {
        let ratios = plan.iter().map(|(_, p)| p.scale);
        let scale = match policy.as_str() {
            "not_larger" => ratios.fold(f64::INFINITY, f64::min),
            "not_smaller" => ratios.fold(0.0, f64::max),
            other => return c.refuse(format!("has a policy `{other}` that is not supported")),
        };
        for (_, p) in &mut plan {
            p.scale = scale;
            p.output = libm::round(scale * p.input as f64) as usize;
        }
    }
    for (axis, p) in &plan {
        if p.output == p.input && p.scale == 1.0 && transformation != "tf_crop_and_resize" {
            continue;
        }
        x = resize_axis(
            c,
            x,
            *axis,
            p,
            &mode,
            &transformation,
            &rounding,
            (a, exclude, extrapolation),
        )?;
    }
    one(x)
}

#[allow(
    clippy::too_many_arguments,
    reason = "these are the operator's attributes"
)]
fn resize_axis(
    c: &mut Ctx<'_>,
    x: Id,
    axis: usize,
    p: &Axis,
    mode: &str,
    transformation: &str,
    rounding: &str,
    (a, exclude, extrapolation): (f64, bool, f64),
) -> Result<Id, ImportError> {
    let n = p.input as i64;
    let mut sources = Vec::new();
    for i in 0..p.output {
        let Some(s) = p.source(transformation, i) else {
            return c.refuse(format!(
                "has a coordinate mode `{transformation}` that is not supported"
            ));
        };
        sources.push(s);
    }
    if transformation == "tf_crop_and_resize"
        && sources.iter().any(|&s| s < 0.0 || s > (n - 1) as f64)
    {
        return c.refuse(format!(
            "reads outside its operand (filled with {extrapolation}), which is not supported"
        ));
    }
    if mode == "nearest" {
        let index = sources
            .iter()
            .map(|&s| nearest(rounding, s).map(|v| (v as i64).clamp(0, n - 1) as usize))
            .collect::<Option<Vec<_>>>();
        let Some(index) = index else {
            return c.refuse(format!(
                "has a nearest mode `{rounding}` that is not supported"
            ));
        };
        return c.take(x, axis, &index);
    }
    if p.output.saturating_mul(p.input) > 1 << 24 {
        return c.refuse("resamples an axis that is too long");
    }
    let mut matrix = vec![0.0; p.output * p.input];
    for (i, &s) in sources.iter().enumerate() {
        let base = libm::floor(s);
        let t = s - base;
        let taps: Vec<(i64, f64)> = match mode {
            "linear" | "bilinear" => vec![(0, 1.0 - t), (1, t)],
            "cubic" => vec![
                (
                    -1,
                    ((a * (t + 1.0) - 5.0 * a) * (t + 1.0) + 8.0 * a) * (t + 1.0) - 4.0 * a,
                ),
                (0, ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0),
                (
                    1,
                    ((a + 2.0) * (1.0 - t) - (a + 3.0)) * (1.0 - t) * (1.0 - t) + 1.0,
                ),
                (
                    2,
                    ((a * (2.0 - t) - 5.0 * a) * (2.0 - t) + 8.0 * a) * (2.0 - t) - 4.0 * a,
                ),
            ],
            other => return c.refuse(format!("has a mode `{other}` that is not supported")),
        };
        let inside = |offset: i64| (0..n).contains(&(base as i64 + offset));
        let total: f64 = if exclude {
            taps.iter()
                .filter(|(o, _)| inside(*o))
                .map(|(_, w)| w)
                .sum()
        } else {
            1.0
        };
        for (offset, w) in taps {
            if exclude && !inside(offset) {
                continue;
            }
            let at = (base as i64 + offset).clamp(0, n - 1) as usize;
            matrix[i * p.input + at] += w / total;
        }
    }
    let dtype = c.dtype(x);
    along_axis(c, x, axis, p.output, matrix, dtype)
}
