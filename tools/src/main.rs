//! The `torc` program: glue between the command line and the libraries.

mod admin;
mod args;
mod cli;
mod config;
mod doctor;
mod exit;
mod import;
mod logging;
mod machine;
mod serve;
mod tier;

use args::{Action, Arguments, ServeArgs};
use clap::{CommandFactory, Parser};
use exit::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let action = arguments.action.unwrap_or_else(|| Action::Serve(ServeArgs::default()));
    run(action).unwrap_or_else(|failure| failure.report())
}

fn run(action: Action) -> Result<ExitCode, Failure> {
    match action {
        Action::Serve(args) => serve::run(&args)?,
        Action::Cli(args) => return cli::run(&args),
        Action::Import(args) => import::run(&args)?,
        Action::Bench(args) => return torc_bench::run(*args).map_err(Failure::failed),
        Action::Doctor(args) => doctor::run(&args)?,
        Action::Tier(args) => return tier::run(&args),
        Action::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "torc", &mut script);
            exit::print(&String::from_utf8_lossy(&script))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
