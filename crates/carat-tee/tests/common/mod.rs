//! What tests share.

pub(crate) mod evidence;
