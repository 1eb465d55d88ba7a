//! What tests share.

pub mod evidence;
