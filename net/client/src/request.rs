//! Requests being built: options by name, then `.await` on any runtime, or [`Request::wait`].

mod options;

use crate::Error;
use crate::call::{self, Call, Progress, Reply};
use crate::completion::{self, Answered};
use crate::handle::Handle;
use crate::item::{self, Changed, Item};
pub use options::TouchIf;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use torc_proto::native::{Expiry, Initial, Invalid, Op, Options, Topology, flags};

/// A request of the operation `A`. Nothing is sent before it is awaited or waited for.
#[must_use = "nothing is sent before it is awaited or waited for"]
#[derive(Debug)]
pub struct Request<A> {
    handle: Arc<Handle>,
    parts: Parts,
    operation: PhantomData<A>,
}

#[derive(Debug)]
struct Parts {
    op: Op,
    flags: u16,
    options: Options,
    key: Vec<u8>,
    value: Vec<u8>,
    allowed: Duration,
    tell_deadline: bool,
}

/// An operation and what its answer is read as. Its implementations are the marker types of this module.
pub trait Operation: sealed::Sealed {
    type Output;
    #[doc(hidden)]
    fn read(reply: sealed::Hidden) -> Result<Self::Output, Error>;
}

/// An operation that changes items: it can say when it is to be answered.
pub trait Change: Operation {}

macro_rules! changes {
    ($($name:ident)*) => {$(impl Change for $name {})*};
}

changes! { Set Join Delete Touch Count CountSigned CountFloat Flush }

mod sealed {
    pub trait Sealed {}
    /// An answer, without making its type public.
    #[derive(Debug)]
    pub struct Hidden(pub(crate) crate::call::Reply);
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident -> $output:ty = $read:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        impl sealed::Sealed for $name {}
        impl Operation for $name {
            type Output = $output;
            fn read(reply: sealed::Hidden) -> Result<$output, Error> {
                let read: fn(Reply) -> Result<$output, Error> = $read;
                read(reply.0)
            }
        }
    )*};
}

operations! {
    /// Look an item up.
    Get -> Option<Item> = item::found;
    /// Store a value.
    Set -> Changed = item::changed;
    /// Join bytes to a value.
    Join -> Changed = item::changed;
    /// Remove an item.
    Delete -> Changed = item::changed;
    /// Change an item's expiry.
    Touch -> Changed = item::changed;
    /// Count on an unsigned number; `None`: there is no such item.
    Count -> Option<u64> = item::counted;
    /// Count on a signed number.
    CountSigned -> Option<i64> = |reply| Ok(item::counted(reply)?.map(|raw| raw as i64));
    /// Count on a floating-point number.
    CountFloat -> Option<f64> = |reply| Ok(item::counted(reply)?.map(f64::from_bits));
    /// Remove every item.
    Flush -> () = |reply| reply.accepted().map(|_| ());
    /// Ask whether the server is there.
    Ping -> () = |reply| reply.accepted().map(|_| ());
    /// Ask for names and values; empty if the section is not known.
    Statistics -> Vec<(String, String)> = |reply| {
        reply.accepted()?;
        let text = String::from_utf8_lossy(&reply.value).into_owned();
        Ok(text.lines().filter_map(|line| line.split_once(' ')).map(|(name, value)| (name.into(), value.into())).collect())
    };
    /// Ask who owns which slot.
    AskTopology -> Topology = |reply| {
        reply.accepted()?;
        Topology::parse(&reply.value).map_err(|invalid| Error::Protocol(invalid.to_string()))
    };
}

impl<A: Operation> Request<A> {
    pub(crate) fn new(
        handle: &Arc<Handle>,
        allowed: Duration,
        op: Op,
        key: &[u8],
        value: Vec<u8>,
    ) -> Request<A> {
        let parts = Parts {
            op,
            flags: 0,
            options: Options::NONE,
            key: key.to_vec(),
            value,
            allowed,
            tell_deadline: false,
        };
        Request { handle: handle.clone(), parts, operation: PhantomData }
    }

