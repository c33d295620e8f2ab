//! A tier that has failed is taken into use again: the one request at the admin address that changes something.
//!
//! What the tier held is lost by then, so nothing worse can come of it than work for the medium. All the same it is for the
//! operator alone: it is asked from this machine, and not by a page in a browser, which always says where it comes from.

use super::{Admin, Phase, only, plain};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, ORIGIN};
use hyper::{Method, Response, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub(crate) const PATH: &str = "/tier/rearm";

/// One that takes longer is answered before it is done: a medium that is made anew may be large.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What came of it, in words for whoever asked.
#[derive(Debug)]
pub(crate) enum Rearm {
    /// The tier is in use again.
    Done(String),
    /// There is nothing to be done, or not now.
    Refused(String),
    /// It was tried, and the tier is still out of use.
    Failed(String),
}

impl Rearm {
    fn answer(self) -> (StatusCode, String) {
        match self {
            Rearm::Done(words) => (StatusCode::OK, words),
            Rearm::Refused(words) => (StatusCode::CONFLICT, words),
            Rearm::Failed(words) => (StatusCode::SERVICE_UNAVAILABLE, words),
        }
    }
}

/// Answers a request for it.
pub(super) async fn answer(
    admin: Arc<Admin>,
    method: &Method,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Response<Full<Bytes>> {
    if method != Method::POST {
        return only("POST");
    }
    if let Some(why) = refusal(headers, peer) {
        return plain(StatusCode::FORBIDDEN, why);
    }
    if admin.phase.load(Relaxed) != Phase::Ready as u8 {
        return plain(StatusCode::CONFLICT, "the server starts or ends\n");
    }
    // It goes on when the client is gone, and the log tells what came of it.
    let rearm = tokio::task::spawn_blocking(move || (admin.rearm)());
    let (status, words) = match tokio::time::timeout(PATIENCE, rearm).await {
        Ok(Ok(rearm)) => rearm.answer(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(_) => {
            (StatusCode::ACCEPTED, "it is under way: the log tells what comes of it, and /readyz".into())
        }
    };
    plain(status, format!("{words}\n"))
}

/// Why it is not this client's to ask.
fn refusal(headers: &HeaderMap, peer: SocketAddr) -> Option<&'static str> {
    if !peer.ip().to_canonical().is_loopback() {
        return Some("only from this machine, by its loopback address\n");
    }
    headers.contains_key(ORIGIN).then_some("not from a page in a browser\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    async fn ask(admin: &Arc<Admin>, method: Method, headers: &HeaderMap, peer: &str) -> u16 {
        let peer = peer.parse().expect("an address");
        answer(admin.clone(), &method, headers, peer).await.status().as_u16()
    }

    #[tokio::test]
    async fn only_the_operator_of_a_server_that_serves_rearms() {
        let admin = Admin::new(Vec::new, || None, || Rearm::Done("done".into()));
        let mut headers = HeaderMap::new();
        assert_eq!(ask(&admin, Method::POST, &headers, "127.0.0.1:5").await, 409, "it starts");
        admin.enter(Phase::Ready);
        for local in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5", "127.9.9.9:5"] {
            assert_eq!(ask(&admin, Method::POST, &headers, local).await, 200, "{local}");
            assert_eq!(ask(&admin, Method::GET, &headers, local).await, 405, "{local}");
        }
        for remote in ["10.0.0.1:5", "[fe80::1]:5", "[::ffff:10.0.0.1]:5"] {
            assert_eq!(ask(&admin, Method::POST, &headers, remote).await, 403, "{remote}");
        }
        headers.insert(ORIGIN, HeaderValue::from_static("http://127.0.0.1:7172"));
        assert_eq!(ask(&admin, Method::POST, &headers, "127.0.0.1:5").await, 403, "a browser");
        admin.enter(Phase::Draining);
        assert_eq!(ask(&admin, Method::POST, &HeaderMap::new(), "127.0.0.1:5").await, 409, "it ends");
    }

    #[tokio::test]
    async fn what_came_of_it_is_the_status() {
        let outcomes: [(fn() -> Rearm, u16); 2] =
            [(|| Rearm::Refused("in use".into()), 409), (|| Rearm::Failed("no medium".into()), 503)];
        for (outcome, status) in outcomes {
            let admin = Admin::new(Vec::new, || None, outcome);
            admin.enter(Phase::Ready);
            assert_eq!(ask(&admin, Method::POST, &HeaderMap::new(), "127.0.0.1:5").await, status);
        }
    }
}
