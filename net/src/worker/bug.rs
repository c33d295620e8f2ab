//! Bugs that tests put in.

use crate::tier::SaveBatch;
use std::collections::HashMap;
use torc_engine::Shard;
use torc_engine::command::UploadId;
use torc_engine::segments::Room;
use torc_pmem::format::record::Kind;

/// A bug that the simulator puts in, to see that it is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Bug {
    #[default]
    None,
    /// Now and then another shard's answer is dropped.
    LostAnswer,
    /// Now and then two answers that are ready change places.
    SwappedAnswers,
    /// Expiry stands still.
    MissedExpiry,
    /// Now and then a slice of a long value is dropped.
    LostSlice,
    /// Bytes of a long value that came later are put before those that wait to be parsed.
    OvertakenInput,
    /// Now and then bytes that another shard lent are not given back.
    LostRelease,
    /// Now and then input behind a round's share is forgotten.
    LostInput,
    /// A value that is half sent to another shard is kept when its client goes.
    KeptUpload,
    /// Shards do not wake each other.
    NeverWoken,
    /// A worker that has spun sleeps without telling the others.
    SilentSleep,
    /// One wake-up in many is lost.
    LostWakeup,
    /// Whoever has input left is parsed before all others, without a bound.
    FirstForEver,
    /// A connection's share of a turn has no end.
    EndlessShare,
    /// Eviction drops everything.
    EvictsAll,
    /// Now and then a step of a scan finds nothing.
    BlindScan,
    /// Now and then a flush leaves this shard out.
    HalfFlush,
    /// A shard's own port serves all shards' keys.
    OpenShardPort,
    /// Now and then a client that sends no more gets no more answers.
    LostHalfClose,
    /// Now and then a client that is gone stays charged for.
    KeptCharge,
    /// Now and then input that has to wait is not charged.
    FreeInput,
    /// Memory that is used up stops nobody.
    EndlessBudget,
    /// A turn goes on as long as there is something to parse.
    EndlessTurn,
    /// Memory that is lent to the store is never taken back.
    KeptLoan,
    /// Memory that clients no longer need is not lent to the store again.
    IdleMemory,
    /// Background work is never done.
    Sleepless,
    /// A read of another shard's key does not wait for what its connection has asked before.
    EarlyRead,
    /// Room that is asked back is given back while the kernel still writes it.
    EarlyRoom,
    /// Room of a value that was given up pins nothing, though the kernel still writes it.
    UnpinnedRoom,
    /// Under `--durability always` answers do not wait until changes are saved.
    EarlyAnswer,
    /// Now and then a tier is not told that a key is gone.
    LostTombstone,
    /// A tier is not told of a flush.
    UntoldFlush,
    /// Now and then nobody who waited for an item learns that it has come.
    LostFetch,
    /// What is brought back to memory is the item that was brought back first.
    OlderItem,
    /// Now and then a shard does not note where an item was saved.
    LostPlace,
    /// Changes are told to be saved before the medium is drained.
    Undrained,
    /// Now and then a shard goes on with the databases of before.
    UntakenSpaces,
    /// A tier is not told that databases have other spaces.
    UntoldSpaces,
    /// Now and then a subscription is answered to have ended, and has not.
    KeptSubscription,
    /// Now and then a message does not go to all shards.
    UntoldShard,
    /// Now and then a read of a client that keeps a copy is not put into the table of tracked keys.
    UntrackedRead,
    /// News of keys that clients keep copies of are looked at now and then alone.
    LateNews,
    /// A client that keeps copies is answered from another shard's memory.
    UntoldRead,
    /// A push is not repeated behind the answers that its client waits for.
    LonePush,
    /// No client is told behind its script's reply.
    UntoldScript,
    /// Who asks for a held key does not wait.
    OpenHolds,
    /// A transaction gives each shard's keys back before it asks the next one.
    EarlyRelease,
    /// Who asks all shards at once is given keys that others hold.
    CarelessHolds,
    /// A transaction that is not given all its keys at once keeps what it has while it waits for the others.
    KeptKeys,
    /// No change of a watched key is told.
    BlindWatch,
    /// Who holds nothing has a go between two holders, and then nobody has.
    LostGo,
    /// What is behind a script that may be sent back is begun.
    OvertakenScript,
    /// Now and then a script is sent back when its changes are made.
    ScriptDoneTwice,
    /// A script that was sent back is sent there again.
    ShuttledScript,
    /// The keys of a script are not held.
    OpenScript,
    /// What a script has had stays for the next one.
    KeptCopies,
    /// What a script reads may miss until all is known of it.
    HastyScript,
    /// A script that is sent to the shard of its keys is run there though they are held.
    ScriptPastHold,
    /// Now and then a wrong password is taken for the right one.
    OpenGate,
    /// Who was told that its password is wrong is let in.
    MistakenGate,
    /// A wrong password is answered at once.
    HastyGate,
    /// Nobody looks again at a client whose answer was put off.
    LostTry,
}

