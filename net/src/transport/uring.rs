//! The uring transport.
