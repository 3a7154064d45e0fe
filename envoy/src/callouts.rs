//! Callouts that are under way, and the carrying out of the engine's effects.

use weir::exchange::{Callout, CalloutId, CalloutReply, Effect, Exchange, Resumed};

use crate::host::{self, Post};
use crate::plugin::Plugin;
use crate::shared_data;
use crate::telemetry;

/// The callouts of one exchange that are under way.
#[derive(Debug, Default)]
pub(crate) struct Callouts {
    /// The proxy's token of each.
    open: Vec<(u32, CalloutId)>,
    /// Those of an observed exchange that the root is to send; as many as the engine lets an exchange ask.
    put_off: Vec<Callout>,
    /// The caller's `traceparent`, sent along so that the judge's work shows in the caller's trace.
    traceparent: Option<String>,
}

impl Callouts {
    /// With the request's `traceparent`, as the client sent it.
    pub(crate) fn new(traceparent: &[u8]) -> Self {
        let is_one = weir::id::TraceContext::parse(traceparent).is_some();
        let traceparent = core::str::from_utf8(traceparent).ok().filter(|_| is_one).map(str::to_owned);
        Self { open: Vec::new(), put_off: Vec::new(), traceparent }
    }

    /// Whether that token is one of these callouts.
    pub(crate) fn contains(&self, token: u32) -> bool {
        self.open.iter().any(|(open, _)| *open == token)
    }

    /// How many callouts are under way.
    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }

    /// Ends the callout of that token.
    pub(crate) fn take(&mut self, token: u32) -> Option<CalloutId> {
        let position = self.open.iter().position(|(open, _)| *open == token)?;
        Some(self.open.swap_remove(position).1)
    }

    /// Carries out what the exchange asks for. What could not be sent, and what the store is asked, is answered at once;
    /// what the answers set going is returned. Callouts of an observed exchange are put off ([`Self::send_put_off`]).
    pub(crate) fn carry_out(&mut self, exchange: &mut Exchange, plugin: &Plugin, out: &mut Vec<u8>) -> Resumed {
        let mut resumed = Resumed::Nothing;
        while let Some(effect) = exchange.poll_effect() {
            match effect {
                Effect::Event(event) => {
                    telemetry::note(plugin, &event);
                    plugin.record(event);
                }
                Effect::Observe(observation) => plugin.metrics.observe(observation),
                Effect::Store(request) => {
                    let now = host::now();
                    let stored = shared_data::carry_out(&request, now);
                    match exchange.handle_store_reply(request.id, stored, now, out) {
                        Resumed::Nothing => {}
                        progress => resumed = progress,
                    }
                }
                Effect::Callout(callout) if exchange.is_beside(callout.id) => self.put_off.push(callout),
                Effect::Callout(callout) => {
                    if self.send(&callout) {
                        continue;
                    }
                    match exchange.handle_callout_reply(callout.id, CalloutReply::NotSent, host::now(), out) {
                        Resumed::Nothing => {}
                        progress => resumed = progress,
                    }
                }
            }
        }
        resumed
    }

    /// Sends what was put off. In the root's own callbacks: the SDK brings an answer to the context in whose callback it was
    /// asked for, and to nobody once that is gone.
    pub(crate) fn send_put_off(&mut self, exchange: &mut Exchange, plugin: &Plugin) {
        while !self.put_off.is_empty() {
            for callout in core::mem::take(&mut self.put_off) {
                exchange.note_sent(callout.id, host::now());
                if !self.send(&callout) {
                    let unused = &mut Vec::new();
                    let _nothing_to_resume =
                        exchange.handle_callout_reply(callout.id, CalloutReply::NotSent, host::now(), unused);
                }
            }
            let _nothing_to_resume = self.carry_out(exchange, plugin, &mut Vec::new());
        }
    }

    /// Whether anything is put off.
    pub(crate) fn has_put_off(&self) -> bool {
        !self.put_off.is_empty()
    }

    fn send(&mut self, callout: &Callout) -> bool {
        let post = Post {
            cluster: &callout.cluster,
            authority: &callout.authority,
            path: &callout.path,
            authorization: callout.authorization.as_deref(),
            traceparent: self.traceparent.as_deref(),
            body: &callout.body,
            timeout: callout.timeout,
        };
        match host::post(&post) {
            Ok(token) => {
                self.open.push((token, callout.id));
                true
            }
            Err(status) => {
                log::warn!("a callout cannot be sent through cluster {:?} ({status:?})", callout.cluster);
                false
            }
        }
    }
}
