//! The prompt: lines with history and completion from a terminal, or plain lines from a pipe.

use super::words::words;
use super::{Answered, Speaker};
use crate::exit::{self, Failure};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, Context, Editor, Helper, Highlighter, Hinter, Validator};
use std::io::BufRead;
use std::path::PathBuf;

/// Words that end the prompt, in any protocol.
const ENDS: [&str; 3] = ["exit", "quit", "bye"];
const HISTORY_LINES: usize = 1000;

/// Reads lines until the input ends; whether every one of them was answered well.
pub(super) fn from_pipe(speaker: &mut dyn Speaker) -> Result<bool, Failure> {
    let mut well = true;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| Failure::Failed(format!("stdin cannot be read: {error}")))?;
        match answer(&line, speaker)? {
            Some(answered) => {
                exit::print(&answered.text)?;
                well &= !answered.is_error;
            }
            None => break,
        }
    }
    Ok(well)
}

/// Reads from a terminal until the user has enough.
pub(super) fn from_terminal(speaker: &mut dyn Speaker, server: &str) -> Result<(), Failure> {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<Verbs, DefaultHistory> =
        Editor::with_history(config, DefaultHistory::new()).map_err(Failure::failed)?;
    editor.set_helper(Some(Verbs { verbs: speaker.verbs() }));
    let history = history_file();
    if let Some(path) = &history {
        // The first time there is none; a broken one is no reason not to work.
        let _ = editor.load_history(path);
    }
    let prompt = format!("{}> ", server.strip_prefix("tcp://").unwrap_or(server));
    loop {
        match editor.readline(&prompt) {
            Ok(line) => match answer(&line, speaker)? {
                Some(answered) => exit::print(&answered.text)?,
                None => break,
            },
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(Failure::failed(error)),
        }
    }
    if let Some(path) = &history {
        keep(&mut editor, path);
    }
    Ok(())
}

/// History is a convenience: where it cannot be written, there is none.
fn keep(editor: &mut Editor<Verbs, DefaultHistory>, path: &PathBuf) {
    if let Some(directory) = path.parent() {
        let _ = std::fs::create_dir_all(directory);
    }
    let _ = rustyline::history::History::set_max_len(editor.history_mut(), HISTORY_LINES);
    let _ = editor.save_history(path);
}

/// What came of a line; `None` if it ends the prompt. A line that is wrong is answered, not an end.
fn answer(line: &str, speaker: &mut dyn Speaker) -> Result<Option<Answered>, Failure> {
    let words = match words(line) {
        Ok(words) => words,
        Err(error) => return Ok(Some(Answered { text: format!("(error) {error}\n"), is_error: true })),
    };
    let Some(first) = words.first() else {
        return Ok(Some(Answered { text: String::new(), is_error: false }));
    };
    if words.len() == 1 && ENDS.iter().any(|end| first.eq_ignore_ascii_case(end.as_bytes())) {
        return Ok(None);
    }
    speaker.ask(&words).map(Some)
}

fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("torc/history"))
}

/// Completes the command at the start of a line.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Verbs {
    verbs: &'static [&'static str],
}

impl Completer for Verbs {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..at).unwrap_or_default();
        let fits =
            |verb: &&&str| verb.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed));
        let pairs = self
            .verbs
            .iter()
            .filter(fits)
            .map(|verb| Pair { display: (*verb).to_owned(), replacement: format!("{verb} ") });
        Ok((0, pairs.collect()))
    }
}
