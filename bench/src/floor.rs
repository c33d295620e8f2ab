//! `torc bench floor`: what the kernel's path alone costs for a workload's sizes.

use clap::Args;

use crate::{
    codec::{Codec, raw::Raw},
    error::BenchError,
    lab::{
        CoreArgs,
        contender::Contender,
        shape::{Shape, TimingArgs},
    },
    load::{Protocol, with_codec},
    workload::{
        args::{Workload, WorkloadArgs},
        mix::{Mix, Operation},
        objects::{KEY_BYTES_MAX, Objects},
    },
};

/// Flags of `torc bench floor`.
#[derive(Args, Clone, Debug)]
pub(crate) struct FloorArgs {
    /// Whose requests and replies set the sizes
    #[arg(long, value_enum, default_value_t = Protocol::Resp)]
    protocol: Protocol,
    /// Depths of pipelining, each DEPTH or DEPTH@CONNECTIONS
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    depths: Vec<Shape>,
    #[command(flatten)]
    timing: TimingArgs,
    #[command(flatten)]
    cores: CoreArgs,
    #[command(flatten)]
    workload: WorkloadArgs,
}

/// Measures both echoes at each depth and prints the cheaper one as the floor.
pub(crate) fn run(args: &FloorArgs) -> Result<(), BenchError> {
    let raw = raw(args.protocol, &args.workload.build()?)?;
    let timing = args.timing.timing(2.0)?;
    let echoes = Contender::echoes(args.cores.claim()?.server)?;
    let name = args.protocol.name();
    println!("echo of {} B requests and {} B replies ({name})", raw.request_bytes, raw.reply_bytes);
    let mut floors = String::new();
    for &shape in &args.depths {
        let mut cheapest = (f64::INFINITY, "");
        for echo in &echoes {
            let figures = echo.measure_raw(&shape.plan(timing, None, 1), raw)?;
            println!("\n{shape}: {}\n{figures}", echo.name);
            if figures.cpu_us() < cheapest.0 {
                cheapest = (figures.cpu_us(), &echo.name);
            }
        }
        floors += &format!("\nfloor at {shape}: {:.3} us CPU/operation ({})", cheapest.0, cheapest.1);
    }
    println!("{floors}");
    Ok(())
}

/// The echo of a workload: its mean sizes on the wire when every read hits.
pub(crate) fn raw(protocol: Protocol, workload: &Workload) -> Result<Raw, BenchError> {
    let raw = with_codec!(protocol, |codec| wire_bytes(codec, &workload.objects, workload.mix));
    match raw.request_bytes.min(raw.reply_bytes) {
        0 => Err(BenchError::setting("value-size", "replies without bytes cannot be echoed")),
        _ => Ok(raw),
    }
}

fn wire_bytes<C: Codec>(codec: &C, objects: &Objects, mix: Mix) -> Raw {
    let request_bytes = |operation| {
        let mut out = Vec::new();
        objects.write_request(codec, operation, 0, &mut out);
        out.len()
    };
    let [hit, stored] = codec.reply_bytes(objects.key(0, &mut [0; KEY_BYTES_MAX]), objects.value(0));
    let mean =
        |get: usize, set: usize| (mix.gets() * get as f64 + (1.0 - mix.gets()) * set as f64).round() as u32;
    let request_bytes = mean(request_bytes(Operation::Get), request_bytes(Operation::Set));
    Raw { request_bytes, reply_bytes: mean(hit, stored) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::resp::Resp;

    #[test]
    fn wire_sizes_are_the_weighted_means() {
        let objects = Objects::new(100, 16, 64).unwrap();
        // GET 36 and SET 107 bytes; $64 reply 71 and +OK 5.
        let expected = Raw { request_bytes: 43, reply_bytes: 64 };
        assert_eq!(wire_bytes(&Resp, &objects, Mix { get: 9, set: 1 }), expected);
    }
}
