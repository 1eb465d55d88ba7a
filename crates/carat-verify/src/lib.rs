//! carat-verify
