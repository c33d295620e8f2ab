//! The table of values under way into a shard.

use crate::chain::Upload;
use crate::command::UploadId;

/// Values under way at a time, at most.
const UPLOADS_MAX: usize = 1 << UPLOADS_BITS;
const UPLOADS_BITS: u32 = 12;

/// Values under way, each in a place of its own. Every call takes the same time, however many there are.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    places: Vec<Option<Upload>>,
    /// Places that nobody has.
    free: Vec<u16>,
    /// How many have begun.
    begun: u64,
    /// Values that come from clients, and memory that all of them will take in the end.
    from_clients: usize,
    bytes: u64,
    /// Memory for those that come back from a medium.
    returning_bytes: u64,
    /// Memory of their keys and lists of extents.
    list_bytes: usize,
    /// Memory that those among them that wait for a tier will take in the end.
    waiting_bytes: u64,
    /// Memory that those from clients have taken that do not wait for a tier: these wait for no client.
    taken_bytes: u64,
}

impl Uploads {
    /// Begins one, and gives it its id. `None`: there are too many already.
    pub(super) fn begin(&mut self, mut upload: Upload) -> Option<UploadId> {
        let place = match self.free.pop() {
            Some(place) => usize::from(place),
            None if self.places.len() < UPLOADS_MAX => {
                self.places.push(None);
                self.places.len() - 1
            }
            None => return None,
        };
        // The number of the beginning tells a late caller's id from that of any later upload in the place: a client whose
        // value was given up has the id still, and its bytes must not go to the value of another one.
        let id = UploadId(self.begun << UPLOADS_BITS | place as u64);
        self.begun += 1;
        upload.id = id;
        self.count(&upload, 1);
        self.list_bytes += upload.table_bytes();
        self.places[place] = Some(upload);
        Some(id)
    }

    pub(super) fn find(&self, id: UploadId) -> Option<&Upload> {
        self.places.get(place_of(id))?.as_ref().filter(|upload| upload.id == id)
    }

    /// Takes one out, to be put back or [ended](Uploads::end).
    pub(super) fn take(&mut self, id: UploadId) -> Option<Upload> {
        self.places.get_mut(place_of(id))?.take_if(|upload| upload.id == id)
    }

    pub(super) fn put_back(&mut self, upload: Upload) {
        let place = place_of(upload.id);
        self.places[place] = Some(upload);
    }

    /// Ends an upload that was taken out: it does not come back.
    pub(super) fn end(&mut self, upload: &Upload) {
        self.count(upload, -1);
        self.waiting_bytes -= if upload.waits { upload.cost } else { 0 };
        self.taken_bytes -= if upload.waits { 0 } else { upload.taken };
        self.list_bytes -= upload.table_bytes();
        self.free.push(place_of(upload.id) as u16);
    }

    /// One waits for a tier, or does so no more.
    pub(super) fn wait(&mut self, id: UploadId, waits: bool) {
        let upload = self.places.get_mut(place_of(id)).and_then(Option::as_mut);
        if let Some(upload) = upload.filter(|upload| upload.id == id) {
            if upload.waits == waits {
                return;
            }
            upload.waits = waits;
            let by = if waits { 1 } else { -1 };
            self.waiting_bytes = self.waiting_bytes.wrapping_add_signed(by * upload.cost as i64);
            self.taken_bytes = self.taken_bytes.wrapping_add_signed(-by * upload.taken as i64);
        }
    }

    /// One that was taken out has taken more memory.
    pub(super) fn take_memory(&mut self, upload: &mut Upload, bytes: u64) {
        upload.taken += bytes;
        self.taken_bytes += if upload.waits { 0 } else { bytes };
    }

    /// Memory that those from clients will take in the end that wait for a tier.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// The same of those that do not wait.
    pub(super) fn coming_bytes(&self) -> u64 {
        self.bytes - self.waiting_bytes
    }

    /// Memory that those from clients have taken that do not wait for a tier.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    fn count(&mut self, upload: &Upload, by: i8) {
        let cost = i64::from(by) * upload.cost as i64;
        if upload.returns {
            self.returning_bytes = self.returning_bytes.wrapping_add_signed(cost);
        } else {
            self.from_clients = self.from_clients.wrapping_add_signed(by.into());
            self.bytes = self.bytes.wrapping_add_signed(cost);
        }
    }

    /// Values that clients send.
    pub(super) fn clients(&self) -> usize {
        self.from_clients
    }

    /// Memory that the values under way from clients will take in the end.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same of those that come back from a medium.
    pub(super) fn returning_bytes(&self) -> u64 {
        self.returning_bytes
    }

    /// Memory of the table and of the lists.
    pub(super) fn table_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Option<Upload>>() + self.free.capacity() * 2 + self.list_bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Upload> {
        self.places.iter().flatten()
    }

    /// Those from clients that wait for no tier.
    pub(super) fn of_clients(&self) -> impl Iterator<Item = &Upload> {
        self.iter().filter(|upload| !upload.returns && !upload.waits)
    }
}

/// The place in the table.
fn place_of(id: UploadId) -> usize {
    id.0 as usize & (UPLOADS_MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_counted() {
        let upload = |cost, chain| Upload {
            id: UploadId(0),
            database: None,
            space: 0,
            key: (*b"key").into(),
            bytes: cost,
            cost,
            taken: 0,
            received: 0,
            chain,
            extents: Vec::with_capacity(2),
            own: None,
            room: 0,
            room_at: 0,
            lends: false,
            returns: false,
            moved_at: 0,
            waits: false,
        };
        let mut uploads = Uploads::default();
        let ids: Vec<UploadId> =
            (0..UPLOADS_MAX as u64).map(|chain| uploads.begin(upload(10, chain)).unwrap()).collect();
        assert_eq!(uploads.begin(upload(10, 9999)), None);
        assert_eq!(uploads.bytes(), 10 * UPLOADS_MAX as u64);
        let taken = uploads.take(ids[7]).unwrap();
        assert!(uploads.take(ids[7]).is_none());
        uploads.end(&taken);
        let again = uploads.begin(upload(5, 5000)).unwrap();
        assert!(again != ids[7] && uploads.find(ids[7]).is_none() && uploads.find(again).is_some());
        for id in ids.into_iter().chain([again]) {
            uploads.take(id).iter().for_each(|upload| uploads.end(upload));
        }
        assert_eq!((uploads.bytes(), uploads.list_bytes, uploads.free.len()), (0, 0, UPLOADS_MAX));
    }
}
