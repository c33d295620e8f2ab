//! torc-net
