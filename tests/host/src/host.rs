//! The proxy as tests drive it: what the client, the provider, the judge and time do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wasmi::{Instance, Linker, Store, Val};

use crate::abi;
use crate::module::Plugin;
use crate::proxy::{Callout, Client, Deferred, Half, Proxy, Refused, Reply, SharedData, Stream, Upstream, find};
use crate::{Headers, abi::export};

/// Envoy's default for `per_connection_buffer_limit_bytes`.
const DEFAULT_BUFFER_LIMIT: usize = 1024 * 1024;

/// How a host is to be.
#[derive(Debug)]
pub struct HostBuilder {
    document: String,
    plugin: Plugin,
    knob: bool,
    buffer_limit: usize,
    environment: Vec<(String, String)>,
    unreachable: BTreeSet<String>,
    refused: Refused,
    shared_data: SharedData,
    properties: BTreeMap<String, Vec<u8>>,
}

impl HostBuilder {
    /// A property that every stream has.
    #[must_use]
    pub fn property(mut self, path: &[&str], value: &[u8]) -> Self {
        self.properties.insert(path.join("\0"), value.to_vec());
        self
    }

    /// What the worker shares with others of its process.
    #[must_use]
    pub fn shared_data(mut self, shared: &SharedData) -> Self {
        self.shared_data = shared.clone();
        self
    }

    /// The module; if this is not called, weir.wasm.
    #[must_use]
    pub fn plugin(mut self, plugin: Plugin) -> Self {
        self.plugin = plugin;
        self
    }

    /// Whether the plugin has `allow_on_headers_stop_iteration: true`.
    #[must_use]
    pub fn knob(mut self, on: bool) -> Self {
        self.knob = on;
        self
    }

    /// The listener's `per_connection_buffer_limit_bytes`.
    #[must_use]
    pub fn buffer_limit(mut self, bytes: usize) -> Self {
        self.buffer_limit = bytes;
        self
    }

    /// An environment variable of the VM.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A cluster without hosts: callouts to it are refused at once.
    #[must_use]
    pub fn unreachable(mut self, cluster: &str) -> Self {
        self.unreachable.insert(cluster.to_owned());
        self
    }

    /// Callouts that are refused at once.
    #[must_use]
    pub fn refuse(mut self, which: impl Fn(&Callout) -> bool + 'static) -> Self {
        self.refused = Refused(Box::new(which));
        self
    }

    /// Starts the module.
    ///
    /// # Panics
    /// When it refuses the document.
    pub fn start(self) -> Host {
        let (host, accepted) = self.try_start();
        assert!(accepted, "the document was refused: {:?}", host.logs());
        host
    }

    /// Starts the module; whether it took the document.
    ///
    /// # Panics
    /// When the module does not run at all.
    pub fn try_start(self) -> (Host, bool) {
        let module = &self.plugin.module().parsed;
        let proxy = Proxy {
            now_ns: 1_760_000_000_000_000_000,
            configuration: Vec::new(),
            environment: self.environment,
            buffer_limit: self.buffer_limit,
            unreachable: self.unreachable,
            refused: self.refused,
            shared_data: self.shared_data,
            properties: self.properties,
            tick_period: 0,
            effective: 0,
            streams: BTreeMap::new(),
            roots: BTreeSet::new(),
            callouts: VecDeque::new(),
            refused_callouts: Vec::new(),
            next_token: 0,
            reply: None,
            deferred: Vec::new(),
            metrics: Vec::new(),
            logs: Vec::new(),
            done: BTreeSet::new(),
            crash: None,
            random: 0x9e37_79b9_7f4a_7c15,
        };
        let mut store = Store::new(module.engine(), proxy);
        let mut linker = Linker::new(module.engine());
        abi::define(&mut linker, module).expect("the host's functions have names of their own");
        let instance = linker.instantiate_and_start(&mut store, module).expect("the host has all that the module imports");
        let mut host = Host { store, instance, knob: self.knob, root: 0, next_context: 1, since_tick: 0 };
        host.call("_initialize", &[]);
        let accepted = host.configure(&self.document);
        (host, accepted)
    }
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Request,
    Response,
}

/// A proxy with one worker that runs the module.
pub struct Host {
    store: Store<Proxy>,
    instance: Instance,
    knob: bool,
    root: u32,
    next_context: u32,
    /// Milliseconds since the last tick.
    since_tick: u64,
}

