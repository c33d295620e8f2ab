//! Memory that is registered.

/// Registered memory. When it is dropped its keys end: first that, then the memory may go.
pub trait Region {
    /// Where it begins, in our address space; what the peer names it by, too.
    fn address(&self) -> u64;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// For peers that may read or write it.
    fn remote_key(&self) -> u32;
}
