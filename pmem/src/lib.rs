//! torc-pmem
