//! The rings of a shard: by the place of their connection, and those that each turn looks at.

use super::ring::Ring;
use crate::transport::ConnId;
use torc_shm::full_fence;

#[derive(Default)]
pub(super) struct Table {
    places: Vec<Option<Box<Ring>>>,
    count: usize,
    /// Those that each turn looks at, and with which of them the next turn begins.
    hot: Vec<ConnId>,
    first: usize,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn find(&mut self, conn: ConnId) -> Option<&mut Ring> {
        find(&mut self.places, conn)
    }

    pub(super) fn look(&self, conn: ConnId) -> Option<&Ring> {
        self.places.get(conn.index as usize)?.as_deref().filter(|ring| ring.conn == conn)
    }

    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.look(conn).is_some()
    }

    pub(super) fn insert(&mut self, ring: Ring) {
        let (conn, index) = (ring.conn, ring.conn.index as usize);
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        self.places[index] = Some(Box::new(ring));
        self.count += 1;
        self.heat(conn);
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Box<Ring>> {
        let ring = self.places.get_mut(conn.index as usize)?.take_if(|ring| ring.conn == conn)?;
        self.count -= 1;
        self.hot.retain(|&hot| hot != conn);
        Some(ring)
    }

    /// Lets each turn look at a ring.
    pub(super) fn heat(&mut self, conn: ConnId) {
        if let Some(ring) = find(&mut self.places, conn) {
            ring.idle_turns = 0;
            if !ring.hot {
                ring.hot = true;
                self.hot.push(conn);
            }
        }
    }

    pub(super) fn hot_count(&self) -> usize {
        self.hot.len()
    }

    /// The hot ring whose turn it is, `step` after the first.
    pub(super) fn hot_at(&self, step: usize) -> ConnId {
        self.hot[(self.first + step) % self.hot.len()]
    }

    /// The next turn begins so many rings further, so that none is always the last.
    pub(super) fn begin_later(&mut self, steps: usize) {
        self.first = self.first.wrapping_add(steps);
    }

    /// Forgets those that have got cold.
    pub(super) fn drop_cold(&mut self) {
        let places = &mut self.places;
        self.hot.retain(|&conn| find(places, conn).is_some_and(|ring| ring.hot));
    }

    /// Whether a client of a hot ring is awake, and so may ask at any moment.
    pub(super) fn has_awake(&mut self) -> bool {
        let places = &mut self.places;
        self.hot.iter().any(|&conn| find(places, conn).is_some_and(|ring| ring.end.is_other_awake()))
    }

    /// Tells the clients of all hot rings that this shard sleeps. False: something came from one of them, it must not.
    pub(super) fn announce_sleep(&mut self) -> bool {
        if self.hot.is_empty() {
            return true;
        }
        let places = &mut self.places;
        self.hot.iter().filter_map(|&conn| find(places, conn).map(Ring::announce_sleep)).for_each(drop);
        full_fence();
        #[cfg(test)]
        if super::fault::has(super::fault::Fault::NoLookBeforeSleep) {
            return true;
        }
        !self.has_news()
    }

    pub(super) fn has_news(&mut self) -> bool {
        let places = &mut self.places;
        self.hot.iter().any(|&conn| find(places, conn).is_some_and(Ring::has_news))
    }
}

fn find(places: &mut [Option<Box<Ring>>], conn: ConnId) -> Option<&mut Ring> {
    places.get_mut(conn.index as usize)?.as_deref_mut().filter(|ring| ring.conn == conn)
}