    /// How long it may take in all. The server is told, and does not begin what is late.
    pub fn deadline(mut self, allowed: Duration) -> Self {
        self.parts.allowed = allowed;
        self.parts.tell_deadline = true;
        self
    }

    /// Sends it; the answer comes later. Requests are sent in the order of these calls.
    pub fn send(self) -> Pending<A> {
        if let Some(reply) = read_here(&self.handle, &self.parts) {
            let answer = Answer::Here(Some(Ok(reply)));
            return Pending { answer, handle: self.handle, operation: PhantomData };
        }
        let (calls, mut pending) = prepare(&self.handle, vec![self.parts]);
        self.handle.submit(calls);
        match pending.pop() {
            Some(answer) => Pending { answer, handle: self.handle, operation: PhantomData },
            None => unreachable!("one request has one answer"),
        }
    }

    /// Sends it and blocks this thread until the answer is there. Not for async code: `.await` the request there.
    pub fn wait(self) -> Result<A::Output, Error> {
        self.send().wait()
    }
}

impl<A: Operation> IntoFuture for Request<A> {
    type Output = Result<A::Output, Error>;
    type IntoFuture = Pending<A>;

    fn into_future(self) -> Pending<A> {
        self.send()
    }
}

/// A request on its way: a future for any runtime.
#[must_use = "the answer is only seen when it is awaited or waited for"]
#[derive(Debug)]
pub struct Pending<A> {
    answer: Answer,
    /// Keeps the client's thread alive.
    handle: Arc<Handle>,
    operation: PhantomData<fn() -> A>,
}

impl<A: Operation> Pending<A> {
    /// Blocks this thread until the answer is there.
    pub fn wait(self) -> Result<A::Output, Error> {
        let reply = self.answer.wait()?;
        drop(self.handle);
        A::read(sealed::Hidden(reply))
    }
}

impl<A: Operation> Future for Pending<A> {
    type Output = Result<A::Output, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.poll(context).map(|reply| A::read(sealed::Hidden(reply?)))
    }
}

/// Many gets in one go: see [`crate::Client::get_many`].
#[must_use = "nothing is sent before it is awaited or waited for"]
#[derive(Debug)]
pub struct GetMany {
    handle: Arc<Handle>,
    parts: Vec<Parts>,
}

impl GetMany {
    pub(crate) fn new<K: AsRef<[u8]>>(
        handle: &Arc<Handle>,
        allowed: Duration,
        keys: impl IntoIterator<Item = K>,
    ) -> GetMany {
        let part = |key: K| Request::<Get>::new(handle, allowed, Op::Get, key.as_ref(), Vec::new()).parts;
        GetMany { handle: handle.clone(), parts: keys.into_iter().map(part).collect() }
    }

    /// How long all of it may take.
    pub fn deadline(mut self, allowed: Duration) -> Self {
        for parts in &mut self.parts {
            parts.allowed = allowed;
            parts.tell_deadline = true;
        }
        self
    }

    /// Sends it; the answers come later.
    pub fn send(self) -> PendingMany {
        let (calls, pending) = prepare_many(&self.handle, self.parts);
        if !calls.is_empty() {
            self.handle.submit(calls);
        }
        PendingMany {
            items: Vec::with_capacity(pending.len()),
            pending: pending.into_iter(),
            current: None,
            handle: self.handle,
        }
    }

    /// Sends it and blocks this thread until the answers are there.
    pub fn wait(self) -> Result<Vec<Option<Item>>, Error> {
        let many = self.send();
        let items = many.pending.map(|answer| item::found(answer.wait()?)).collect();
        drop(many.handle);
        items
    }
}

impl IntoFuture for GetMany {
    type Output = Result<Vec<Option<Item>>, Error>;
    type IntoFuture = PendingMany;

    fn into_future(self) -> PendingMany {
        self.send()
    }
}

/// Many gets on their way. The first error ends it.
#[must_use = "the answers are only seen when they are awaited"]
#[derive(Debug)]
pub struct PendingMany {
    pending: std::vec::IntoIter<Answer>,
    current: Option<Answer>,
    items: Vec<Option<Item>>,
    handle: Arc<Handle>,
}

