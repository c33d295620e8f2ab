//! How simulated clients prove who they are, where a server asks for that.

use super::action::Reply;
use super::speech::{Speech, array};
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Hello, Op, Options, VERSION};

pub(super) const USER: &str = "default";
/// The right one, and a wrong one.
pub(super) const PASSWORDS: [&str; 2] = ["s3cret", "s3cres"];

/// What happened to passwords that clients gave.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tries {
    pub(super) given: u64,
    pub(super) answered: u64,
}

/// Right passwords and wrong ones.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Entries {
    right: Tries,
    wrong: Tries,
}

impl Entries {
    pub(super) fn of(&mut self, is_right: bool) -> &mut Tries {
        if is_right { &mut self.right } else { &mut self.wrong }
    }

    /// Whether so many right and wrong ones may have been counted of all these: those that were answered at least, and those that were
    /// given at most.
    ///
    /// # Errors
    /// They may not.
    pub(super) fn are_counted(all: &[Entries], right: u64, wrong: u64) -> Result<(), String> {
        let is_possible = |counted, of: fn(&Entries) -> Tries| {
            let least: u64 = all.iter().map(|entries| of(entries).answered).sum();
            let most: u64 = all.iter().map(|entries| of(entries).given).sum();
            (least..=most).contains(&counted)
        };
        match is_possible(right, |entries| entries.right) && is_possible(wrong, |entries| entries.wrong) {
            true => Ok(()),
            false => Err(format!("{right} right and {wrong} wrong passwords are counted, of {all:?}")),
        }
    }
}

/// A password as each protocol gives it. `by_hello`: in the second way that there is in RESP.
pub(super) fn request(speech: Speech, is_right: bool, by_hello: bool, id: u32) -> Vec<u8> {
    let password = PASSWORDS[usize::from(!is_right)];
    match speech {
        Speech::Resp if by_hello => array(&["HELLO", "2", "AUTH", USER, password]),
        Speech::Resp => array(&["AUTH", password]),
        Speech::Memcache => {
            let value = format!("{USER} {password}");
            format!("set own:0:0 0 0 {}\r\n{value}\r\n", value.len()).into_bytes()
        }
        Speech::Native => {
            let mut value = Vec::new();
            Hello { version_min: VERSION, version_max: VERSION, ..Hello::default() }.compose(&mut value);
            Hello::compose_credentials(USER.as_bytes(), password.as_bytes(), &mut value);
            let mut request = Vec::new();
            compose_request(&mut request, Op::Hello, 0, id, &Options::NONE, b"", &value)
                .expect("it is short");
            request
        }
    }
}

/// Whether that is how a password is answered.
pub(super) fn is_answer(is_right: bool, reply: &Reply) -> bool {
    match reply {
        // A hello is answered more.
        Reply::Ok | Reply::Array(_) => is_right,
        Reply::Error(text) => {
            let is_refusal = ["WRONGPASS", "CLIENT_ERROR authentication failure", "Unauthenticated"];
            !is_right && is_refusal.iter().any(|words| text.starts_with(words))
        }
        _ => false,
    }
}