impl Bug {
    /// All but [`Bug::None`].
    pub(crate) const ALL: [Bug; 61] = [
        Bug::LostAnswer,
        Bug::SwappedAnswers,
        Bug::MissedExpiry,
        Bug::LostSlice,
        Bug::OvertakenInput,
        Bug::LostRelease,
        Bug::LostInput,
        Bug::KeptUpload,
        Bug::NeverWoken,
        Bug::SilentSleep,
        Bug::LostWakeup,
        Bug::FirstForEver,
        Bug::EndlessShare,
        Bug::EvictsAll,
        Bug::BlindScan,
        Bug::HalfFlush,
        Bug::OpenShardPort,
        Bug::LostHalfClose,
        Bug::KeptCharge,
        Bug::FreeInput,
        Bug::EndlessBudget,
        Bug::EndlessTurn,
        Bug::KeptLoan,
        Bug::IdleMemory,
        Bug::Sleepless,
        Bug::EarlyRead,
        Bug::EarlyRoom,
        Bug::UnpinnedRoom,
        Bug::EarlyAnswer,
        Bug::LostTombstone,
        Bug::UntoldFlush,
        Bug::LostFetch,
        Bug::OlderItem,
        Bug::LostPlace,
        Bug::Undrained,
        Bug::UntakenSpaces,
        Bug::UntoldSpaces,
        Bug::KeptSubscription,
        Bug::UntoldShard,
        Bug::UntrackedRead,
        Bug::LateNews,
        Bug::UntoldRead,
        Bug::LonePush,
        Bug::UntoldScript,
        Bug::OpenHolds,
        Bug::EarlyRelease,
        Bug::CarelessHolds,
        Bug::KeptKeys,
        Bug::BlindWatch,
        Bug::LostGo,
        Bug::OvertakenScript,
        Bug::ScriptDoneTwice,
        Bug::ShuttledScript,
        Bug::OpenScript,
        Bug::KeptCopies,
        Bug::HastyScript,
        Bug::ScriptPastHold,
        Bug::OpenGate,
        Bug::MistakenGate,
        Bug::HastyGate,
        Bug::LostTry,
    ];

    /// One in so many chances is taken.
    fn every(self) -> u64 {
        match self {
            Bug::LostAnswer | Bug::SwappedAnswers | Bug::LostSlice => 50,
            Bug::LateNews => 30,
            Bug::LostRelease
            | Bug::LostInput
            | Bug::BlindScan
            | Bug::HalfFlush
            | Bug::UntakenSpaces
            | Bug::LostHalfClose
            | Bug::KeptCharge
            | Bug::FreeInput
            | Bug::LostFetch
            | Bug::KeptSubscription
            | Bug::UntoldShard
            | Bug::UntrackedRead
            | Bug::ScriptDoneTwice
            | Bug::LostPlace
            | Bug::OpenGate
            | Bug::LostTombstone => 5,
            _ => 1,
        }
    }
}

/// The bug that a worker has, and what it has done.
#[derive(Debug, Default)]
pub(super) struct Bugs {
    bug: Bug,
    /// How often it could have struck.
    chances: u64,
    /// Segments evicted when [`Bug::EvictsAll`] looked last.
    evicted_seen: u64,
    /// Room that the transport has, as [`Bug::UnpinnedRoom`] knows it.
    lent: Vec<(UploadId, Room)>,
    /// The addresses of room whose pin is gone.
    unpinned: Vec<usize>,
    /// By hash: the item that was brought back first, as [`Bug::OlderItem`] knows it.
    first: HashMap<u64, Vec<u8>>,
}

impl Bugs {
    pub(super) fn of(bug: Bug) -> Bugs {
        Bugs { bug, ..Bugs::default() }
    }

    pub(super) fn bug(&self) -> Bug {
        self.bug
    }

    /// Whether `bug` is the one, and strikes this time.
    pub(super) fn strike(&mut self, bug: Bug) -> bool {
        self.chances += u64::from(self.bug == bug);
        self.bug == bug && self.chances.is_multiple_of(bug.every())
    }

    /// Remembers room that the transport gets.
    pub(super) fn lends(&mut self, upload: UploadId, room: &Room) {
        if self.bug == Bug::UnpinnedRoom {
            // SAFETY: `Room` is plain data, and the pin that it stands for is given back once: what is in `unpinned` is dropped
            // when it comes back, and what is in `lent` then is dropped, too.
            self.lent.push((upload, unsafe { std::ptr::read(room) }));
        }
    }

    /// Takes the pins of room whose value was given up.
    pub(super) fn unpin(&mut self, shard: &mut Shard) {
        let given_up: Vec<_> = self.lent.extract_if(.., |(upload, _)| !shard.is_under_way(*upload)).collect();
        for (_, room) in given_up {
            self.unpinned.push(room.as_mut_ptr() as usize);
            shard.release_room(room);
        }
    }

    /// Room comes back. Whether its pin is gone already.
    pub(super) fn comes_back(&mut self, room: &Room) -> bool {
        self.lent.retain(|(_, lent)| lent.as_mut_ptr() != room.as_mut_ptr());
        let place = self.unpinned.iter().position(|&start| start == room.as_mut_ptr() as usize);
        place.map(|place| self.unpinned.swap_remove(place)).is_some()
    }

    /// What is brought back for a hash in the place of an item.
    pub(super) fn instead(&mut self, hash: u64, item: Option<&[u8]>) -> Option<Vec<u8>> {
        let item = item.filter(|_| self.bug == Bug::OlderItem)?;
        Some(self.first.entry(hash).or_insert_with(|| item.to_vec()).clone())
    }

    /// Takes something from what is handed over to a tier.
    pub(super) fn spoil(&mut self, batch: &mut SaveBatch) {
        if batch.spaces.is_some() && self.strike(Bug::UntoldSpaces) {
            batch.spaces = None;
        }
        batch.entries.retain(|entry| match entry.record.kind {
            Kind::Tombstone => !self.strike(Bug::LostTombstone),
            Kind::FlushAll => !self.strike(Bug::UntoldFlush),
            _ => true,
        });
    }

    /// Whether segments were evicted since the last look.
    pub(super) fn sees(&mut self, evicted: u64) -> bool {
        evicted > std::mem::replace(&mut self.evicted_seen, evicted)
    }
}
