//! What a script may ask of the world.

/// Why a script does not go on. It cannot catch that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It has run for as long as it may.
    Time,
    /// It has more memory than it may, or its reply would be too long.
    Memory,
    /// The host ends it.
    Host,
}

/// How important a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// What a script talks to.
pub trait Host {
    /// Does a command. `request` is an array of `words` words as a client would send it; the answer is appended in the words of this
    /// version of RESP.
    ///
    /// # Errors
    /// [`Stop`]: the script ends here.
    fn call(&mut self, request: &[u8], words: usize, resp3: bool, answer: &mut Vec<u8>) -> Result<(), Stop>;

    /// A line for the server's log.
    fn log(&mut self, level: Level, text: &[u8]);
}
