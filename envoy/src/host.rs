//! The calls to the proxy that the glue makes. The SDK panics on most refusals, which stops every stream of the worker:
//! each function names the phase in which the proxy does not refuse it.

use core::time::Duration;
use std::time::UNIX_EPOCH;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, Status};
use weir::dialect::reply::Reply;
use weir::time::Timestamp;
use weir::wire::encoding::READABLE;

/// The status of an answer that says which encodings a request may have.
const UNSUPPORTED_MEDIA_TYPE: u16 = 415;

/// The proxy's clock. Any phase.
pub(crate) fn now() -> Timestamp {
    let since_epoch = hostcalls::get_current_time().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Timestamp::from_unix(since_epoch.unwrap_or_default())
}

/// Takes over the log level that the proxy has now, so that what it would drop is not even formatted. Any phase.
pub(crate) fn adopt_log_level() {
    proxy_wasm::set_log_level(hostcalls::get_log_level().unwrap_or(LogLevel::Info));
}

/// A header. While its head is being handled or held. Bytes, because a client may send any.
pub(crate) fn header(map: MapType, name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(map, name).ok().flatten()
}

/// The first of these headers that comes more than once. While its head is being handled or held.
pub(crate) fn repeated_header(map: MapType, names: &[&'static str]) -> Option<&'static str> {
    let headers = hostcalls::get_map_bytes(map).unwrap_or_default();
    let times = |name: &str| headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count();
    names.iter().copied().find(|name| times(name) > 1)
}

/// Sets a header. While its head is being handled or held.
pub(crate) fn set_header(map: MapType, name: &str, value: &str) {
    let _ = hostcalls::set_map_value(map, name, Some(value));
}

/// Removes a header. While its head is being handled or held.
pub(crate) fn remove_header(map: MapType, name: &str) {
    let _ = hostcalls::remove_map_value(map, name);
}

/// Bytes of a body from `start` on. In its body callback; elsewhere only while it is paused.
pub(crate) fn body(buffer: BufferType, start: usize, size: usize) -> Vec<u8> {
    match size.checked_sub(start) {
        None | Some(0) => Vec::new(),
        Some(length) => hostcalls::get_buffer(buffer, start, length).ok().flatten().unwrap_or_default(),
    }
}

/// Replaces the first `size` bytes, which are all, of a body. In its body callback; elsewhere only while it is paused,
/// and then never with more bytes than the proxy buffers: more than its limit would bring it down.
pub(crate) fn replace_body(buffer: BufferType, size: usize, bytes: &[u8]) {
    let _ = hostcalls::set_buffer(buffer, 0, size, bytes);
}

/// Lets a paused request go on, after the call. Any phase of a stream.
pub(crate) fn resume_request() {
    let _ = hostcalls::resume_http_request();
}

/// Lets a paused response go on, after the call. Any phase of a stream.
pub(crate) fn resume_response() {
    let _ = hostcalls::resume_http_response();
}

/// Breaks the stream off. Nothing of it may be touched afterwards.
pub(crate) fn reset_stream() {
    let _ = hostcalls::reset_http_response();
}

/// The id of the client's connection. Any phase of a stream or connection.
pub(crate) fn connection_id() -> Option<u64> {
    number(&["connection_id"])
}

/// Closes the client's connection once what was written is sent. In a tick of the root, with the connection's context.
pub(crate) fn close_connection() {
    let _ = hostcalls::close_downstream();
}

/// What the proxy writes to the client. In the connection's callback for it.
pub(crate) fn written(size: usize) -> Vec<u8> {
    body(BufferType::UpstreamData, 0, size)
}

/// Writes this in its place. In the connection's callback for it.
pub(crate) fn replace_written(size: usize, bytes: &[u8]) {
    let _ = hostcalls::set_buffer(BufferType::UpstreamData, 0, size, bytes);
}

/// Writes this behind it. In the connection's callback for it.
pub(crate) fn append_to_written(size: usize, bytes: &[u8]) {
    let _ = hostcalls::set_buffer(BufferType::UpstreamData, size, 0, bytes);
}

/// Answers in place of the upstream. While the response's head has not left; nothing of the stream may be touched
/// afterwards.
pub(crate) fn answer(reply: &Reply) {
    let mut headers = vec![("content-type", reply.content_type)];
    if reply.status == UNSUPPORTED_MEDIA_TYPE {
        headers.push(("accept-encoding", READABLE));
    }
    headers.extend(reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let _ = hostcalls::send_http_response(u32::from(reply.status), headers, Some(&reply.body));
}

/// A property of the stream. Any phase.
pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten()
}

/// A property of the stream that is a number. Any phase.
pub(crate) fn number(path: &[&str]) -> Option<u64> {
    let bytes = property(path)?;
    Some(u64::from_le_bytes(bytes.as_slice().try_into().ok()?))
}

/// Sets filter state, which access logs can show. While the stream lives.
pub(crate) fn set_filter_state(name: &str, value: &str) {
    let _ = hostcalls::set_property(vec![name], Some(value.as_bytes()));
}

/// What the process shares under `name`, and its version; `None` twice where there is nothing. Any phase.
pub(crate) fn shared_data(name: &str) -> (Option<Vec<u8>>, Option<u32>) {
    hostcalls::get_shared_data(name).unwrap_or_default()
}

/// Shares `value` under `name`: only over `version` where one is given, else over whatever is there. Any phase.
pub(crate) fn set_shared_data(name: &str, value: &[u8], version: Option<u32>) -> Result<(), Status> {
    hostcalls::set_shared_data(name, Some(value), version)
}

/// What goes out in a callout.
pub(crate) struct Post<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) authorization: Option<&'a str>,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) body: &'a [u8],
    pub(crate) timeout: Duration,
}

