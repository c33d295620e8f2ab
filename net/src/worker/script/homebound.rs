//! Which scripts are not sent to the shard of their keys for a while: those that it has sent back, as it would do again.

/// Scripts that are remembered, at most.
const PLACES: usize = 16;

/// Scripts that were sent back, by the hashes of their names (texts or digests): some of their next runs are done here.
#[derive(Debug, Default)]
pub(crate) struct Homebound {
    bounds: [Bound; PLACES],
    is_any: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bound {
    name: u64,
    /// Runs that are still done here, and how many there were from the start.
    left: u8,
    runs: u8,
    /// Runs that were sent since one came back.
    sent: u8,
}

impl Homebound {
    /// Whether any script was sent back so far.
    pub(super) fn is_any(&self) -> bool {
        self.is_any
    }

    /// Whether the next run of a script is done here.
    pub(super) fn stays(&mut self, name: u64) -> bool {
        let bound = &mut self.bounds[name as usize % PLACES];
        let stays = bound.name == name && bound.left > 0;
        bound.left -= u8::from(stays);
        bound.sent = bound.sent.saturating_add(u8::from(!stays));
        stays
    }

    /// A script was sent back. Each time it is tried half as often, down to one run in 256, unless others were not sent back meanwhile.
    pub(super) fn came_back(&mut self, name: u64) {
        let bound = &mut self.bounds[name as usize % PLACES];
        let comes_always = bound.name == name && bound.sent <= 1;
        let runs = if comes_always { bound.runs.saturating_mul(2) } else { 1 };
        *bound = Bound { name, left: runs, runs, sent: 0 };
        self.is_any = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_each_time_is_tried_seldom() {
        let mut homebound = Homebound::default();
        assert!(!homebound.is_any());
        let mut tried = 0;
        for _ in 0..2_000 {
            if !homebound.stays(7) {
                tried += 1;
                homebound.came_back(7);
            }
            assert!(!homebound.stays(8));
        }
        assert!(homebound.is_any());
        assert!((8..20).contains(&tried), "{tried}");
    }

    #[test]
    fn what_comes_back_now_and_then_is_sent_all_the_same() {
        let mut homebound = Homebound::default();
        let mut sent = 0;
        for _ in 0..1_000 {
            if !homebound.stays(7) {
                sent += 1;
                if sent % 10 == 0 {
                    homebound.came_back(7);
                }
            }
        }
        assert!(sent > 900, "{sent}");
    }
}
