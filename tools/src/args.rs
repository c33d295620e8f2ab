//! The command line: one definition for help, parsing and completions.

use crate::config::Flags;
use crate::config::settings::{SETTINGS, Setting, SettingKind};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand, ValueHint};
use std::path::PathBuf;

/// A shared-nothing cache server: one thread a core, io_uring, and the protocols of Redis and memcached.
///
/// Without a command, it serves with the defaults. Exit status: 0 done, 1 failed, 2 wrong usage or setting.
#[derive(Debug, Parser)]
#[command(name = "torc", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Run the server
    Serve(ServeArgs),
    /// Ask a server: one command, or a prompt
    Cli(crate::cli::CliArgs),
    /// Bring what a Redis or memcached holds to a server
    Import(crate::import::ImportArgs),
    /// Load a server and measure what a request costs it
    Bench(Box<torc_bench::BenchArgs>),
    /// Tell what this machine offers the server, and how to get what is missing
    Doctor(DoctorArgs),
    /// Look at a tier that no server uses, resize, copy or void it; rearm one that has failed
    Tier(crate::tier::TierArgs),
    /// Print a completion script for a shell
    Completions {
        /// As in: torc completions bash > /etc/bash_completion.d/torc
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `torc serve`: the flags come from the table of settings.
#[derive(Debug, Default)]
pub(crate) struct ServeArgs {
    pub(crate) flags: Flags,
    /// Only check the configuration and print it.
    pub(crate) check: bool,
}

impl Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_hint(ValueHint::FilePath)
            .value_parser(clap::value_parser!(PathBuf))
            .help("Read settings from a TOML file, by their names; flags and environment go before it");
        let check = Arg::new("check")
            .long("check")
            .action(ArgAction::SetTrue)
            .help("Check the configuration, print each setting as it would be used with its origin, and end");
        command
            .after_help(
                "Each setting is also an environment variable: TORC_LISTEN, TORC_MAX_VALUE, ... \
                 Several values are separated by commas there, paths by colons. \
                 A flag goes before the environment, that before the file.",
            )
            .args([config, check])
            .args(SETTINGS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .help(format!("{} [default: {}]", setting.help, setting.default))
        .help_heading(setting.group)
        .allow_hyphen_values(true);
    let arg = match setting.kind {
        // A flag may be taken back from the environment or the file with =false.
        SettingKind::Switch => {
            arg.value_name("false").num_args(0..=1).require_equals(true).default_missing_value("true")
        }
        SettingKind::Paths => {
            arg.value_name(setting.value).value_hint(ValueHint::FilePath).action(ArgAction::Append)
        }
        SettingKind::One | SettingKind::Many => arg.value_name(setting.value).action(ArgAction::Append),
    };
    if setting.choices.is_empty() {
        arg
    } else {
        arg.value_parser(PossibleValuesParser::new(setting.choices))
    }
}

impl FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = ServeArgs { check: matches.get_flag("check"), ..ServeArgs::default() };
        args.flags.config = matches.get_one("config").cloned();
        for setting in SETTINGS {
            if let Some(values) = matches.get_many::<String>(setting.name) {
                args.flags.values.insert(setting.name, values.cloned().collect());
            }
        }
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_reach_the_settings() {
        let arguments = Arguments::try_parse_from([
            "torc",
            "serve",
            "--listen",
            "127.0.0.1:7171",
            "--listen=unix:/a",
            "--shards",
            "1",
            "--cpus",
            "0",
            "--memory",
            "2g",
            "--allow-remote",
        ]);
        let Some(Action::Serve(args)) = arguments.expect("good arguments").action else {
            panic!("another action");
        };
        assert_eq!(args.flags.values["listen"], ["127.0.0.1:7171", "unix:/a"]);
        assert_eq!(args.flags.values["allow-remote"], ["true"]);
        assert_eq!(args.flags.values["memory"], ["2g"]);
        assert!(!args.flags.values.contains_key("log"));
    }

    #[test]
    fn no_command_is_allowed() {
        assert!(Arguments::try_parse_from(["torc"]).expect("no arguments").action.is_none());
    }
}
