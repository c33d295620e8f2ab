//! torc-client
