//! torc-proto
