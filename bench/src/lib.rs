//! torc-bench