impl Host {
    /// A proxy that is configured with this document.
    #[allow(clippy::new_ret_no_self, reason = "tests read better with the builder hidden")]
    pub fn new(document: &str) -> HostBuilder {
        HostBuilder {
            document: document.to_owned(),
            plugin: Plugin::Weir,
            knob: false,
            buffer_limit: DEFAULT_BUFFER_LIMIT,
            environment: Vec::new(),
            unreachable: BTreeSet::new(),
            refused: Refused(Box::new(|_| false)),
            shared_data: SharedData::default(),
            properties: BTreeMap::new(),
        }
    }

    /// Gives the plugin another configuration, as an update of the listener does. Whether it took it; if not, the one
    /// before stays.
    pub fn configure(&mut self, document: &str) -> bool {
        let root = self.take_context();
        self.store.data_mut().roots.insert(root);
        self.store.data_mut().configuration = document.as_bytes().to_vec();
        self.act(root, "proxy_on_context_create", &[root, 0]);
        self.act(root, "proxy_on_vm_start", &[root, 0]);
        let accepted = self.act(root, "proxy_on_configure", &[root, document.len() as u32]) != 0;
        if accepted {
            self.root = root;
        }
        accepted
    }

    /// Has what follows concern another root context of the VM, as another listener's streams do: that root, and whether its
    /// plugin has `allow_on_headers_stop_iteration: true`.
    pub fn select_root(&mut self, root: u32, knob: bool) {
        (self.root, self.knob) = (root, knob);
    }

    /// The root context that streams belong to now.
    pub const fn root(&self) -> u32 {
        self.root
    }

    /// Gives every stream a property, in place of what it was.
    pub fn set_property(&mut self, path: &[&str], value: &[u8]) {
        self.store.data_mut().properties.insert(path.join("\0"), value.to_vec());
    }

    /// Ends the present root context, as an update does once its streams are gone. Whether it may go at once.
    pub fn finish_root(&mut self) -> bool {
        self.act(self.root, "proxy_on_done", &[self.root]) != 0
    }

    /// Whether a root that was not done at once has said that it is.
    pub fn root_is_done(&self) -> bool {
        self.store.data().done.contains(&self.root)
    }

    // ---- the client

    /// A whole JSON request.
    pub fn request(&mut self, path: &str, body: &str) -> u32 {
        let length = body.len().to_string();
        let id = self.request_head(
            &[
                (":method", b"POST"),
                (":path", path.as_bytes()),
                (":authority", b"llm"),
                ("content-type", b"application/json"),
                ("content-length", length.as_bytes()),
                ("accept-encoding", b"gzip"),
            ],
            false,
        );
        self.request_body(id, body.as_bytes(), false);
        self.request_body(id, b"", true);
        id
    }

    /// The head of a request.
    pub fn request_head(&mut self, headers: &[(&str, &[u8])], end: bool) -> u32 {
        let id = self.take_context();
        let headers: Headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        let received = headers.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum();
        self.store.data_mut().streams.insert(id, Stream { received, ..Stream::default() });
        self.act(self.root, "proxy_on_context_create", &[id, self.root]);
        self.deliver_head(id, Way::Request, headers, end);
        id
    }

    /// Bytes of a request's body.
    pub fn request_body(&mut self, id: u32, bytes: &[u8], end: bool) {
        self.stream_mut(id).received += bytes.len() as u64;
        self.deliver_body(id, Way::Request, bytes, end);
    }

    /// Bytes of a request's body came that a filter before this one keeps.
    pub fn request_body_is_kept_before(&mut self, id: u32, bytes: usize) {
        self.stream_mut(id).received += bytes as u64;
    }

    /// A request's trailers.
    pub fn request_trailers(&mut self, id: u32) {
        self.deliver_trailers(id, Way::Request);
    }

    /// The client goes away.
    pub fn client_leaves(&mut self, id: u32) {
        self.stream_mut(id).details = "downstream_remote_disconnect".to_owned();
        self.stream_mut(id).upstream.cancelled = true;
        self.complete(id);
    }

    /// What the client has received.
    pub fn client(&self, id: u32) -> &Client {
        &self.stream(id).client
    }

    // ---- the provider

    /// What the provider has received.
    pub fn upstream(&self, id: u32) -> &Upstream {
        &self.stream(id).upstream
    }

    /// The head of the provider's response.
    pub fn provider_answers(&mut self, id: u32, status: u16, content_type: &str) {
        self.provider_head(id, &[(":status", status.to_string().as_bytes()), ("content-type", content_type.as_bytes())], false);
    }

    /// The head of the provider's response, in full.
    pub fn provider_head(&mut self, id: u32, headers: &[(&str, &[u8])], end: bool) {
        self.stream_mut(id).details = "via_upstream".to_owned();
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        self.deliver_head(id, Way::Response, headers, end);
    }

