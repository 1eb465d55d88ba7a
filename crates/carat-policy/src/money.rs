//! Gains, bonds and prices: exact integers with a stated direction of rounding.
