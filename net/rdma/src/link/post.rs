//! Handing requests to the device.

use super::{Link, NOTHING, OneSided, PLANNED_MAX, Planned};
use crate::Broken;
use crate::note::Kind;
use crate::sends::Posted;
use std::array::from_fn;
use torc_verbs::seam::{QueuePair, Verbs};
use torc_verbs::work::{Action, Payload, Piece, Work};

impl<V: Verbs> Link<V> {
    /// Posts what is planned and `behind` it, with one doorbell.
    #[inline]
    pub(crate) fn post(
        &mut self,
        region: &V::Region,
        behind: Option<OneSided<'_, V::Region>>,
    ) -> Result<(), Broken> {
        match (self.planned_count, behind) {
            (1, None) => self.post_up_to::<1>(region, None),
            (_, behind) => self.post_up_to::<{ PLANNED_MAX + 1 }>(region, behind),
        }
    }

    fn post_up_to<const N: usize>(
        &mut self,
        region: &V::Region,
        behind: Option<OneSided<'_, V::Region>>,
    ) -> Result<(), Broken> {
        let (count, mut total) = (self.planned_count, self.planned_count);
        let piece = behind.as_ref().map(|behind| [behind.piece]);
        let last = behind.as_ref().zip(piece.as_ref()).map(|(behind, piece)| self.one_sided(behind, piece));
        let own: [Piece<'_, V::Region>; N] = from_fn(|at| {
            let planned = self.planned.get(at).unwrap_or(&NOTHING);
            Piece { region, at: planned.at, len: planned.len }
        });
        let mut works: [Work<'_, V::Region>; N] = from_fn(|at| {
            let planned = self.planned.get(at).unwrap_or(&NOTHING);
            let payload = match planned {
                Planned { len: 0, .. } => Payload::Pieces(&[]),
                Planned { inline: true, len, .. } => Payload::Inline(&self.inline[at][..*len]),
                _ => Payload::Pieces(&own[at..=at]),
            };
            let action = Action::Send { payload, immediate: Some(planned.note.encode()) };
            Work { id: planned.id, action, signaled: planned.signaled, solicited: false }
        });
        if let Some(last) = last {
            works[count] = last;
            total += 1;
        }
        let posted = self.pair.post(&works[..total]);
        self.planned_count = 0;
        // Of what was refused no completion comes. So what is lent stays so until the queue pair is gone.
        posted.map_err(|error| Broken::Verbs(error.error))
    }

    fn one_sided<'r>(
        &mut self,
        wanted: &OneSided<'r, V::Region>,
        piece: &'r [Piece<'r, V::Region>],
    ) -> Work<'r, V::Region> {
        let (what, action) = if wanted.writes {
            let immediate = Some(self.note(Kind::Landed).encode());
            (Posted::Write, Action::Write { payload: Payload::Pieces(piece), to: wanted.far, immediate })
        } else {
            (Posted::Read, Action::Read { into: piece, from: wanted.far })
        };
        let (id, signaled) = self.sends.post(what);
        Work { id, action, signaled, solicited: false }
    }
}
