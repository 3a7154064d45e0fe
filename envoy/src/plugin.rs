//! What one configuration of the plugin amounts to; shared by its root context and its streams.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::{Rc, Weak};

use weir::document::{DocumentError, Documents, EventSink};
use weir::event::{Event, EventKind, Severity};
use weir::judge::Credential;
use weir::time::Timestamp;

use crate::events::EventQueue;
use crate::host;
use crate::learned::Learned;
use crate::metrics::Metrics;
use crate::settings::{RequestHold, Settings};
use crate::stream::Stream;

/// A document made ready, with what its streams share.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) documents: Documents,
    /// The root context.
    pub(crate) root: u32,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) learned: Learned,
    pub(crate) events: RefCell<Option<EventQueue>>,
    /// Streams that the root's tick looks after, by their context ids.
    pub(crate) waiting: RefCell<Vec<(u32, Weak<RefCell<Stream>>)>>,
    /// Observed exchanges whose streams are gone, and whose verdicts are awaited.
    pub(crate) finishing: RefCell<Vec<Rc<RefCell<Stream>>>>,
    /// Kinds of errors, and when each was last logged.
    logged: RefCell<Vec<(&'static str, Timestamp)>>,
    /// What leaves in a callback, between callbacks empty: a buffer of its own would be allocated for each delta.
    out: RefCell<Vec<u8>>,
}

/// Capacity that the buffer keeps between callbacks; one long body must not hold its memory for good.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Most observed exchanges of a worker whose verdicts are awaited beyond their streams' ends.
const MAX_FINISHING: usize = 1024;

/// Of each kind of error one log line in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

impl Plugin {
    /// Reads a document.
    pub(crate) fn configure(json: &[u8], root: u32) -> Result<Rc<Self>, DocumentError> {
        let json = core::str::from_utf8(json).map_err(|_| DocumentError::new("", "the policy document is not UTF-8 text"))?;
        let environment = |name: &str| std::env::var(name).ok();
        let mut documents = Documents::parse(json, &crate::registry(), &environment)?;
        if let Some(salt) = crate::shared_data::salt() {
            documents.salt_evidence(&salt);
        }
        let settings = Settings::parse(&documents.proxy)?;
        let events = documents.events.clone().map(|sink| make_queue(sink, &environment)).transpose()?;
        Ok(Rc::new(Self {
            documents,
            root,
            settings,
            metrics: Metrics::default(),
            learned: Learned::default(),
            events: RefCell::new(events),
            waiting: RefCell::new(Vec::new()),
            finishing: RefCell::default(),
            logged: RefCell::default(),
            out: RefCell::default(),
        }))
    }

    /// Keeps an observed exchange whose stream is gone until its verdicts are there. Whether there is room for it.
    pub(crate) fn keep_finishing(&self, stream: &Rc<RefCell<Stream>>) -> bool {
        self.finishing.try_borrow_mut().is_ok_and(|mut finishing| {
            let has_room = finishing.len() < MAX_FINISHING;
            if has_room {
                finishing.push(Rc::clone(stream));
            }
            has_room
        })
    }

    /// Takes all of them.
    pub(crate) fn take_finishing(&self) -> Vec<Rc<RefCell<Stream>>> {
        self.finishing.try_borrow_mut().map_or_else(|_| Vec::new(), |mut finishing| core::mem::take(&mut *finishing))
    }

    /// Whether heads of requests are to be held.
    pub(crate) fn holds_heads(&self) -> bool {
        self.settings.request_hold == RequestHold::Headers
    }

    /// An empty buffer for what leaves; who does not keep it gives it back.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.out.try_borrow_mut().map(|mut out| core::mem::take(&mut *out)).unwrap_or_default()
    }

    /// Gives the buffer back.
    pub(crate) fn give_buffer_back(&self, mut out: Vec<u8>) {
        out.clear();
        out.shrink_to(KEPT_CAPACITY);
        if let Ok(mut kept) = self.out.try_borrow_mut() {
            *kept = out;
        }
    }

    /// Puts an event into the queue, where there is one.
    pub(crate) fn record(&self, event: Event) {
        let dropped = match self.events.try_borrow_mut().as_deref_mut() {
            Ok(Some(queue)) => queue.push(event, host::now()),
            _ => 0,
        };
        self.count_dropped(dropped);
    }

    /// Records something about the proxy, for those who watch the activity page.
    pub(crate) fn report(&self, event_type: &str, summary: &str) {
        let now = host::now();
        self.record(Event {
            // The queue gives it one.
            id: String::new(),
            kind: EventKind::Error,
            time_ms: now.as_unix_millis(),
            call_id: None,
            trace_id: None,
            span_id: None,
            policy_target: None,
            policy_class: None,
            event_type: event_type.to_owned(),
            severity: Severity::Warning,
            summary: summary.to_owned(),
            policy_config: None,
            metadata: serde_json::Map::new(),
        });
    }

    /// As [`Self::report`], and logs it.
    pub(crate) fn warn(&self, event_type: &str, summary: &str) {
        log::warn!("{summary}");
        self.report(event_type, summary);
    }

    /// An exchange is refused because the worker's memory is used up: each is counted and has its event, and a log line says
    /// so once a minute.
    pub(crate) fn refuse_for_memory(&self) {
        self.metrics.count("errors", "worker_memory", 1);
        self.report("proxy.worker_memory", "a request was refused: the worker's memory is used up");
        self.log_at_intervals("worker_memory", "the worker's memory is used up: requests are refused, and responses cut");
    }

    /// Logs something that can befall any number of exchanges: of each kind one line a minute.
    pub(crate) fn log_at_intervals(&self, word: &'static str, message: &str) {
        let now = host::now();
        let Ok(mut logged) = self.logged.try_borrow_mut() else { return };
        match logged.iter_mut().find(|(known, _)| *known == word) {
            Some((_, last)) if now.since(*last) < LOG_INTERVAL => return,
            Some((_, last)) => *last = now,
            None => logged.push((word, now)),
        }
        drop(logged);
        log::error!("{message}");
    }

    /// Leaves events that are not delivered to the next root: this one goes.
    pub(crate) fn leave_events(&self) {
        let lost = self.events.try_borrow_mut().map_or(0, |mut events| events.as_mut().map_or(0, EventQueue::leave));
        self.count_dropped(lost);
    }

    /// Counts events that were dropped.
    pub(crate) fn count_dropped(&self, dropped: u64) {
        if dropped > 0 {
            self.metrics.count("events", "dropped", dropped);
        }
    }
}

fn make_queue(sink: EventSink, environment: &dyn Fn(&str) -> Option<String>) -> Result<EventQueue, DocumentError> {
    let authorization = match &sink.token_env {
        None => None,
        Some(variable) => {
            let token = environment(variable).ok_or_else(|| {
                let message = format!("the VM has no variable {variable:?}: name it in vm_config.environment_variables");
                DocumentError::new("events.token_env", message)
            })?;
            Some(Credential::new(token).authorization())
        }
    };
    Ok(EventQueue::new(sink, authorization))
}
