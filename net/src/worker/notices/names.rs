//! What Redis calls that which a command has done to a key.

use super::Notices;
use crate::event_classes::EventClasses;
use torc_engine::bits;
use torc_engine::command::{Command, Delta, Expiry, IfEqual, Millis, Op, Outcome, Then, Unpack, WriteMode};
use torc_engine::shard::Glance;

/// Notes what came of a command. `before`: what there was, if somebody has looked.
pub(super) fn note(
    notices: &mut Notices,
    command: &Command<'_>,
    outcome: &Outcome<'_>,
    before: Glance,
    now: Millis,
) {
    let mut tell = |class, event| notices.note(class, event, command.database, command.key);
    let misses = matches!(
        outcome,
        Outcome::Miss | Outcome::Stored { old: None, .. } | Outcome::NotStored { old: None }
    );
    let looks = match &command.op {
        Op::Read(_) => true,
        Op::Write(write) => write.want_old,
        Op::Delete(delete) => delete.want_old,
        _ => false,
    };
    if misses && looks {
        tell(EventClasses::MISS, "keymiss");
    }
    let stores = match outcome {
        Outcome::Stored { .. } | Outcome::Counter { .. } => true,
        Outcome::Fields(_) => command.op.changes(),
        _ => false,
    };
    if stores && before == Glance::Absent {
        tell(EventClasses::NEW, "new");
    }
    match (&command.op, outcome) {
        (Op::Read(read), Outcome::Item(_)) => match read.expiry {
            Expiry::Keep => {}
            Expiry::Never if matches!(before, Glance::Found(meta) if meta.expiry.is_some()) => {
                tell(EventClasses::GENERIC, "persist")
            }
            Expiry::Never => {}
            expiry => tell(EventClasses::GENERIC, expiring(expiry, now)),
        },
        (Op::Write(write), Outcome::Stored { .. }) => {
            let appends = matches!(write.mode, WriteMode::Append | WriteMode::Prepend);
            tell(EventClasses::STRING, if appends { "append" } else { "set" });
            if let (Expiry::At(_), false) = (write.expiry, appends) {
                tell(EventClasses::GENERIC, "expire");
            }
        }
        (Op::IfEqual(IfEqual { then: Then::Write { expiry, .. }, .. }), Outcome::Stored { .. })
        | (Op::Unpack(Unpack { expiry, .. }), Outcome::Stored { .. }) => {
            tell(EventClasses::STRING, "set");
            if let Expiry::At(_) = expiry {
                tell(EventClasses::GENERIC, "expire");
            }
        }
        (Op::Bits(_), Outcome::Fields(results)) if bits::changes(&results.to_vec()) => {
            tell(EventClasses::STRING, "setbit");
        }
        (Op::SetRange { .. }, Outcome::Stored { .. }) => tell(EventClasses::STRING, "setrange"),
        (Op::Delete(_) | Op::IfEqual(_), Outcome::Deleted { .. }) => tell(EventClasses::GENERIC, "del"),
        (Op::Arithmetic(arithmetic), Outcome::Counter { .. }) => {
            let is_float = matches!(arithmetic.delta, Delta::Float(_) | Delta::Extended(_));
            tell(EventClasses::STRING, if is_float { "incrbyfloat" } else { "incrby" });
        }
        (Op::Expire(expire), Outcome::Touched { .. }) => {
            tell(EventClasses::GENERIC, expiring(expire.expiry, now))
        }
        _ => {}
    }
}

/// What a new expiry is called.
fn expiring(expiry: Expiry, now: Millis) -> &'static str {
    match expiry {
        Expiry::Never => "persist",
        Expiry::At(end) if end <= now => "del",
        _ => "expire",
    }
}