    /// Bytes of the provider's response.
    pub fn provider_sends(&mut self, id: u32, bytes: impl AsRef<[u8]>) {
        self.provider_body(id, bytes.as_ref(), false);
    }

    /// The end of the provider's response.
    pub fn provider_ends(&mut self, id: u32) {
        self.provider_body(id, b"", true);
    }

    /// Bytes of the provider's response, which may be the last.
    pub fn provider_body(&mut self, id: u32, bytes: &[u8], end: bool) {
        self.deliver_body(id, Way::Response, bytes, end);
    }

    /// The end of the provider's response, as trailers.
    pub fn provider_ends_with_trailers(&mut self, id: u32) {
        self.deliver_trailers(id, Way::Response);
    }

    /// The provider breaks off.
    pub fn provider_breaks_off(&mut self, id: u32) {
        self.end_by_provider(id, "protocol_error");
    }

    /// The provider resets the stream.
    pub fn provider_resets(&mut self, id: u32) {
        self.end_by_provider(id, "remote_reset");
    }

    /// The proxy follows a redirect of the provider's itself: the request goes on as another stream.
    pub fn redirects_internally(&mut self, id: u32) {
        "internal_redirect".clone_into(&mut self.stream_mut(id).details);
        self.complete(id);
    }

    fn end_by_provider(&mut self, id: u32, how: &str) {
        let stream = self.stream_mut(id);
        stream.details = format!("upstream_reset_after_response_started{{{how}}}");
        stream.client.reset = true;
        self.complete(id);
    }

    // ---- callouts and time

    /// The oldest callout to that cluster that was not taken yet.
    pub fn callout(&mut self, cluster: &str) -> Option<Callout> {
        let callouts = &mut self.store.data_mut().callouts;
        let position = callouts.iter().position(|callout| callout.cluster == cluster)?;
        callouts.remove(position)
    }

    /// The oldest callout that was not taken yet.
    pub fn next_callout(&mut self) -> Option<Callout> {
        self.store.data_mut().callouts.pop_front()
    }

    /// The callouts that were refused since this was last called.
    pub fn take_refused(&mut self) -> Vec<Callout> {
        std::mem::take(&mut self.store.data_mut().refused_callouts)
    }

    /// Answers a callout.
    pub fn answer(&mut self, callout: &Callout, status: u16, body: impl AsRef<[u8]>) {
        let headers = vec![(":status".to_owned(), status.to_string().into_bytes())];
        self.reply(callout, Reply { headers, body: body.as_ref().to_vec() });
    }

    /// Breaks a callout's response off.
    pub fn break_off(&mut self, callout: &Callout) {
        self.reply(callout, Reply::default());
    }

    /// Lets time pass, with the ticks that fall into it.
    pub fn pass(&mut self, milliseconds: u64) {
        let period = u64::from(self.store.data().tick_period.max(1));
        let mut left = milliseconds;
        while left > 0 {
            let step = left.min(period - self.since_tick);
            self.store.data_mut().now_ns += step * 1_000_000;
            left -= step;
            self.since_tick = (self.since_tick + step) % period;
            if self.since_tick == 0 {
                self.act(self.root, "proxy_on_tick", &[self.root]);
            }
        }
    }

    // ---- what can be seen from outside

    /// The sum of a metric; of a histogram its last value.
    pub fn metric(&self, name: &str) -> u64 {
        self.store.data().metrics.iter().filter(|(known, _)| known == name).map(|(_, value)| value).sum()
    }

    /// The size of the module's memory, which never shrinks.
    ///
    /// # Panics
    /// When the module has none.
    pub fn memory_bytes(&self) -> usize {
        let memory = self.instance.get_memory(&self.store, "memory").expect("the module exports its memory");
        memory.data_size(&self.store)
    }

    /// The log lines at warning and above.
    pub fn logs(&self) -> Vec<&str> {
        self.store.data().logs.iter().filter(|(level, _)| *level >= 3).map(|(_, line)| line.as_str()).collect()
    }

    /// What the stream's access log can show.
    pub fn filter_state(&self, id: u32, name: &str) -> Option<&str> {
        self.stream(id).filter_state.get(name).map(String::as_str)
    }

    /// Whether the stream has come to its end.
    pub fn is_over(&self, id: u32) -> bool {
        self.stream(id).gone
    }

    // ---- the proxy's workings

    fn stream(&self, id: u32) -> &Stream {
        self.store.data().streams.get(&id).expect("the stream was begun")
    }

    fn stream_mut(&mut self, id: u32) -> &mut Stream {
        self.store.data_mut().streams.get_mut(&id).expect("the stream was begun")
    }

