//! Connections that end while a call comes.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use super::super::line::Running;
use super::super::role::EdgeRole;
use super::super::viewer::ForwardingRules;
use super::super::{Cors, Counters};
use super::*;
use crate::config;
use crate::task::Tasks;

const CALL: Duration = Duration::from_secs(3);

/// Its call is found when the end is announced already, and is answered after `CALL`.
struct Late<const TELLS: bool> {
    answered: Arc<AtomicBool>,
    call: Option<(Running, Pin<Box<tokio::time::Sleep>>)>,
    line: Arc<Line>,
}

impl<const TELLS: bool> Future for Late<TELLS> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.line.is_ending() && self.call.is_none() {
            assert_eq!(self.line.next(), None);
            self.call = Some((Running::begin(&self.line), Box::pin(sleep(CALL))));
        }
        let Some((_, answer)) = &mut self.call else { return Poll::Pending };
        ready!(answer.as_mut().poll(cx));
        self.answered.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<const TELLS: bool> Graceful for Late<TELLS> {
    const ANNOUNCES_ITS_END: bool = TELLS;

    fn finish(self: Pin<&mut Self>) {}

    fn is_ours(_: &hyper::Error) -> bool {
        false
    }
}

/// Whether its call was answered.
async fn drives<const TELLS: bool>(is_evicted: bool, drain: Duration) -> bool {
    let least = "[[route]]\npath = \"/license\"\nlicense-server = \"https://drm.example/\"\n";
    let server = config::parse(least, Path::new("."), std::iter::empty()).unwrap().server;
    let limits = Arc::new(Limits { drain, ..server.limits.clone() });
    let (cors, forwarding, (tasks, _deaths)) = (Cors::of(&server), ForwardingRules::default(), Tasks::new());
    let shared = Shared::new(EdgeRole::Players, &limits, cors, forwarding, Arc::<Counters>::default(), tasks);
    let line = Arc::new(Line::new(Arc::clone(&shared.registry)));
    let idle = async move {
        if is_evicted {
            std::future::pending::<()>().await;
        }
    };
    if is_evicted {
        line.occupy(shared.connections.enter().unwrap());
        assert!(line.evict().is_some());
    }
    let address = AddressKey::of(Ipv4Addr::LOCALHOST.into());
    let end = ConnectionEnd { address, line: Arc::clone(&line), ties: Ties::default() };
    let answered = Arc::<AtomicBool>::default();
    let connection = Late::<TELLS> { answered: Arc::clone(&answered), call: None, line };
    let driving = drive(Box::pin(connection), end, Arc::new(shared), limits, idle);
    let most = CALL.min(drain) + Duration::from_millis(10);
    timeout(most, driving).await.expect("a connection outlives its time");
    answered.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_found_when_its_idle_connection_ends_is_served() {
    for drain in [2 * CALL, CALL / 2] {
        let all = [
            drives::<false>(true, drain).await,
            drives::<false>(false, drain).await,
            drives::<true>(true, drain).await,
            drives::<true>(false, drain).await,
        ];
        assert_eq!(all, [CALL < drain; 4]);
    }
}
