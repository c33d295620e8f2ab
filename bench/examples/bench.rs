//! The benchmark as a program of its own: `cargo run --release -p torc-bench --example bench -- ...`.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    bench: torc_bench::BenchArgs,
}

fn main() -> ExitCode {
    torc_bench::run(Program::parse().bench, &[]).unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}
