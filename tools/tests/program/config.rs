//! Settings from outside: errors are one line on stderr with the cure, and exit code 2.

use crate::harness::{finish, stderr_of, torc};

#[test]
fn wrong_settings_end_with_one_line_and_code_two() {
    // Flags, environment, parts of the error.
    type Row = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static [&'static str]);
    let table: &[Row] = &[
        (&["--memory", "2x"], &[], &["--memory", "2x", "flag"]),
        (&[], &[("TORC_MEMORY", "lots")], &["--memory", "TORC_MEMORY"]),
        (&["--listen", "0.0.0.0:0"], &[], &["--allow-remote", "authentication"]),
        (&["--cpus", "4000"], &[], &["--cpus", "4000"]),
        (&["--shards", "2000"], &[], &["--shards", "1024"]),
        (&["--config", "/no/such/file"], &[], &["--config", "/no/such/file"]),
        (&[], &[("TORC_CONFIG", "/no/such/file")], &["/no/such/file"]),
        (&["--admin", "1.2.3.4:80"], &[], &["--admin", "--allow-remote"]),
        (&["--listen", "127.0.0.1:7399", "--admin", "127.0.0.1:7399"], &[], &["--admin", "--listen", "7399"]),
        (
            &["--shards", "2", "--listen", "127.0.0.1:7398", "--shard-port-base", "7171"],
            &[],
            &["--admin", "--shard-port-base", "7172", "default"],
        ),
        (&["--shards", "3", "--shard-port-base", "65534"], &[], &["--shard-port-base", "3 shards"]),
        (&["--spin", "5ms"], &[], &["--spin", "5ms", "from 1us to 1ms"]),
        (&["--max-connections", "9000000"], &[], &["--max-connections", "open files", "ulimit"]),
    ];
    for (flags, environment, parts) in table {
        let output =
            finish(torc().arg("serve").arg("--check").args(*flags).envs(environment.iter().copied()));
        let stderr = stderr_of(&output);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("torc: "), "{stderr}");
        for part in *parts {
            assert!(stderr.contains(part), "{flags:?} {environment:?}: {stderr}");
        }
        assert!(output.stdout.is_empty());
    }
}

/// Once a misspelt variable was overlooked in silence.
#[test]
fn a_misspelt_variable_is_warned_about_and_the_right_one_is_named() {
    let output = finish(torc().args(["serve", "--check"]).env("TORC_MAX_VALEU", "1m"));
    assert_eq!(output.status.code(), Some(0));
    let stderr = stderr_of(&output);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("TORC_MAX_VALEU") && stderr.contains("TORC_MAX_VALUE?"), "{stderr}");
}

#[test]
fn unknown_flags_and_commands_end_with_code_two() {
    for arguments in
        [&["serve", "--memroy", "1g"][..], &["sevre"], &["serve", "--transport", "carrier-pigeon"]]
    {
        let output = finish(torc().args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr_of(&output).contains("error"), "{}", stderr_of(&output));
    }
}

#[test]
fn a_file_is_read_and_its_errors_have_a_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("torc.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).expect("a file");
        finish(torc().args(["serve", "--check", "--config"]).arg(&path))
    };
    let output = check("listen = ['127.0.0.1:0', 'unix:/tmp/x.sock']\nmemory = '128m'\nshards = 1\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("memory") && line.contains("128m") && line.contains("torc.toml:2")),
        "{shown}"
    );

    let output = check("memory = '128m'\nmax_value = '1m'\n");
    assert_eq!(output.status.code(), Some(2));
    let stderr = stderr_of(&output);
    assert!(stderr.contains("torc.toml:2") && stderr.contains("did you mean 'max-value'?"), "{stderr}");
}

#[test]
fn version_and_help_name_the_program() {
    let output = finish(torc().arg("--version"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("torc {}\n", env!("CARGO_PKG_VERSION")));
    let output = finish(torc().args(["serve", "--help"]));
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for flag in ["--listen", "--memory", "--shards", "--config", "TORC_LISTEN", "--allow-remote"] {
        assert!(help.contains(flag), "{flag}: {help}");
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = finish(torc().args(["completions", shell]));
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("max-connections"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = torc()
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("torc starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("torc ends");
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", stderr_of(&output));
}
