// A proxy of a few dozen lines: as much of proxy-wasm as a filter needs on the way of a request and its response, and nothing
// that would cost time beside it. Its buffers and its order of calls are Envoy's; it has one stream at a time.

const OK = 0;
const NOT_FOUND = 1;
const CAS_MISMATCH = 8;
const BUFFER = { requestBody: 0, responseBody: 1, calloutBody: 4, configuration: 7 };
const MAP = { request: 0, response: 2, callout: 6 };
const PAUSE = 1;
const RESPONSE = 1;
const decoder = new TextDecoder();
const encoder = new TextEncoder();
const NOTHING = new Uint8Array();

export class Host {
  #bytes;
  #view;
  #buffers = [];
  #maps = [];
  #paused = false;
  #resumed = false;
  #metrics = [];
  #asked = [];
  #shared = new Map();
  #nextContext = 2;
  /** Whether what leaves is kept in `left`. */
  keep = false;
  left = [];
  /** How many questions were asked. */
  callouts = 0;

  constructor(module, configuration) {
    this.exports = new WebAssembly.Instance(module, this.#imports(module)).exports;
    this.#lookAtMemory();
    this.#buffers[BUFFER.configuration] = encoder.encode(configuration);
    this.exports._initialize();
    this.exports.proxy_on_context_create(1, 0);
    this.exports.proxy_on_vm_start(1, 0);
    if (!this.exports.proxy_on_configure(1, this.#buffers[BUFFER.configuration].length)) throw new Error('the filter refuses its configuration');
  }

  /** The sum of the counters with this name. */
  counted(name) {
    return this.#metrics.filter((metric) => metric.name === name).reduce((sum, metric) => sum + metric.value, 0);
  }

  /** Brings a new stream to where the response's body comes, and returns its number. */
  start(path, body) {
    const context = this.#nextContext++;
    const { exports } = this;
    this.left = [];
    this.#paused = false;
    this.#maps[MAP.request] = { ':method': 'POST', ':path': path, ':authority': 'llm', 'content-type': 'application/json', 'content-length': `${body.length}` };
    this.#maps[MAP.response] = { ':status': '200', 'content-type': 'text/event-stream' };
    exports.proxy_on_context_create(context, 1);
    exports.proxy_on_request_headers?.(context, 5, 0);
    this.#buffers[BUFFER.requestBody] = body;
    exports.proxy_on_request_body?.(context, body.length, 1);
    exports.proxy_on_response_headers?.(context, 2, 0);
    return context;
  }

  /** Brings bytes of the response; answers each question to a judge at once. */
  deliver(context, chunk, end) {
    const buffer = this.#paused ? join(this.#buffers[BUFFER.responseBody], chunk) : chunk;
    this.#buffers[BUFFER.responseBody] = buffer;
    this.#paused = this.exports.proxy_on_response_body(context, buffer.length, end) === PAUSE;
    if (!this.#paused && this.keep) this.left.push(this.#buffers[BUFFER.responseBody]);
    while (this.#asked.length) this.#answer(this.#asked.shift());
  }

  /** Ends the stream as a proxy does once all has left. */
  end(context) {
    this.exports.proxy_on_log(context);
    this.exports.proxy_on_done(context);
    this.exports.proxy_on_delete(context);
  }

  #answer(token) {
    const verdict = { probability: 0, explanation: 'ok' };
    const answer = { choices: [{ index: 0, message: { role: 'assistant', content: JSON.stringify(verdict) } }] };
    this.#buffers[BUFFER.calloutBody] = encoder.encode(JSON.stringify(answer));
    this.#maps[MAP.callout] = { ':status': '200' };
    this.#resumed = false;
    this.exports.proxy_on_http_call_response(1, token, 1, this.#buffers[BUFFER.calloutBody].length, 0);
    if (!this.#resumed) return;
    this.#paused = false;
    if (this.keep) this.left.push(this.#buffers[BUFFER.responseBody]);
  }

  #lookAtMemory() {
    this.#bytes = new Uint8Array(this.exports.memory.buffer);
    this.#view = new DataView(this.exports.memory.buffer);
  }

  #memory() {
    // A memory that grows leaves its old view empty.
    if (this.#bytes.length === 0) this.#lookAtMemory();
    return this.#bytes;
  }

  #setNumber(at, value) {
    this.#memory();
    this.#view.setUint32(at, value, true);
    return OK;
  }

  #setTime(at) {
    this.#memory();
    this.#view.setBigUint64(at, BigInt(Date.now()) * 1_000_000n, true);
    return OK;
  }

  #read(at, length) {
    return this.#memory().slice(at, at + length);
  }

  #text(at, length) {
    return decoder.decode(this.#memory().subarray(at, at + length));
  }

  #give(bytes, at, lengthAt) {
    const address = bytes.length ? this.exports.proxy_on_memory_allocate(bytes.length) : 0;
    this.#memory().set(bytes, address);
    this.#setNumber(at, address);
    return this.#setNumber(lengthAt, bytes.length);
  }

  #imports(module) {
    const env = {
      proxy_log: (level, at, length) => {
        if (level >= 3) console.error(this.#text(at, length));
        return OK;
      },
      proxy_get_log_level: (at) => this.#setNumber(at, 3),
      proxy_get_current_time_nanoseconds: (at) => this.#setTime(at),
      proxy_set_tick_period_milliseconds: () => OK,
      proxy_set_effective_context: () => OK,
      proxy_define_metric: (kind, at, length, idAt) =>
        this.#setNumber(idAt, this.#metrics.push({ name: this.#text(at, length), value: 0 }) - 1),
      proxy_increment_metric: (id, by) => {
        this.#metrics[id].value += Number(by);
        return OK;
      },
      proxy_record_metric: () => OK,
      proxy_get_property: (at, length, valueAt, lengthAt) =>
        this.#text(at, length) === 'response\0code_details' ? this.#give(encoder.encode('via_upstream'), valueAt, lengthAt) : NOT_FOUND,
      proxy_set_property: () => OK,
      proxy_get_shared_data: (at, length, valueAt, lengthAt, versionAt) => {
        const kept = this.#shared.get(this.#text(at, length));
        if (!kept) return NOT_FOUND;
        this.#setNumber(versionAt, kept.version);
        return this.#give(kept.value, valueAt, lengthAt);
      },
      proxy_set_shared_data: (at, length, valueAt, valueLength, version) => {
        const key = this.#text(at, length);
        const kept = this.#shared.get(key);
        if (version && version !== kept?.version) return CAS_MISMATCH;
        this.#shared.set(key, { value: this.#read(valueAt, valueLength), version: (kept?.version ?? 0) + 1 });
        return OK;
      },
      proxy_get_header_map_value: (map, at, length, valueAt, lengthAt) => {
        const value = this.#maps[map][this.#text(at, length)];
        return value === undefined ? NOT_FOUND : this.#give(encoder.encode(value), valueAt, lengthAt);
      },
      proxy_get_header_map_pairs: (map, valueAt, lengthAt) => this.#give(serialized(this.#maps[map]), valueAt, lengthAt),
      proxy_replace_header_map_value: () => OK,
      proxy_remove_header_map_value: () => OK,
      proxy_get_buffer_bytes: (buffer, start, length, at, lengthAt) => {
        const bytes = this.#buffers[buffer] ?? NOTHING;
        return this.#give(start === 0 && length >>> 0 >= bytes.length ? bytes : bytes.subarray(start, start + (length >>> 0)), at, lengthAt);
      },
      proxy_set_buffer_bytes: (buffer, start, size, at, length) => {
        this.#buffers[buffer] = join(join(this.#buffers[buffer].subarray(0, start), this.#read(at, length)), this.#buffers[buffer].subarray(start + size));
        return OK;
      },
      proxy_continue_stream: (stream) => {
        this.#resumed ||= stream === RESPONSE;
        return OK;
      },
      proxy_http_call: (cluster, clusterLength, headers, headersLength, body, bodyLength, trailers, trailersLength, timeout, tokenAt) => {
        this.#asked.push(++this.callouts);
        return this.#setNumber(tokenAt, this.callouts);
      },
    };
    const wasi_snapshot_preview1 = {
      random_get: (at, length) => {
        crypto.getRandomValues(this.#memory().subarray(at, at + length));
        return OK;
      },
      environ_sizes_get: (countAt, sizeAt) => this.#setNumber(countAt, 0) || this.#setNumber(sizeAt, 0),
      environ_get: () => OK,
      clock_time_get: (id, precision, at) => this.#setTime(at),
    };
    const imports = { env, wasi_snapshot_preview1 };
    for (const { module: from, name } of WebAssembly.Module.imports(module)) {
      imports[from][name] ??= () => {
        throw new Error(`${name} is not there: no filter has business with it on the way that is measured`);
      };
    }
    return imports;
  }
}

function join(one, other) {
  if (one.length === 0) return other;
  if (other.length === 0) return one;
  const joined = new Uint8Array(one.length + other.length);
  joined.set(one);
  joined.set(other, one.length);
  return joined;
}

/** A map as the ABI has it: how many pairs, the lengths of each name and value, then each of them with a zero behind it. */
function serialized(map) {
  const parts = Object.entries(map).flat().map((text) => encoder.encode(text));
  const lengths = new Uint32Array([parts.length / 2, ...parts.map((part) => part.length)]);
  return parts.reduce((joined, part) => join(join(joined, part), new Uint8Array(1)), new Uint8Array(lengths.buffer));
}