/// Sends JSON to a cluster; the token comes back with the reply. After an error no reply comes. Any phase.
pub(crate) fn post(post: &Post<'_>) -> Result<u32, Status> {
    let mut headers = vec![
        (":method", "POST"),
        (":path", post.path),
        (":authority", post.authority),
        ("content-type", "application/json"),
        ("accept", "application/json"),
    ];
    headers.extend(post.authorization.map(|value| ("authorization", value)));
    headers.extend(post.traceparent.map(|value| ("traceparent", value)));
    hostcalls::dispatch_http_call(post.cluster, headers, Some(post.body), Vec::new(), post.timeout)
}

/// The status of the callout's reply, and up to `limit` bytes of its body; `None` when there is no whole response. In
/// the callback of the reply.
pub(crate) fn callout_reply(num_headers: usize, body_size: usize, limit: usize) -> Option<(u16, Vec<u8>)> {
    if num_headers == 0 {
        return None;
    }
    let status = header(MapType::HttpCallResponseHeaders, ":status").and_then(|status| parse_number(&status))?;
    Some((status, body(BufferType::HttpCallResponseBody, 0, body_size.min(limit))))
}

/// Makes later calls apply to that context. In a callback of the root. `false` when there is no such context.
pub(crate) fn act_for(context_id: u32) -> bool {
    hostcalls::set_effective_context(context_id).is_ok()
}

/// Tells the proxy that a root whose `on_done` returned false may go. In a callback of the root.
pub(crate) fn done() {
    let _ = hostcalls::done();
}

/// Calls the root's tick this often. Any phase.
pub(crate) fn tick_every(period: Duration) {
    let _ = hostcalls::set_tick_period(period);
}

/// Does not call the root's tick any more. Any phase.
pub(crate) fn tick_never() {
    tick_every(Duration::ZERO);
}

/// The plugin's configuration. In `on_configure`.
pub(crate) fn configuration(size: usize) -> Vec<u8> {
    body(BufferType::PluginConfiguration, 0, size)
}

/// Defines a metric; the same name is the same metric. Any phase.
pub(crate) fn define_metric(kind: MetricType, name: &str) -> Option<u32> {
    hostcalls::define_metric(kind, name).ok()
}

/// Adds to a counter. Any phase.
pub(crate) fn increment(metric: u32, by: u64) {
    let _ = hostcalls::increment_metric(metric, i64::try_from(by).unwrap_or(i64::MAX));
}

/// Records a value of a histogram. Any phase.
pub(crate) fn record(metric: u32, value: u64) {
    let _ = hostcalls::record_metric(metric, value);
}

/// A header's value as a number.
pub(crate) fn parse_number<T: core::str::FromStr>(value: &[u8]) -> Option<T> {
    core::str::from_utf8(value).ok()?.trim().parse().ok()
}
