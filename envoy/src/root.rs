//! The root context: one for each configuration of the plugin in each worker.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext as ConnectionCallbacks};
use proxy_wasm::types::ContextType;

use crate::connection_filter::{self, Closing, ConnectionContext};
use crate::plugin::Plugin;
use crate::shared_data;
use crate::stream::{Stream, StreamContext};
use crate::{handover, host};

/// How often the root looks after waiting streams, unless events are to be sent more often.
const TICK: Duration = Duration::from_millis(200);

/// The root context.
pub(crate) struct Root {
    context_id: u32,
    plugin: Option<Rc<Plugin>>,
    /// Where the plugin is the connection filter.
    closing: Option<Closing>,
}

impl Root {
    pub(crate) const fn new(context_id: u32) -> Self {
        Self { context_id, plugin: None, closing: None }
    }

    /// Lets streams whose deadline has passed, or whose head was held in vain, go on.
    fn look_after_streams(&self, plugin: &Plugin) {
        let waiting = plugin.waiting.try_borrow_mut().map_or_else(|_| Vec::new(), |mut waiting| core::mem::take(&mut *waiting));
        if waiting.is_empty() {
            return;
        }
        let now = host::now();
        let mut still_waiting = Vec::with_capacity(waiting.len());
        for (id, stream) in waiting {
            let Some(alive) = stream.upgrade() else { continue };
            let goes_on_waiting = host::act_for(id) && alive.try_borrow_mut().is_ok_and(|mut stream| stream.handle_tick(now));
            if goes_on_waiting {
                still_waiting.push((id, stream));
            }
        }
        host::act_for(self.context_id);
        if let Ok(mut waiting) = plugin.waiting.try_borrow_mut() {
            // A tick may have made streams wait anew.
            waiting.append(&mut still_waiting);
        }
    }
}

/// Lets observed exchanges whose streams are gone go on, and lets go of those that await nothing more.
fn look_after_finishing(plugin: &Plugin) {
    let finishing = plugin.take_finishing();
    if finishing.is_empty() {
        return;
    }
    let now = host::now();
    let goes_on = |stream: &Rc<RefCell<Stream>>| stream.try_borrow_mut().is_ok_and(|mut stream| stream.finish_observing(now));
    let mut still: Vec<_> = finishing.into_iter().filter(goes_on).collect();
    if let Ok(mut finishing) = plugin.finishing.try_borrow_mut() {
        finishing.append(&mut still);
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, num_headers: usize, body_size: usize, _: usize) {
        let Some(plugin) = &self.plugin else { return };
        let reply = host::callout_reply(num_headers, body_size, weir::callout::MAX_REPLY_BYTES.saturating_add(1));
        let handled = plugin.events.try_borrow_mut().ok().and_then(|mut events| {
            let queue = events.as_mut()?;
            let reply = reply.as_ref().map(|(status, body)| (*status, body.as_slice()));
            let dropped = queue.handle_reply(token, reply, host::now())?;
            Some((dropped, queue.is_done()))
        });
        if let Some((dropped, done)) = handled {
            plugin.count_dropped(dropped);
            if done {
                plugin.leave_events();
                host::done();
            }
            return;
        }
        let asked = |stream: &&Rc<RefCell<Stream>>| stream.try_borrow().is_ok_and(|stream| stream.asked(token));
        let finishing = plugin.finishing.try_borrow().ok().and_then(|finishing| finishing.iter().find(asked).cloned());
        if let Some(stream) = finishing {
            let awaits_more = stream.try_borrow_mut().is_ok_and(|mut stream| {
                stream.handle_callout_reply(token, reply);
                stream.finish_observing(host::now())
            });
            if !awaits_more && let Ok(mut finishing) = plugin.finishing.try_borrow_mut() {
                finishing.retain(|other| !Rc::ptr_eq(other, &stream));
            }
            return;
        }
        // The callouts that a stream makes in the root's tick are answered to the root.
        let asker = plugin.waiting.try_borrow().ok().and_then(|waiting| {
            let asked = |stream: &Rc<RefCell<Stream>>| stream.try_borrow().is_ok_and(|stream| stream.asked(token));
            waiting.iter().find_map(|(id, stream)| Some((*id, stream.upgrade().filter(asked)?)))
        });
        if let Some((id, stream)) = asker
            && host::act_for(id)
        {
            if let Ok(mut stream) = stream.try_borrow_mut() {
                stream.handle_callout_reply(token, reply);
            }
            host::act_for(self.context_id);
        }
    }

    fn on_done(&mut self) -> bool {
        let Some(plugin) = &self.plugin else { return true };
        // Whoever takes over knows nothing of them: their events leave with the others.
        for stream in plugin.take_finishing() {
            if let Ok(mut stream) = stream.try_borrow_mut() {
                stream.abandon();
            }
        }
        let awaits_reply =
            plugin.events.try_borrow_mut().is_ok_and(|mut events| events.as_mut().is_some_and(|queue| queue.flush(host::now())));
        if !awaits_reply {
            plugin.leave_events();
        }
        !awaits_reply
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        host::adopt_log_level();
        let configuration = host::configuration(size);
        if connection_filter::is_configured(&configuration) {
            self.closing = Some(Closing::default());
            return true;
        }
        shared_data::prepare();
        match Plugin::configure(&configuration, self.context_id) {
            Ok(plugin) => {
                handover::prepare();
                let tick = plugin.events.try_borrow().ok().and_then(|events| Some(events.as_ref()?.interval()));
                host::tick_every(tick.map_or(TICK, |interval| interval.min(TICK)));
                for chain in plugin.documents.chains() {
                    log::info!(
                        "policy document {:?} revision {} is in force ({}): {} policies",
                        chain.id,
                        chain.revision,
                        chain.rollout.mode.name(),
                        chain.policies.len()
                    );
                }
                self.plugin = Some(plugin);
                true
            }
            Err(error) => {
                // The proxy then refuses the configuration, and goes on with the one before.
                log::error!("the policy document is refused: {error}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        host::adopt_log_level();
        if let Some(closing) = &self.closing {
            return connection_filter::close(closing, self.context_id);
        }
        let Some(plugin) = &self.plugin else { return };
        self.look_after_streams(plugin);
        look_after_finishing(plugin);
        if let Ok(mut events) = plugin.events.try_borrow_mut()
            && let Some(queue) = events.as_mut()
        {
            plugin.count_dropped(queue.tick(host::now()));
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(StreamContext::new(context_id, self.plugin.clone())))
    }

    fn create_stream_context(&self, context_id: u32) -> Option<Box<dyn ConnectionCallbacks>> {
        Some(Box::new(ConnectionContext::new(context_id, Rc::clone(self.closing.as_ref()?))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(if self.closing.is_some() { ContextType::StreamContext } else { ContextType::HttpContext })
    }
}
