//! The rules T1 to T8, each as a small function with its assumptions and source.
