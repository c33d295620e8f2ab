//! A client that knows the slots: each key straight to its owner.

use std::io::{Read, Write};

use rand::{Rng, rngs::SmallRng};
use torc_proto::native::{Answer, FrameLimits, Op, Options, ParseError, Topology, frame};
use torc_proto::slot::slot_of;

use crate::{
    codec::Codec,
    error::BenchError,
    generator::address::Address,
    lab::contender::Contender,
    workload::{
        Source,
        keys::scale,
        mix::Mix,
        objects::{KEY_BYTES_MAX, Objects},
    },
};

/// Random operations; each connection asks for its own shard's keys only, uniformly. The generator
/// deals connections out to the addresses in turn, so connection `n` belongs to shard
/// `n % owned.len()`.
pub(super) struct Aware<'a, C> {
    pub(super) codec: &'a C,
    pub(super) objects: &'a Objects,
    pub(super) mix: Mix,
    pub(super) owned: &'a [Vec<u32>],
    pub(super) random: SmallRng,
}

impl<C: Codec> Source for Aware<'_, C> {
    fn fill(&mut self, connection: usize, count: u32, out: &mut Vec<u8>) -> u32 {
        let keys = &self.owned[connection % self.owned.len()];
        for _ in 0..count {
            let at = scale(self.random.next_u64(), keys.len() as u64) as usize;
            let Some(&number) = keys.get(at) else {
                return 0;
            };
            let operation = self.mix.pick(self.random.next_u64() as u32);
            self.objects.write_request(self.codec, operation, u64::from(number), out);
        }
        count
    }
}

/// Which keys each shard owns, in the order of the shards' ports.
pub(super) fn owned_keys(server: &Contender, objects: &Objects) -> Result<Vec<Vec<u32>>, BenchError> {
    let topology = topology(&server.address)?;
    let shards = server.shard_addresses.len();
    let mut owned = vec![Vec::new(); shards];
    let mut buffer = [0; KEY_BYTES_MAX];
    for number in 0..objects.count().min(u64::from(u32::MAX)) {
        let slot = slot_of(objects.key(number, &mut buffer));
        let shard = topology.owner(slot).map(usize::from);
        match shard.and_then(|shard| owned.get_mut(shard)) {
            Some(keys) => keys.push(number as u32),
            None => return Err(BenchError::Invalid(format!("nobody owns slot {slot}"))),
        }
    }
    Ok(owned)
}

/// Asks for the slot map in the native protocol.
fn topology(server: &Address) -> Result<Topology, BenchError> {
    const LIMITS: FrameLimits = FrameLimits { value_bytes_max: 1 << 20 };
    let action = || format!("asking {server} for its topology");
    let mut stream = server.connect_blocking()?;
    let mut out = Vec::new();
    let composed = frame::compose_request(&mut out, Op::Topology, 0, 0, &Options::NONE, &[], &[]);
    composed.map_err(|error| BenchError::Invalid(error.to_string()))?;
    stream.write_all(&out).map_err(BenchError::io(action()))?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let bytes = stream.read(&mut piece).map_err(BenchError::io(action()))?;
        if bytes == 0 {
            return Err(BenchError::Closed { connection: 0, connections: 1 });
        }
        answer.extend_from_slice(&piece[..bytes]);
        match Answer::parse(&answer, &LIMITS) {
            Err(ParseError::Incomplete { .. }) => {}
            Err(ParseError::Invalid(error)) => return Err(BenchError::Invalid(error.to_string())),
            Ok((answer, _)) => {
                return Topology::parse(answer.value)
                    .map_err(|error| BenchError::Invalid(format!("topology: {error}")));
            }
        }
    }
}
