//! Who is subscribed to what, of one shard's clients.

use crate::session::{Channels, Subscribed};
use crate::transport::ConnId;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Memory of a subscription beside its name, bytes: its places in two tables, the head of the name and a receiver.
const SUBSCRIPTION_BYTES: usize = 160;

type Names = [HashSet<Arc<[u8]>>; 3];
/// A name, and the number of its [`Channels`].
type NameOf = (usize, Arc<[u8]>);

#[derive(Debug, Default)]
struct Client {
    /// By [`Channels`].
    names: Names,
    bytes: usize,
}

/// The subscriptions of a shard's clients.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// By [`Channels`].
    receivers: [HashMap<Arc<[u8]>, Vec<ConnId>>; 3],
    clients: HashMap<ConnId, Client>,
    /// Clients that are gone, whose names are taken out bit by bit.
    leaving: Vec<(ConnId, Vec<NameOf>)>,
    count: usize,
}

impl Subscriptions {
    /// False: it has been subscribed before.
    pub(super) fn add(&mut self, id: ConnId, of: Channels, name: &[u8]) -> bool {
        let client = self.clients.entry(id).or_default();
        if client.names[of as usize].contains(name) {
            return false;
        }
        let receivers = &mut self.receivers[of as usize];
        let name = receivers.get_key_value(name).map_or_else(|| name.into(), |(known, _)| known.clone());
        client.bytes += SUBSCRIPTION_BYTES + name.len();
        client.names[of as usize].insert(name.clone());
        receivers.entry(name).or_default().push(id);
        self.count += 1;
        true
    }

    pub(super) fn remove(&mut self, id: ConnId, of: Channels, name: &[u8]) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if !client.names[of as usize].remove(name) {
            return;
        }
        client.bytes -= SUBSCRIPTION_BYTES + name.len();
        if client.names.iter().all(HashSet::is_empty) {
            self.clients.remove(&id);
        }
        self.take_out(id, of as usize, name);
    }

    fn take_out(&mut self, id: ConnId, of: usize, name: &[u8]) {
        let Some(receivers) = self.receivers[of].get_mut(name) else { return };
        if let Some(place) = receivers.iter().position(|receiver| *receiver == id) {
            receivers.swap_remove(place);
            self.count -= 1;
        }
        if receivers.is_empty() {
            self.receivers[of].remove(name);
        }
        if self.count == 0 {
            // Nothing holds memory for who was there.
            *self = Subscriptions::default();
        }
    }

    /// What a client is subscribed to, in order.
    pub(super) fn names_of(&self, id: ConnId, of: Channels) -> Vec<Arc<[u8]>> {
        let names = self.clients.get(&id).map(|client| &client.names[of as usize]);
        let mut names: Vec<_> = names.into_iter().flatten().cloned().collect();
        names.sort_unstable();
        names
    }

    pub(super) fn of(&self, id: ConnId) -> Subscribed {
        let Some(client) = self.clients.get(&id) else { return Subscribed::default() };
        let [named, matching, sharded] = [0, 1, 2].map(|of| client.names[of].len());
        Subscribed { named, matching, sharded }
    }

    /// Memory that a client is charged with, bytes.
    pub(super) fn bytes_of(&self, id: ConnId) -> usize {
        self.clients.get(&id).map_or(0, |client| client.bytes)
    }

    /// A client is gone.
    pub(super) fn leave(&mut self, id: ConnId) {
        if let Some(client) = self.clients.remove(&id) {
            let of_kind = |(of, names): (usize, HashSet<_>)| names.into_iter().map(move |name| (of, name));
            self.leaving.push((id, client.names.into_iter().enumerate().flat_map(of_kind).collect()));
        }
    }

    /// Takes out up to so many names of clients that are gone. Whether some are left.
    pub(super) fn go_on_leaving(&mut self, names_max: usize) -> bool {
        for _ in 0..names_max {
            let Some((id, names)) = self.leaving.last_mut() else { return false };
            match (*id, names.pop()) {
                (id, Some((of, name))) => self.take_out(id, of, &name),
                _ => _ = self.leaving.pop(),
            }
        }
        !self.leaving.is_empty()
    }

    pub(super) fn receivers(&self, of: Channels, name: &[u8]) -> &[ConnId] {
        self.receivers[of as usize].get(name).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn all(&self, of: Channels) -> impl Iterator<Item = (&[u8], &[ConnId])> {
        self.receivers[of as usize].iter().map(|(name, receivers)| (&name[..], &receivers[..]))
    }

    /// Subscriptions of all clients.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && self.leaving.is_empty() && self.clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [ConnId; 2] = [ConnId { index: 0, generation: 1 }, ConnId { index: 1, generation: 0 }];

    #[test]
    fn who_leaves_is_taken_out_bit_by_bit_and_nothing_is_kept() {
        let mut table = Subscriptions::default();
        for number in 0..100 {
            assert!(table.add(IDS[0], Channels::Named, number.to_string().as_bytes()));
        }
        assert!(table.add(IDS[0], Channels::Matching, b"7"));
        assert!(table.add(IDS[1], Channels::Named, b"7") && !table.add(IDS[1], Channels::Named, b"7"));
        assert_eq!(table.receivers(Channels::Named, b"7"), IDS);
        assert_eq!((table.of(IDS[0]).told(Channels::Matching), table.of(IDS[1]).total()), (101, 1));
        assert!(table.bytes_of(IDS[0]) > 100 * SUBSCRIPTION_BYTES);
        table.leave(IDS[0]);
        assert_eq!((table.bytes_of(IDS[0]), table.of(IDS[0]).total()), (0, 0));
        let mut left = vec![table.count()];
        while table.go_on_leaving(40) {
            left.push(table.count());
        }
        assert_eq!(left, [102, 62, 22]);
        assert_eq!(table.receivers(Channels::Named, b"7"), [IDS[1]]);
        table.remove(IDS[1], Channels::Named, b"8");
        table.remove(IDS[1], Channels::Named, b"7");
        assert!(table.is_empty() && table.receivers[0].capacity() == 0);
    }
}
