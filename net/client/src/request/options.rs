//! What each operation's request can be told beside its key and its value.

use super::*;

impl<A> Request<A> {
    fn flag(mut self, flag: u16) -> Self {
        self.parts.flags |= flag;
        self
    }

    fn option(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.parts.options);
        self
    }
}

impl<A: Change> Request<A> {
    /// Answer when the change outlives a crash of the server and its machine, whatever the server does otherwise. One that makes
    /// none so refuses, with [`Status::NotSupported`](crate::Status).
    pub fn durable(mut self) -> Self {
        self.parts.flags = self.parts.flags & !flags::DURABILITY | flags::DURABLE;
        self
    }

    /// Answer when the change is done in the server's memory, whatever the server does otherwise.
    pub fn at_once(mut self) -> Self {
        self.parts.flags = self.parts.flags & !flags::DURABILITY | flags::AT_ONCE;
        self
    }
}

impl Request<Get> {
    /// Give the item this long to live (get-and-touch).
    pub fn touch(self, ttl: Duration) -> Self {
        self.expiry(in_ms(ttl))
    }

    /// Give the item this expiry.
    pub fn expiry(self, expiry: Expiry) -> Self {
        self.option(|options| options.expiry = Some(expiry))
    }

    /// Only the item's facts.
    pub fn without_value(self) -> Self {
        self.flag(flags::NO_VALUE)
    }

    /// Remaining time, length and version, too.
    pub fn with_meta(self) -> Self {
        self.flag(flags::WANT_META)
    }

    /// Look without touching: neither recency nor the fetched mark changes.
    pub fn peek(self) -> Self {
        self.flag(flags::PEEK)
    }

    /// Take the lease of a stale item, and see placeholders.
    pub fn leases(self) -> Self {
        self.flag(flags::LEASES)
    }

    /// On a miss, leave a placeholder that lives this long and win its lease.
    pub fn vivify(self, ttl: Duration) -> Self {
        self.option(|options| options.vivify = Some(in_ms(ttl)))
    }

    /// Win the lease if less than this is left to live.
    pub fn recache(self, below: Duration) -> Self {
        let ms = u64::try_from(below.as_millis()).unwrap_or(u64::MAX);
        self.option(|options| options.recache_below_ms = Some(ms))
    }
}

impl Request<Set> {
    /// How long it lives; without it, for ever.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.expiry(in_ms(ttl))
    }

    /// When it ends.
    pub fn expiry(self, expiry: Expiry) -> Self {
        self.option(|options| options.expiry = Some(expiry))
    }

    /// Keep the expiry of the item that is there.
    pub fn keep_ttl(self) -> Self {
        self.expiry(Expiry::Keep)
    }

    /// 32 bits of the client's own, given back with the item.
    pub fn flags(self, client_flags: u32) -> Self {
        self.option(|options| options.client_flags = Some(client_flags))
    }

    /// Only if there is no item.
    pub fn add(mut self) -> Self {
        self.parts.op = Op::Add;
        self
    }

    /// Only if there is an item.
    pub fn replace(mut self) -> Self {
        self.parts.op = Op::Replace;
        self
    }

    /// Only if the item's token is this one.
    pub fn compare(self, token: u64) -> Self {
        self.option(|options| options.compare = Some(token))
    }

    /// With `compare`: a token smaller than the item's stores all the same, marked stale.
    pub fn invalidate(self) -> Self {
        self.flag(flags::INVALIDATE)
    }

    /// Choose the new item's token.
    pub fn token(self, token: u64) -> Self {
        self.option(|options| options.token = Some(token))
    }

    /// Answer with the item that was there before.
    pub fn want_old(self) -> Self {
        self.flag(flags::WANT_OLD)
    }

    /// Answer with the new item's facts.
    pub fn with_meta(self) -> Self {
        self.flag(flags::WANT_META)
    }
}

impl Request<Join> {
    /// On a miss, create the item with this time to live.
    pub fn vivify(self, expiry: Expiry) -> Self {
        self.option(|options| options.vivify = Some(expiry))
    }

    /// Only if the item's token is this one.
    pub fn compare(self, token: u64) -> Self {
        self.option(|options| options.compare = Some(token))
    }
}

impl Request<Delete> {
    /// Only if the item's token is this one.
    pub fn compare(self, token: u64) -> Self {
        self.option(|options| options.compare = Some(token))
    }

    /// Keep it for so long, marked stale: the next reader that knows leases wins the lease.
    pub fn stale(self, ttl: Duration) -> Self {
        self.option(|options| options.expiry = Some(in_ms(ttl))).flag(flags::STALE)
    }

    /// Keep the item, without its value and flags.
    pub fn value_only(self) -> Self {
        self.flag(flags::VALUE_ONLY)
    }

    /// Answer with the removed item.
    pub fn want_old(self) -> Self {
        self.flag(flags::WANT_OLD)
    }
}

/// When a touch is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TouchIf {
    /// The item has no expiry.
    Unset,
    /// It has one.
    Set,
    /// The new one is later.
    Later,
    /// The new one is earlier.
    Earlier,
    /// It has one, and the new one is later.
    SetAndLater,
    /// It has one, and the new one is earlier.
    SetAndEarlier,
}

impl Request<Touch> {
    pub(crate) fn to(self, expiry: Expiry) -> Self {
        self.option(|options| options.expiry = Some(expiry))
    }

    /// Only if this holds.
    pub fn only_if(mut self, condition: TouchIf) -> Self {
        let number = condition as u16 + 1;
        self.parts.flags = (self.parts.flags & !flags::CONDITION) | number << flags::CONDITION_SHIFT;
        self
    }
}

macro_rules! counters {
    ($($name:ident, $number:ty, $bits:expr;)*) => {$(
        impl Request<$name> {
            /// On a miss, create the item with this number.
            pub fn initial(self, number: $number, expiry: Expiry) -> Self {
                let bits: fn($number) -> u64 = $bits;
                let initial = Initial { number: bits(number), expiry };
                self.option(|options| options.initial = Some(initial))
            }

            /// Give the item this long to live.
            pub fn ttl(self, ttl: Duration) -> Self {
                self.option(|options| options.expiry = Some(in_ms(ttl)))
            }

            /// Only if the item's token is this one, else [`Error::TokenMismatch`].
            pub fn compare(self, token: u64) -> Self {
                self.option(|options| options.compare = Some(token))
            }
        }
    )*};
}

counters! {
    Count, u64, |number| number;
    CountSigned, i64, |number| number as u64;
    CountFloat, f64, f64::to_bits;
}

impl Request<Flush> {
    /// Not now, but after this time.
    pub fn after(self, time: Duration) -> Self {
        self.option(|options| options.expiry = Some(in_ms(time)))
    }
}