impl Future for PendingMany {
    type Output = Result<Vec<Option<Item>>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let many = &mut *self;
        loop {
            if many.current.is_none() {
                many.current = many.pending.next();
            }
            let Some(answer) = &mut many.current else {
                return Poll::Ready(Ok(std::mem::take(&mut many.items)));
            };
            match answer.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(reply) => match reply.and_then(item::found) {
                    Ok(item) => many.items.push(item),
                    Err(error) => return Poll::Ready(Err(error)),
                },
            }
            many.current = None;
        }
    }
}

/// The answer to a request.
#[derive(Debug)]
enum Answer {
    Awaited(Answered),
    /// It was not sent: it could be answered without, or could not be sent.
    Here(Option<Result<Reply, Error>>),
}

impl Answer {
    fn wait(self) -> Result<Reply, Error> {
        match self {
            Answer::Awaited(answered) => answered.wait(),
            Answer::Here(result) => result.unwrap_or(Err(Error::Closed)),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Reply, Error>> {
        match self {
            Answer::Awaited(answered) => Pin::new(answered).poll(context),
            Answer::Here(result) => Poll::Ready(result.take().unwrap_or(Err(Error::Closed))),
        }
    }
}

/// The answer to a plain get, if this thread can find it in memory that the server shares.
#[inline]
fn read_here(handle: &Handle, parts: &Parts) -> Option<Reply> {
    let is_over = parts.tell_deadline && parts.allowed.is_zero();
    if parts.op != Op::Get || parts.options != Options::NONE || is_over {
        return None;
    }
    handle.read(&parts.key, parts.flags)
}

/// As [`prepare`], of gets: those that are answered here need no call.
fn prepare_many(handle: &Handle, requests: Vec<Parts>) -> (Vec<Box<Call>>, Vec<Answer>) {
    let mut here: Vec<Option<Reply>> = Vec::with_capacity(requests.len());
    let mut others = Vec::new();
    for parts in requests {
        let reply = read_here(handle, &parts);
        if reply.is_none() {
            others.push(parts);
        }
        here.push(reply);
    }
    let (calls, awaited) = prepare(handle, others);
    let mut awaited = awaited.into_iter();
    let answer = |reply: Option<Reply>| match reply {
        Some(reply) => Answer::Here(Some(Ok(reply))),
        None => awaited.next().unwrap_or(Answer::Here(None)),
    };
    let answers = here.into_iter().map(answer).collect();
    (calls, answers)
}

/// Makes calls of requests. What no frame can hold fails here.
fn prepare(handle: &Handle, requests: Vec<Parts>) -> (Vec<Box<Call>>, Vec<Answer>) {
    let now = Instant::now();
    let mut calls = Vec::with_capacity(requests.len());
    let mut answers = Vec::with_capacity(requests.len());
    for parts in requests {
        if let Err(invalid) = check_lengths(&parts) {
            answers.push(Answer::Here(Some(Err(invalid.into()))));
            continue;
        }
        let (completion, answered) = completion::pair();
        let Parts { op, flags, options, key, value, allowed, tell_deadline } = parts;
        let due = call::due(now, allowed);
        let progress = Progress::default();
        let ticket = handle.ticket(op, &key);
        calls.push(Box::new(Call {
            op,
            flags,
            options,
            key,
            value,
            due,
            allowed,
            tell_deadline,
            completion,
            ticket,
            progress,
        }));
        answers.push(Answer::Awaited(answered));
    }
    (calls, answers)
}

fn check_lengths(parts: &Parts) -> Result<(), Invalid> {
    if parts.key.len() > usize::from(u16::MAX) {
        return Err(Invalid::KeyTooLong { key_bytes: parts.key.len(), limit: u16::MAX.into() });
    }
    match u32::try_from(parts.value.len()) {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(Invalid::ValueTooLong { value_bytes: parts.value.len() as u64, limit: u32::MAX.into() })
        }
    }
}

fn in_ms(time: Duration) -> Expiry {
    Expiry::In(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
