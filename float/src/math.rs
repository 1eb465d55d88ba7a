//! The C library's transcendental functions, replaced.
//!
//! The engine calls `exp`, `sin`, `pow` and others through the standard library, which calls the C library's. Those differ
//! between libraries and their versions, and one library's choose another code path by processor. A symbol that the program
//! defines itself comes before a library's, so each is defined here as that of the pinned crate `libm`, which has one code
//! path. Whether any was forgotten is checked on the finished program (`.ci/run`, the step `float`).

#![allow(
    unreachable_pub,
    reason = "these are for the linker, which knows no crates"
)]

/// Defines C functions of one or two numbers as those of the crate `libm`.
macro_rules! replace {
    ($($name:ident($($argument:ident: $type:ty),+) -> $result:ty;)+) => {$(
        #[doc = concat!("`", stringify!($name), "` of the crate `libm`.")]
        // SAFETY: the name, the types and the calling convention are those of the C library's function.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($argument: $type),+) -> $result {
            ::libm::$name($($argument),+)
        }
    )+};
}

replace! {
    acos(x: f64) -> f64;
    acosf(x: f32) -> f32;
    acosh(x: f64) -> f64;
    acoshf(x: f32) -> f32;
    asin(x: f64) -> f64;
    asinf(x: f32) -> f32;
    asinh(x: f64) -> f64;
    asinhf(x: f32) -> f32;
    atan(x: f64) -> f64;
    atanf(x: f32) -> f32;
    atan2(x: f64, y: f64) -> f64;
    atan2f(x: f32, y: f32) -> f32;
    atanh(x: f64) -> f64;
    atanhf(x: f32) -> f32;
    cbrt(x: f64) -> f64;
    cbrtf(x: f32) -> f32;
    cos(x: f64) -> f64;
    cosf(x: f32) -> f32;
    cosh(x: f64) -> f64;
    coshf(x: f32) -> f32;
    erf(x: f64) -> f64;
    erff(x: f32) -> f32;
    erfc(x: f64) -> f64;
    erfcf(x: f32) -> f32;
    exp(x: f64) -> f64;
    expf(x: f32) -> f32;
    exp2(x: f64) -> f64;
    exp2f(x: f32) -> f32;
    exp10(x: f64) -> f64;
    exp10f(x: f32) -> f32;
    expm1(x: f64) -> f64;
    expm1f(x: f32) -> f32;
    hypot(x: f64, y: f64) -> f64;
    hypotf(x: f32, y: f32) -> f32;
    log(x: f64) -> f64;
    logf(x: f32) -> f32;
    log10(x: f64) -> f64;
    log10f(x: f32) -> f32;
    log1p(x: f64) -> f64;
    log1pf(x: f32) -> f32;
    log2(x: f64) -> f64;
    log2f(x: f32) -> f32;
    pow(x: f64, y: f64) -> f64;
    powf(x: f32, y: f32) -> f32;
    sin(x: f64) -> f64;
    sinf(x: f32) -> f32;
    sinh(x: f64) -> f64;
    sinhf(x: f32) -> f32;
    tan(x: f64) -> f64;
    tanf(x: f32) -> f32;
    tanh(x: f64) -> f64;
    tanhf(x: f32) -> f32;
    tgamma(x: f64) -> f64;
    tgammaf(x: f32) -> f32;
}

/// Sine and cosine at once, which the compiler makes of a sine and a cosine of the same number.
///
/// # Safety
/// Both places must be valid for writes, as the C library's function demands.
// SAFETY: the name, the types and the calling convention are those of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sincos(x: f64, sine: *mut f64, cosine: *mut f64) {
    // SAFETY: promised by the caller.
    unsafe {
        sine.write(libm::sin(x));
        cosine.write(libm::cos(x));
    }
}

/// [`sincos`] for binary32.
///
/// # Safety
/// As for [`sincos`].
// SAFETY: the name, the types and the calling convention are those of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sincosf(x: f32, sine: *mut f32, cosine: *mut f32) {
    // SAFETY: promised by the caller.
    unsafe {
        sine.write(libm::sinf(x));
        cosine.write(libm::cosf(x));
    }
}
