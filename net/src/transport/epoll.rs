//! The epoll transport.
