//! `torc cli`: one command from the arguments, lines from a pipe, or a prompt.

mod big_keys;
mod native;
pub(crate) mod print;
mod prompt;
mod resp;
pub(crate) mod stream;
mod words;

use crate::exit::{self, Failure};
use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use torc_bench::{LoginArgs, RdmaArgs};

/// What `torc cli` is told.
#[derive(Debug, Args)]
pub(crate) struct CliArgs {
    /// Where the server is: host:port, unix:/path or shm:/path
    #[arg(long, short, default_value = "127.0.0.1:7171", env = "TORC_SERVER")]
    server: String,
    /// What to speak: native knows Torc's own verbs, resp any Redis command
    #[arg(long, short, value_enum, default_value_t = Protocol::Native)]
    protocol: Protocol,
    /// What carries requests: shm is rings in memory that a server on this host shares; with shm-read gets read the shards'
    /// memory without asking, where they can; rdma is RoCEv2, and with rdma-read gets read by it; auto: the first of shared memory and RDMA that both sides
    /// have, else a socket
    #[arg(long, value_enum, default_value_t = Transport::Auto)]
    transport: Transport,
    /// RDMA or nothing: --transport rdma
    #[arg(long, conflicts_with = "transport")]
    rdma: bool,
    #[command(flatten)]
    device: RdmaArgs,
    #[command(flatten)]
    login: LoginArgs,
    /// Says on stderr, at the end, what carried the requests, and how many gets needed none
    #[arg(long)]
    show_transport: bool,
    /// Seconds to wait for an answer
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// The command; without one, lines are read from the terminal or from stdin
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl CliArgs {
    fn transport(&self) -> Transport {
        if self.rdma { Transport::Rdma } else { self.transport }
    }

    /// How a command is used, if that is all that is asked: no server is needed for it.
    fn usage(&self) -> Option<String> {
        match (self.protocol, &self.command[..]) {
            (Protocol::Native, [verb, help]) if help == "--help" => native::usage(verb),
            (Protocol::Native, [help]) if help == "help" => Some(native::help()),
            _ => None,
        }
    }

    /// What is wanted that carries the native protocol alone.
    fn wants_native(&self) -> Option<&'static str> {
        match self.transport() {
            Transport::Shm | Transport::ShmRead => Some("shared memory"),
            Transport::Rdma | Transport::RdmaRead => Some("RDMA"),
            _ if self.server.starts_with("shm:") => Some("shared memory"),
            Transport::Auto | Transport::Socket => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Native,
    Resp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    Auto,
    Socket,
    Shm,
    ShmRead,
    Rdma,
    RdmaRead,
}

/// One side of a conversation with a server.
trait Speaker {
    /// Asks and waits. A refusal by the server is an answer; a broken connection is an error.
    fn ask(&mut self, words: &[Vec<u8>]) -> Result<Answered, Failure>;

    /// What carries requests, in words; it connects, if need be.
    fn transport(&mut self) -> Result<String, Failure>;

    /// What a line can start with.
    fn verbs(&self) -> &'static [&'static str];
}

/// An answer in words, ended by a line end.
struct Answered {
    text: String,
    is_error: bool,
}

pub(crate) fn run(args: &CliArgs) -> Result<ExitCode, Failure> {
    if let Some(usage) = args.usage() {
        exit::print(&usage)?;
        return Ok(ExitCode::SUCCESS);
    }
    let timeout = Duration::from_secs(args.timeout);
    let mut speaker: Box<dyn Speaker> = match args.protocol {
        Protocol::Native => Box::new(native::Native::new(args, timeout)?),
        Protocol::Resp => match args.wants_native() {
            None => {
                let login = args.login.read().map_err(Failure::Failed)?;
                Box::new(resp::Resp::open(&args.server, timeout, login)?)
            }
            Some(what) => {
                let reason = "carries the native protocol alone: leave --protocol or --transport out";
                return Err(Failure::Failed(format!("{what} {reason}")));
            }
        },
    };
    let well = if !args.command.is_empty() {
        let words: Vec<Vec<u8>> = args.command.iter().map(|word| word.clone().into_bytes()).collect();
        let answered = speaker.ask(&words)?;
        exit::print(&answered.text)?;
        !answered.is_error
    } else if std::io::stdin().is_terminal() {
        exit::print(&format!("over {}\n", speaker.transport()?))?;
        prompt::from_terminal(speaker.as_mut(), &args.server)?;
        true
    } else {
        prompt::from_pipe(speaker.as_mut())?
    };
    if args.show_transport {
        eprintln!("over {}", speaker.transport()?);
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
