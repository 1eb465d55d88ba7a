//! carat-receipt
