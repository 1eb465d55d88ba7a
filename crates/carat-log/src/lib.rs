//! carat-log
