//! One answer handed from the I/O thread to whoever waits: a future on any runtime, or a blocked thread.

use crate::Error;
use crate::call::Reply;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    Awaited(Waker),
    Filled(Result<Reply, Error>),
    Taken,
}

impl Shared {
    /// A panic cannot happen under the lock, so a poisoned one holds a whole state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that gives. Dropped without an answer, it says [`Error::Closed`].
#[derive(Debug)]
pub(crate) struct Completion(Option<Arc<Shared>>);

/// The end that waits.
#[derive(Debug)]
pub(crate) struct Answered(Arc<Shared>);

pub(crate) fn pair() -> (Completion, Answered) {
    let shared = Arc::new(Shared::default());
    (Completion(Some(shared.clone())), Answered(shared))
}

impl Completion {
    pub(crate) fn complete(mut self, result: Result<Reply, Error>) {
        self.fill(result);
    }

    fn fill(&mut self, result: Result<Reply, Error>) {
        let Some(shared) = self.0.take() else { return };
        let before = std::mem::replace(&mut *shared.lock(), State::Filled(result));
        match before {
            State::Awaited(waker) => waker.wake(),
            _ => shared.filled.notify_one(),
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.fill(Err(Error::Closed));
    }
}

impl Answered {
    pub(crate) fn wait(self) -> Result<Reply, Error> {
        let mut state = self.0.lock();
        loop {
            match std::mem::replace(&mut *state, State::Empty) {
                State::Filled(result) => return result,
                _ => state = self.0.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Future for Answered {
    type Output = Result<Reply, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Filled(result) => Poll::Ready(result),
            State::Taken => Poll::Ready(Err(Error::Closed)),
            State::Empty | State::Awaited(_) => {
                *state = State::Awaited(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
