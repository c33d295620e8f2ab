//! memcached text and meta.