    fn half(&mut self, id: u32, way: Way) -> &mut Half {
        let stream = self.stream_mut(id);
        match way {
            Way::Request => &mut stream.request,
            Way::Response => &mut stream.response,
        }
    }

    fn take_context(&mut self) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        id
    }

    fn reply(&mut self, callout: &Callout, reply: Reply) {
        let (headers, body) = (reply.headers.len() as u32, reply.body.len() as u32);
        self.store.data_mut().reply = Some(reply);
        self.act(self.root, "proxy_on_http_call_response", &[self.root, callout.token, headers, body, 0]);
        self.store.data_mut().reply = None;
    }

    fn call(&mut self, name: &str, arguments: &[u32]) -> u32 {
        let function = export(&self.instance, &self.store, name);
        let arguments: Vec<Val> = arguments.iter().map(|argument| Val::I32(*argument as i32)).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        if let Err(trap) = function.call(&mut self.store, &arguments, &mut results) {
            panic!("the module trapped in {name}: {trap}; it logged {:#?}", self.store.data().logs);
        }
        results.first().and_then(Val::i32).unwrap_or_default() as u32
    }

    /// Calls the module for a context, then does what it asked to be done afterwards.
    fn act(&mut self, context: u32, name: &str, arguments: &[u32]) -> u32 {
        self.store.data_mut().effective = context;
        let result = self.call(name, arguments);
        if let Some(why) = self.store.data_mut().crash.take() {
            panic!("Envoy would crash in {name}: {why}");
        }
        for deferred in std::mem::take(&mut self.store.data_mut().deferred) {
            self.do_deferred(deferred);
        }
        result
    }

    fn do_deferred(&mut self, deferred: Deferred) {
        match deferred {
            Deferred::ResumeRequest(id) if !self.is_over(id) => self.resume(id, Way::Request),
            Deferred::ResumeResponse(id) if !self.is_over(id) => self.resume(id, Way::Response),
            Deferred::Reply { stream, status, headers, body } if !self.is_over(stream) => {
                self.reply_locally(stream, status, headers, body);
            }
            Deferred::Reset(id) if !self.is_over(id) => {
                let stream = self.stream_mut(id);
                stream.client.reset = true;
                stream.upstream.cancelled = true;
                self.complete(id);
            }
            _ => {}
        }
    }

    fn deliver_head(&mut self, id: u32, way: Way, headers: Headers, end: bool) {
        if self.is_over(id) {
            return;
        }
        let count = headers.len() as u32;
        let half = self.half(id, way);
        half.headers = headers;
        half.head_open = true;
        half.ended = end;
        let hook = if way == Way::Request { "proxy_on_request_headers" } else { "proxy_on_response_headers" };
        let pauses = self.act(id, hook, &[id, count, u32::from(end)]) != 0;
        if self.is_over(id) {
            return;
        }
        if !pauses {
            self.release(id, way);
            return;
        }
        let stop_all = !self.knob;
        self.half(id, way).stop_all = stop_all;
    }

    fn deliver_body(&mut self, id: u32, way: Way, chunk: &[u8], end: bool) {
        if self.is_over(id) {
            return;
        }
        let limit = self.store.data().buffer_limit;
        let half = self.half(id, way);
        half.ended |= end;
        if half.stop_all {
            half.behind_head.extend_from_slice(chunk);
            return;
        }
        if half.paused {
            half.buffer.extend_from_slice(chunk);
            if half.buffer.len() > limit {
                self.overflow(id, way);
                return;
            }
        } else {
            half.buffer = chunk.to_vec();
        }
        let half = self.half(id, way);
        let is_lost = std::mem::take(&mut half.was_resumed) && chunk.is_empty() && end;
        half.in_body_callback = true;
        let size = half.buffer.len() as u32;
        let hook = if way == Way::Request { "proxy_on_request_body" } else { "proxy_on_response_body" };
        let pauses = self.act(id, hook, &[id, size, u32::from(end)]) != 0;
        let half = self.half(id, way);
        half.in_body_callback = false;
        if self.is_over(id) {
            return;
        }
        if !pauses {
            if is_lost {
                // What was put into it leaves with another resume alone.
                self.half(id, way).buffer.clear();
            }
            self.release(id, way);
            return;
        }
        let half = self.half(id, way);
        half.paused = true;
        if half.buffer.len() > limit {
            self.overflow(id, way);
        }
    }

    fn deliver_trailers(&mut self, id: u32, way: Way) {
        if self.is_over(id) {
            return;
        }
        let hook = if way == Way::Request { "proxy_on_request_trailers" } else { "proxy_on_response_trailers" };
        let half = self.half(id, way);
        half.ended = true;
        half.trailers = true;
        let pauses = self.act(id, hook, &[id, 1]) != 0;
        if self.is_over(id) {
            return;
        }
        if pauses {
            self.half(id, way).trailers_held = true;
        } else {
            self.release(id, way);
        }
    }

    fn resume(&mut self, id: u32, way: Way) {
        let half = self.half(id, way);
        if !half.stop_all {
            if half.paused || half.head_open || half.trailers_held {
                half.was_resumed = half.paused;
                self.release(id, way);
            }
            return;
        }
        half.stop_all = false;
        let behind = std::mem::take(&mut half.behind_head);
        let (ended, had_body) = (half.ended, !behind.is_empty());
        half.ended = ended && !had_body;
        self.release(id, way);
        if had_body {
            self.deliver_body(id, way, &behind, ended);
        }
    }

    /// Lets go what a direction holds: head, body, end.
    fn release(&mut self, id: u32, way: Way) {
        let stream = self.stream_mut(id);
        let half = if way == Way::Request { &mut stream.request } else { &mut stream.response };
        let head = (!half.head_left).then(|| half.headers.clone());
        half.head_left = true;
        half.head_open = false;
        half.paused = false;
        let body = std::mem::take(&mut half.buffer);
        let (ended, trailers) = (half.ended, half.trailers);
        if way == Way::Request {
            stream.upstream.headers.extend(head.unwrap_or_default());
            stream.upstream.body.extend_from_slice(&body);
            stream.upstream.ended = ended;
            if ended {
                check_length("request", &stream.upstream.headers, &stream.upstream.body);
            }
            return;
        }
        if let Some(headers) = head {
            stream.client.status = status_of(&headers);
            stream.client.headers = headers;
        }
        stream.client.body.extend_from_slice(&body);
        stream.client.ended = ended;
        stream.client.trailers = ended && trailers;
        if ended {
            check_length("response", &stream.client.headers, &stream.client.body);
            self.complete(id);
        }
    }

    fn overflow(&mut self, id: u32, way: Way) {
        let stream = self.stream_mut(id);
        if way == Way::Request {
            stream.details = "request_payload_too_large".to_owned();
            self.reply_locally(id, 413, Headers::new(), b"Payload Too Large".to_vec());
            return;
        }
        stream.details = "response_payload_too_large".to_owned();
        stream.upstream.cancelled = true;
        if stream.response.head_left {
            stream.client.reset = true;
        } else {
            stream.client.status = 500;
            stream.client.ended = true;
        }
        self.complete(id);
    }

    /// A reply that the proxy makes. In the request phase it passes through the module's response hooks.
    fn reply_locally(&mut self, id: u32, status: u16, mut headers: Headers, body: Vec<u8>) {
        headers.push((":status".to_owned(), status.to_string().into_bytes()));
        headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
        let stream = self.stream_mut(id);
        stream.upstream.cancelled = true;
        if stream.response.head_left {
            stream.client.reset = true;
            self.complete(id);
            return;
        }
        let is_new = !stream.replied && stream.response.headers.is_empty();
        stream.replied = true;
        if is_new {
            self.deliver_head(id, Way::Response, headers, body.is_empty());
            if !body.is_empty() {
                self.deliver_body(id, Way::Response, &body, true);
            }
            return;
        }
        stream.client = Client { status, headers, body, trailers: false, ended: true, reset: false };
        self.complete(id);
    }

    fn complete(&mut self, id: u32) {
        if std::mem::replace(&mut self.stream_mut(id).logging, true) {
            return;
        }
        let stream = self.stream_mut(id);
        stream.request.paused = false;
        stream.response.paused = false;
        self.act(id, "proxy_on_log", &[id]);
        self.act(id, "proxy_on_done", &[id]);
        self.act(id, "proxy_on_delete", &[id]);
        self.stream_mut(id).gone = true;
    }
}

fn status_of(headers: &Headers) -> u16 {
    find(headers, ":status").and_then(|status| std::str::from_utf8(status).ok()?.parse().ok()).unwrap_or_default()
}

/// Envoy cuts a body off at the length that the head announced, and ends it as if nothing were amiss.
fn check_length(what: &str, headers: &Headers, body: &[u8]) {
    let announced = find(headers, "content-length").and_then(|length| std::str::from_utf8(length).ok()?.parse::<usize>().ok());
    if let Some(announced) = announced {
        assert_eq!(body.len(), announced, "the {what}'s body has not the length that its head announced");
    }
}
