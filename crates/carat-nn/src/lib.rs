//! carat-nn
