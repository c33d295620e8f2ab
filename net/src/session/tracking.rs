//! Client-side caching: what a client asks about the keys that it keeps copies of, and is told of them.

use torc_engine::words;

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// It is told from now on; the words that come with it are prefixes.
    Begin(Mode),
    End,
    /// Its next command reads for its cache (true, with [`Which::OptIn`]), or does not (false, with [`Which::OptOut`]).
    Caching(bool),
    /// That command is over.
    CachingOver,
    /// How it is told.
    Look,
}

/// How a client is told of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mode {
    pub which: Which,
    /// Not of changes that it makes itself.
    pub no_loop: bool,
    /// The number of the client that is told in its place; 0: itself.
    pub redirect: u64,
}

/// Of which keys a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// Those that it has read.
    #[default]
    Read,
    /// Those that it has read behind [`Tracking::Caching`].
    OptIn,
    /// Those that it has read, but for commands behind [`Tracking::Caching`].
    OptOut,
    /// All that begin with one of its prefixes.
    Prefixes,
}

/// How a client is told, in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracked {
    /// `None`: not at all.
    pub mode: Option<Mode>,
    pub caching: bool,
    /// The client that is told in its place is gone.
    pub is_broken: bool,
}

/// Why a client is not told as it wants to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTracked {
    /// There is no client to be told in its place.
    NoClient,
    /// It is told by prefixes already, or by keys.
    SwitchesPrefixes,
    /// It is told by OPTIN already, or by OPTOUT.
    SwitchesOpt,
    /// The words of the answer are a new prefix and one that it has, of which one begins with the other.
    Overlaps,
    /// CACHING while it is told of nothing.
    NotCaching,
    /// CACHING YES without OPTIN, and NO without OPTOUT.
    NoOptIn,
    NoOptOut,
    /// It has as many prefixes as it may: `--max-subscriptions`.
    TooManyPrefixes,
}

/// Why a client is not told, and the words of the answer.
pub type Refused = (NotTracked, Vec<u8>);

/// What a client wants to be told.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub mode: Mode,
    /// It has said CACHING, and the command that this is about is not over.
    pub caching: bool,
    /// In order; none is the start of another.
    pub prefixes: Vec<Box<[u8]>>,
}

impl Wanted {
    /// What a client wants that has wanted something `before`, with new prefixes as [`words`]; it may have so many in all.
    ///
    /// # Errors
    /// Why it does not go together.
    pub fn begin(
        before: Option<&Wanted>,
        mode: Mode,
        prefixes: &[u8],
        prefixes_max: usize,
    ) -> Result<Wanted, Refused> {
        let refused = |why| Err((why, Vec::new()));
        let mut wanted = before.cloned().unwrap_or_default();
        match (before.map(|before| before.mode.which), mode.which) {
            (Some(before), after) if (before == Which::Prefixes) != (after == Which::Prefixes) => {
                return refused(NotTracked::SwitchesPrefixes);
            }
            (Some(Which::OptIn), Which::OptOut) | (Some(Which::OptOut), Which::OptIn) => {
                return refused(NotTracked::SwitchesOpt);
            }
            _ => {}
        }
        for prefix in words::each(prefixes) {
            let overlaps = |other: &&[u8]| other.starts_with(prefix) || prefix.starts_with(other);
            if let Some(other) = wanted.each_prefix().find(overlaps) {
                return Err((NotTracked::Overlaps, listed([prefix, other].into_iter())));
            }
        }
        wanted.prefixes.extend(words::each(prefixes).map(Box::from));
        let has_any = !prefixes.is_empty() || wanted.prefixes.iter().any(|prefix| prefix.is_empty());
        if mode.which == Which::Prefixes && !has_any {
            wanted.prefixes.push(Box::default());
        }
        if wanted.prefixes.len() > prefixes_max {
            return refused(NotTracked::TooManyPrefixes);
        }
        wanted.prefixes.sort_unstable();
        Ok(Wanted { mode, ..wanted })
    }

    /// CACHING.
    ///
    /// # Errors
    /// Why that means nothing to it.
    pub fn cache(&mut self, yes: bool) -> Result<(), NotTracked> {
        match (self.mode.which, yes) {
            (Which::OptIn, true) | (Which::OptOut, false) => self.caching = true,
            (_, true) => return Err(NotTracked::NoOptIn),
            (_, false) => return Err(NotTracked::NoOptOut),
        }
        Ok(())
    }

    /// Whether it wants to be told of what it reads now.
    pub fn reads(&self) -> bool {
        match self.mode.which {
            Which::Read => true,
            Which::OptIn => self.caching,
            Which::OptOut => !self.caching,
            Which::Prefixes => false,
        }
    }

    pub fn tracked(&self, is_broken: bool) -> Tracked {
        Tracked { mode: Some(self.mode), caching: self.caching, is_broken }
    }

    /// The prefixes, as [`words`].
    pub fn prefix_words(&self) -> Vec<u8> {
        listed(self.each_prefix())
    }

    fn each_prefix(&self) -> impl Iterator<Item = &[u8]> {
        self.prefixes.iter().map(|prefix| &prefix[..])
    }
}

fn listed<'w>(all: impl Iterator<Item = &'w [u8]>) -> Vec<u8> {
    let mut list = Vec::new();
    for word in all {
        words::begin(word.len() as u32, &mut list);
        list.extend_from_slice(word);
    }
    list
}
