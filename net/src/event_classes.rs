//! Which changes of keys clients are told of as messages: `notify-keyspace-events`, in the letters of Redis.

use std::fmt;

/// A set of classes of events, and of the two kinds of channels that they are told on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventClasses(u16);

/// Letters in the order in which a set is written, and whether `A` stands for them.
const LETTERS: [(char, EventClasses, bool); 14] = [
    ('g', EventClasses::GENERIC, true),
    ('$', EventClasses::STRING, true),
    ('l', EventClasses(1 << 4), true),
    ('s', EventClasses(1 << 5), true),
    ('h', EventClasses(1 << 6), true),
    ('z', EventClasses(1 << 7), true),
    ('x', EventClasses::EXPIRED, true),
    ('e', EventClasses::EVICTED, true),
    ('t', EventClasses(1 << 10), true),
    ('d', EventClasses(1 << 13), true),
    ('n', EventClasses::NEW, false),
    ('K', EventClasses::KEYSPACE, false),
    ('E', EventClasses::KEYEVENT, false),
    ('m', EventClasses::MISS, false),
];

impl EventClasses {
    /// Channels by key, whose messages are events.
    pub const KEYSPACE: EventClasses = EventClasses(1);
    /// Channels by event, whose messages are keys.
    pub const KEYEVENT: EventClasses = EventClasses(1 << 1);
    /// What does not go by the type of the value: DEL, EXPIRE, RENAME.
    pub const GENERIC: EventClasses = EventClasses(1 << 2);
    pub const STRING: EventClasses = EventClasses(1 << 3);
    pub const EXPIRED: EventClasses = EventClasses(1 << 8);
    pub const EVICTED: EventClasses = EventClasses(1 << 9);
    /// A read of a key that is not there.
    pub const MISS: EventClasses = EventClasses(1 << 11);
    /// A key that was not there before.
    pub const NEW: EventClasses = EventClasses(1 << 12);

    /// Reads letters; `None` if one stands for nothing.
    pub fn parse(letters: &str) -> Option<EventClasses> {
        letters.chars().try_fold(EventClasses::default(), |sum, letter| {
            let of_all = |all: EventClasses, (_, class, is_of_all): &(char, EventClasses, bool)| {
                if *is_of_all { all.with(*class) } else { all }
            };
            let class = match letter {
                'A' => LETTERS.iter().fold(EventClasses::default(), of_all),
                _ => LETTERS.iter().find(|(known, ..)| *known == letter)?.1,
            };
            Some(sum.with(class))
        })
    }

    pub(crate) fn bits(self) -> u16 {
        self.0
    }

    pub(crate) fn of_bits(bits: u16) -> EventClasses {
        EventClasses(bits)
    }

    const fn with(self, other: EventClasses) -> EventClasses {
        EventClasses(self.0 | other.0)
    }

    /// Whether it has any of these.
    #[inline]
    pub fn has(self, any: EventClasses) -> bool {
        self.0 & any.0 != 0
    }

    /// Whether anything is told at all: some class, on some channel.
    pub fn tells(self) -> bool {
        let channels = EventClasses::KEYSPACE.with(EventClasses::KEYEVENT);
        self.has(channels) && self.0 & !channels.0 != 0
    }
}

/// As Redis writes it: who has all that `A` stands for is not asked for `n`.
impl fmt::Display for EventClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = LETTERS.iter().filter(|(.., is_of_all)| *is_of_all).all(|(_, class, _)| self.has(*class));
        if all {
            f.write_str("A")?;
        }
        for (letter, class, is_of_all) in LETTERS {
            let is_said = all && (is_of_all || class == EventClasses::NEW);
            if self.has(class) && !is_said {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_and_written_as_redis_does_it() {
        let table = [
            ("", ""),
            ("A", "A"),
            ("KEA", "AKE"),
            ("KEg$x", "g$xKE"),
            ("Elshzt", "lshztE"),
            ("KEAm", "AKEm"),
            ("Kn", "nK"),
            ("AKEmn", "AKEm"),
            ("g$lshzxetd", "A"),
            ("m", "m"),
            ("Kd", "dK"),
        ];
        for (letters, written) in table {
            let classes = EventClasses::parse(letters).expect("letters");
            assert_eq!(classes.to_string(), written, "{letters}");
        }
        assert!(EventClasses::parse("q").is_none() && EventClasses::parse("KEQ").is_none());
        let tells = |letters| EventClasses::parse(letters).is_some_and(EventClasses::tells);
        assert!(tells("Kx") && !tells("KE") && !tells("A") && !tells(""));
    }
}
