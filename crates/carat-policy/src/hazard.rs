//! From an audit probability to a hazard: detection power, colluding auditors, predictable coins.
