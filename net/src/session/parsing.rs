//! The limits of parsing, and its result.

/// The result of one call of `parse`.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Bytes of the input that are worked off; the rest is offered again with more behind it.
    pub consumed: usize,
    /// Bytes that the current frame lacks at least, if known (0: unknown). A hint for buffers.
    pub missing: usize,
}

impl Parsed {
    /// Missing bytes of who parses nothing before what was parsed is done, whatever is there.
    pub const HALTED: usize = usize::MAX;
}

/// The limits that parsing keeps, all settings.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `--max-key`, bytes.
    pub key_bytes_max: usize,
    /// `--max-value`, bytes.
    pub value_bytes_max: u64,
    /// Values longer than this are received in slices (`ValueBegin`), bytes.
    pub value_bytes_inline: usize,
    /// Longest frame without its value (command line, array of arguments), bytes.
    pub frame_bytes_max: usize,
    /// Most keys or arguments in one command.
    pub arguments_max: usize,
    /// `--databases`.
    pub databases: u16,
    /// A change can be safe before it is answered: there is a tier that outlives a crash.
    pub makes_durable: bool,
    /// `--enable-debug-command`.
    pub debug_commands: bool,
    /// Clients have to give a password first.
    pub has_password: bool,
}
