//! carat-program
