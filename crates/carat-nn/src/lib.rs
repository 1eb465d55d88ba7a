//! From an ONNX file to exact integer answers: import, calibration, compilation, execution.
//!
//! ```text
//! ONNX --import--> Graph (real-valued) --calibrate--> ranges --compile--> Program (integers) --exec--> answers
//! ```
#![deny(unsafe_code)]

pub mod calibrate;
pub mod compile;
pub mod conformance;
pub mod edge;
pub mod exec;
pub mod fidelity;
pub mod graph;
pub mod import;
pub mod model;
