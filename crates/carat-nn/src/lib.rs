//! From an ONNX file to exact integer answers: import, calibration, compilation, execution.
//!
//! ```text
//! ONNX --import--> Graph (real-valued) --calibrate--> ranges --compile--> Program (integers) --exec--> answers
//! ```
#![deny(unsafe_code)]

pub mod exec;
pub mod graph;
pub mod import;
pub mod calibrate;
pub mod compile;
pub mod edge;
pub mod conformance;
pub mod fidelity;
pub mod model;
