//! torc-engine
