//! What can be bought here, at what cost: rungs, auditors, bonds, calibration records.
