//! What is wrong with a request, in memcached's words.

/// Why a command line gave no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unparsed {
    /// The line has not ended yet.
    Incomplete,
    Invalid {
        error: Invalid,
        /// Bytes of the line with its end.
        consumed: usize,
        /// Bytes of value, line end not counted, that the line announces in spite of its error. They are to be
        /// skipped: read as commands they would let a value speak for its sender.
        value_bytes: Option<u64>,
        /// The client does not wait for an answer, not even for this one.
        noreply: bool,
    },
}

/// The errors of the protocol that need no shard to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invalid {
    /// No such command, or a wrong number of words for it.
    Command,
    Format,
    /// No key: too long, or with bytes that none may have. Said as `Format`.
    Key,
    /// `delete` with a third word that is neither `0` nor `noreply`.
    DeleteUsage,
    Exptime,
    Delta,
    /// Meta: a flag stands twice.
    DuplicateFlag,
    /// Meta: no such flag.
    Flag,
    /// `md` and `ma` say this for every wrong flag.
    FlagOrDuplicate,
    /// Meta: what should be a number behind a flag is none.
    Token,
    Key64,
    OpaqueTooLong,
    ModeLength,
    SetMode,
    ArithmeticMode,
    Initial,
    DeltaFlag,
    /// The value does not end where its line said.
    DataChunk,
    /// A line other than a retrieval, over [`super::LINE_BYTES_MAX`].
    LineTooLong,
    /// A line over the server's own limit, `--max-frame`.
    FrameTooLong,
    /// Over the server's `--max-arguments`.
    TooManyKeys,
    /// `shutdown`, where clients may not ask for it.
    Shutdown,
    /// In another way than there is.
    ShutdownMode,
    StatsDetail,
    /// Requests are not counted by the prefix of their keys.
    StatsDetailOn,
    /// `stats cachedump` without its words, or of a class that cannot be.
    StatsWords,
    StatsClass,
    /// `cache_memlimit`: less than the protocol allows, bytes rather than megabytes, or out of bounds.
    MemoryTooSmall,
    MemoryInBytes,
    MemoryOutOfBounds,
    /// `lru_crawler`: no such class, no class at all, too long a sleep.
    CrawlerClass,
    CrawlerNotStarted,
    CrawlerSleep,
    /// `slabs reassign`: there is but one class.
    SlabClass,
    SameClass,
    /// `lru tune`
    LruShares,
    LruFactors,
    /// As many watch as may.
    TooManyWatchers,
}

impl Invalid {
    /// Whether the connection ends: where the next command starts is unknown.
    pub fn ends_connection(self) -> bool {
        matches!(self, Invalid::LineTooLong | Invalid::FrameTooLong)
    }

    /// The answer, with its line end.
    pub fn line(self) -> &'static [u8] {
        match self {
            Invalid::Command => b"ERROR\r\n",
            Invalid::Format | Invalid::Key => b"CLIENT_ERROR bad command line format\r\n",
            Invalid::DeleteUsage => {
                b"CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n"
            }
            Invalid::Exptime => b"CLIENT_ERROR invalid exptime argument\r\n",
            Invalid::Delta => b"CLIENT_ERROR invalid numeric delta argument\r\n",
            Invalid::DuplicateFlag => b"CLIENT_ERROR duplicate flag\r\n",
            Invalid::Flag => b"CLIENT_ERROR invalid flag\r\n",
            Invalid::FlagOrDuplicate => b"CLIENT_ERROR invalid or duplicate flag\r\n",
            Invalid::Token => b"CLIENT_ERROR bad token in command line format\r\n",
            Invalid::Key64 => b"CLIENT_ERROR error decoding key\r\n",
            Invalid::OpaqueTooLong => b"CLIENT_ERROR opaque token too long\r\n",
            Invalid::ModeLength => b"CLIENT_ERROR incorrect length for M token\r\n",
            Invalid::SetMode => b"CLIENT_ERROR invalid mode for ms M token\r\n",
            Invalid::ArithmeticMode => b"CLIENT_ERROR invalid mode for ma M token\r\n",
            Invalid::Initial => b"CLIENT_ERROR invalid numeric initial value\r\n",
            Invalid::DeltaFlag => b"CLIENT_ERROR invalid numeric delta value\r\n",
            Invalid::DataChunk => b"CLIENT_ERROR bad data chunk\r\n",
            Invalid::LineTooLong => b"CLIENT_ERROR line too long: 2048 bytes are the most\r\n",
            Invalid::FrameTooLong => b"CLIENT_ERROR request longer than --max-frame\r\n",
            Invalid::TooManyKeys => b"CLIENT_ERROR more keys in one request than --max-arguments\r\n",
            Invalid::Shutdown => b"ERROR: shutdown not enabled\r\n",
            Invalid::MemoryTooSmall => b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n",
            Invalid::MemoryInBytes => b"MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n",
            Invalid::MemoryOutOfBounds => b"MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n",
            Invalid::ShutdownMode => b"CLIENT_ERROR invalid shutdown mode\r\n",
            Invalid::CrawlerClass => b"BADCLASS invalid class id\r\n",
            Invalid::CrawlerNotStarted => b"NOTSTARTED no items to crawl\r\n",
            Invalid::CrawlerSleep => b"CLIENT_ERROR sleep must be one second or less\r\n",
            Invalid::SlabClass => b"BADCLASS invalid src or dst class id\r\n",
            Invalid::SameClass => b"SAME src and dst class are identical\r\n",
            Invalid::LruShares => b"ERROR hot and warm pcts must not exceed 80\r\n",
            Invalid::LruFactors => b"ERROR hot/warm age factors must be greater than 0\r\n",
            Invalid::TooManyWatchers => b"WATCHER_TOO_MANY log watcher limit reached\r\n",
            Invalid::StatsDetailOn => b"SERVER_ERROR requests are not counted by prefix\r\n",
            Invalid::StatsWords => b"CLIENT_ERROR bad command line\r\n",
            Invalid::StatsClass => b"CLIENT_ERROR Illegal slab id\r\n",
            Invalid::StatsDetail => b"CLIENT_ERROR usage: stats detail on|off|dump\r\n",
        }
    }
}
