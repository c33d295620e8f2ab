//! What belongs to connections, by their place.

use super::ConnId;

/// One value for each connection that has one.
#[derive(Debug)]
pub(crate) struct Places<T> {
    places: Vec<Option<(ConnId, Box<T>)>>,
    count: usize,
}

impl<T> Default for Places<T> {
    fn default() -> Places<T> {
        Places { places: Vec::new(), count: 0 }
    }
}

impl<T> Places<T> {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn find(&mut self, conn: ConnId) -> Option<&mut T> {
        match self.places.get_mut(conn.index as usize)? {
            Some((there, value)) if *there == conn => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn look(&self, conn: ConnId) -> Option<&T> {
        match self.places.get(conn.index as usize)? {
            Some((there, value)) if *there == conn => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn has(&self, conn: ConnId) -> bool {
        self.look(conn).is_some()
    }

    pub(crate) fn insert(&mut self, conn: ConnId, value: T) {
        let index = conn.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        let before = self.places[index].replace((conn, Box::new(value)));
        self.count += usize::from(before.is_none());
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<Box<T>> {
        let place = self.places.get_mut(conn.index as usize)?;
        let (_, value) = place.take_if(|(there, _)| *there == conn)?;
        self.count -= 1;
        Some(value)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.places.iter_mut().flatten().map(|(conn, value)| (*conn, &mut **value))
    }
}
