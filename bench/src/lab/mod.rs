//! What every command that starts servers by itself shares: the cores, the servers, the shapes of
//! the load.

pub(crate) mod contender;
pub(crate) mod info;
pub(crate) mod peers;
pub(crate) mod shape;

use clap::Args;

use crate::{error::BenchError, process::affinity, results::OutArgs};

/// Flags of a command that starts Torc and keeps what it measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct LabArgs {
    #[command(flatten)]
    pub torc: peers::TorcArgs,
    #[command(flatten)]
    pub cores: CoreArgs,
    #[command(flatten)]
    pub out: OutArgs,
}

/// Which core serves and which one loads.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct CoreArgs {
    /// Core that every server is pinned to; the first allowed one by default
    #[arg(long, value_name = "K")]
    server_cpu: Option<usize>,
    /// Core that the generator is pinned to; the second allowed one by default
    #[arg(long, value_name = "K")]
    generator_cpu: Option<usize>,
}

/// Two different cores.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Cores {
    pub server: usize,
    pub generator: usize,
}

impl CoreArgs {
    /// Chooses the cores and pins this thread, the generator, to its own.
    pub(crate) fn claim(&self) -> Result<Cores, BenchError> {
        let allowed = affinity::allowed()?;
        let server = self.server_cpu.or(allowed.first().copied());
        let other = allowed.iter().copied().find(|cpu| Some(*cpu) != server);
        match (server, self.generator_cpu.or(other)) {
            (Some(server), Some(generator)) if server != generator => {
                affinity::pin(generator)?;
                Ok(Cores { server, generator })
            }
            _ => {
                let reason = "a comparison needs two cores, one for the server and one for the load";
                Err(BenchError::setting("server-cpu", reason))
            }
        }
    }
}
