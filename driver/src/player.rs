//! Plays exchanges through one chain.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use weir::caller::Caller;
use weir::chain::Chain;
use weir::exchange::Callout;
use weir::id::CallId;
use weir::state::{Scope, StateError, StoreRequest, Stored, Table};
use weir::time::Timestamp;

use crate::outcome::Outcome;
use crate::play::Play;
use crate::service::ServiceReply;
use crate::step::Step;

type Services = Arc<dyn Fn(&Callout) -> ServiceReply + Send + Sync>;

/// Plays exchanges through one chain. Clones share what policies keep across exchanges.
#[derive(Clone)]
pub struct Player {
    pub(crate) chain: Arc<Chain>,
    pub(crate) services: Services,
    pub(crate) stores: Arc<Mutex<Stores>>,
    pub(crate) call_id: CallId,
    pub(crate) now: Timestamp,
    pub(crate) caller: Caller,
    /// From which of its requests on an exchange finds no store.
    store_fails_from: Option<u32>,
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").field("chain", &self.chain).field("call_id", &self.call_id).finish_non_exhaustive()
    }
}

/// What policies keep across exchanges, in memory.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    worker: Table,
    proxy: Table,
    /// Of policies that are observed beside enforced ones.
    worker_beside: Table,
    proxy_beside: Table,
}

impl Stores {
    /// Carries out what the engine asks of the store.
    pub(crate) fn carry_out(&mut self, request: &StoreRequest, now: Timestamp) -> Result<Stored, StateError> {
        let table = match (request.scope, request.is_beside) {
            (Scope::Worker, false) => &mut self.worker,
            (Scope::Worker, true) => &mut self.worker_beside,
            (Scope::Proxy, false) => &mut self.proxy,
            (Scope::Proxy, true) => &mut self.proxy_beside,
        };
        table.carry_out(&request.key, &request.operation, now)
    }
}

impl Player {
    /// Plays through `chain`. No service answers, the clock stands in October 2025, and the store is empty.
    pub fn new(chain: Arc<Chain>) -> Self {
        Self {
            chain,
            services: Arc::new(|_| ServiceReply::not_sent()),
            stores: Arc::default(),
            call_id: CallId::from_bytes(*b"a driver's calls"),
            now: Timestamp::from_unix(Duration::from_secs(1_760_000_000)),
            caller: Caller::default(),
            store_fails_from: None,
        }
    }

    /// Answers callouts, those to judges among them, as `services` says.
    #[must_use]
    pub fn answering(mut self, services: impl Fn(&Callout) -> ServiceReply + Send + Sync + 'static) -> Self {
        self.services = Arc::new(services);
        self
    }

    /// Traces which hooks run.
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.chain = Arc::new(self.chain.traced());
        self
    }

    /// Gives exchanges this id.
    #[must_use]
    pub const fn call_id(mut self, call_id: CallId) -> Self {
        self.call_id = call_id;
        self
    }

    /// Makes the same player with an empty store.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { stores: Arc::default(), ..self.clone() }
    }

    /// Takes the chain of another player, over what the policies of this one have kept: as another worker of the proxy does.
    #[must_use]
    pub fn chain(mut self, other: Self) -> Self {
        self.chain = other.chain;
        self
    }

    /// Lets exchanges begin at this time.
    #[must_use]
    pub const fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// Lets the host know this of the caller.
    #[must_use]
    pub fn caller(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    /// Lets the store fail from this request of an exchange on; the first is 0.
    #[must_use]
    pub const fn store_fails_from(mut self, request: u32) -> Self {
        self.store_fails_from = Some(request);
        self
    }

    /// Plays an exchange to its end.
    pub fn play(&self, steps: &[Step]) -> Outcome {
        let mut play = self.begin();
        for step in steps {
            play.take(step);
        }
        play.finish()
    }

    /// Begins an exchange that is played step by step.
    pub fn begin(&self) -> Play<'_> {
        Play::new(self)
    }

    pub(crate) fn store(&self, request: &StoreRequest, now: Timestamp) -> Result<Stored, StateError> {
        if self.store_fails_from.is_some_and(|first| request.id.0 >= first) {
            return Err(StateError::Unavailable);
        }
        // A panic elsewhere leaves the tables whole: each operation is one step.
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).carry_out(request, now)
    }
}
