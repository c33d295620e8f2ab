//! The admin address: HTTP for people, probes and Prometheus, on the control plane's thread.
//!
//! | path | answer |
//! |---|---|
//! | `/` | this list |
//! | `/metrics` | all figures in Prometheus' text format 0.0.4 |
//! | `/healthz` | 200 as long as the process can answer at all |
//! | `/readyz` | 200 while serving, 503 while starting and draining, or while changes cannot be saved as they must |
//! | `/tier/rearm` | POST, from this machine alone: takes a tier that has failed into use again |
//!
//! Non-goals: nothing else changes anything, and whoever looks never waits for a shard (figures are read from shared counters).

mod exposition;
mod places;
mod rearm;

pub(crate) use exposition::{Family, MetricKind, Sample, Value};
pub(crate) use rearm::{PATH as REARM_PATH, PATIENCE as REARM_PATIENCE, Rearm};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use places::Places;
use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// A client that takes longer over a request's head, or over request and answer together, is dropped.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of requests that are read ahead for a client.
const INPUT_MAX: usize = 16 << 10;
/// After a failed accept (no descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Draining,
}

/// What the admin address knows of the server.
pub(crate) struct Admin {
    phase: AtomicU8,
    figures: Box<dyn Fn() -> Vec<Family> + Send + Sync>,
    trouble: Box<dyn Fn() -> Option<Trouble> + Send + Sync>,
    rearm: Box<dyn Fn() -> Rearm + Send + Sync>,
}

/// What is wrong with a server that serves, or not yet as it will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// What the tier holds is not all known; percent of it that recovery has come past.
    Recovering(u8),
    /// The tier is out of use.
    TierLatched,
    /// It is, and changes are refused.
    ChangesRefused,
    /// The tier was taken into use again, and has not all that memory held then.
    Refilling,
}

impl Admin {
    pub(crate) fn new(
        figures: impl Fn() -> Vec<Family> + Send + Sync + 'static,
        trouble: impl Fn() -> Option<Trouble> + Send + Sync + 'static,
        rearm: impl Fn() -> Rearm + Send + Sync + 'static,
    ) -> Arc<Admin> {
        let phase = AtomicU8::new(Phase::Starting as u8);
        Arc::new(Admin {
            phase,
            figures: Box::new(figures),
            trouble: Box::new(trouble),
            rearm: Box::new(rearm),
        })
    }

    pub(crate) fn enter(&self, phase: Phase) {
        // Relaxed: the phase orders nothing else.
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn ready(&self) -> (StatusCode, Cow<'static, str>) {
        let (status, words) = match self.phase.load(Ordering::Relaxed) {
            phase if phase == Phase::Ready as u8 => match (self.trouble)() {
                None => (StatusCode::OK, "ready\n"),
                Some(Trouble::Recovering(percent)) => {
                    return (StatusCode::OK, format!("ready; the tier is recovered to {percent} %\n").into());
                }
                Some(Trouble::TierLatched) => {
                    (StatusCode::OK, "ready; the tier is out of use, see the log\n")
                }
                Some(Trouble::Refilling) => {
                    (StatusCode::OK, "ready; the tier is in use again, and takes what memory holds\n")
                }
                Some(Trouble::ChangesRefused) => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the tier is out of use, see the log; changes are refused\n",
                ),
            },
            phase if phase == Phase::Starting as u8 => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        };
        (status, words.into())
    }

    async fn answer(self: Arc<Admin>, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        if request.uri().path() == rearm::PATH {
            return rearm::answer(self, request.method(), request.headers(), peer).await;
        }
        self.show(request.method(), request.uri().path())
    }

    /// Answers what changes nothing.
    fn show(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return only("GET, HEAD");
        }
        match path {
            "/" => plain(StatusCode::OK, INDEX),
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let (status, text) = self.ready();
                plain(status, text.into_owned())
            }
            "/metrics" => match exposition::encode(&(self.figures)()) {
                Ok(text) => typed(StatusCode::OK, exposition::CONTENT_TYPE, text),
                Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            _ => plain(StatusCode::NOT_FOUND, "there is /metrics, /healthz, /readyz, /tier/rearm\n"),
        }
    }
}

const INDEX: &str = "Torc's admin address\n\
    /metrics     all figures, in Prometheus' text format\n\
    /healthz     200 as long as the process answers\n\
    /readyz      200 while serving, 503 while starting and draining\n\
    /tier/rearm  POST: takes a tier that has failed into use again, see `torc tier rearm --help`\n";

/// Refuses other methods than these.
fn only(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
    response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(methods));
    response
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text)
}

fn typed(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}

/// Answers for ever.
pub(crate) async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let mut places = Places::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                places.make_room();
                // A client that breaks off or dawdles is its own matter.
                let connection =
                    tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, peer, admin.clone()));
                places.take(tokio::spawn(connection).abort_handle());
                // A request that has come along is answered before a crowd behind it takes its place.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                tracing::warn!(%error, "admin: accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers one request, then closes. A client that asks again connects again, so none can keep this thread busy with
/// answers that it does not read.
async fn connection(stream: TcpStream, peer: SocketAddr, admin: Arc<Admin>) -> Result<(), hyper::Error> {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = admin.clone().answer(request, peer);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(INPUT_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(admin: &Admin, method: Method, path: &str) -> u16 {
        admin.show(&method, path).status().as_u16()
    }

    fn never() -> Rearm {
        unreachable!("nobody asks for it")
    }

    #[test]
    fn readiness_follows_the_phase_and_health_does_not() {
        let admin = Admin::new(Vec::new, || None, never);
        for (phase, ready) in [(Phase::Starting, 503), (Phase::Ready, 200), (Phase::Draining, 503)] {
            admin.enter(phase);
            assert_eq!(status(&admin, Method::GET, "/readyz"), ready, "{phase:?}");
            assert_eq!(status(&admin, Method::GET, "/healthz"), 200, "{phase:?}");
        }
    }

    #[test]
    fn a_server_that_refuses_changes_is_not_ready() {
        let troubles = [
            (Trouble::TierLatched, 200),
            (Trouble::ChangesRefused, 503),
            (Trouble::Recovering(7), 200),
            (Trouble::Refilling, 200),
        ];
        for (trouble, ready) in troubles {
            let admin = Admin::new(Vec::new, move || Some(trouble), never);
            assert_eq!(status(&admin, Method::GET, "/readyz"), 503, "it starts");
            admin.enter(Phase::Ready);
            assert_eq!(status(&admin, Method::GET, "/readyz"), ready, "{trouble:?}");
        }
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        let admin = Admin::new(Vec::new, || None, never);
        assert_eq!(status(&admin, Method::GET, "/"), 200);
        assert_eq!(status(&admin, Method::GET, "/etc/passwd"), 404);
        assert_eq!(status(&admin, Method::POST, "/metrics"), 405);
        assert_eq!(status(&admin, Method::HEAD, "/metrics"), 200);
    }
}
