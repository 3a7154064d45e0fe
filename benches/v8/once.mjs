// Measures in V8, without Envoy, what comes once in an exchange: a long request that is searched, and a tool call whose verdict is
// known from an earlier exchange. Each is the least and the median of many.
//
// usage: node benches/v8/once.mjs [--rounds 200] [--module FILE] [--json FILE]

import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { document, rules } from './chains.mjs';
import { Host } from './host.mjs';
import { PATH, REQUEST, calls, prose } from './traffic.mjs';

const root = new URL('../../', import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    module: { type: 'string', default: `${root}target/weir.wasm` },
    json: { type: 'string' },
  },
});
const weir = new WebAssembly.Module(readFileSync(options.module));
/** Until V8 has compiled for speed what is used. */
const WARM_UP = 50;
const REQUEST_BYTES = 100_000;

const judge = (more) => [{ use: 'tool_call_judge', with: { judge: 'main', threshold: 0.6, ...more } }];
const rows = [
  { name: `a request of ${REQUEST_BYTES / 1000} kB, no_op`, chain: [{ use: 'no_op' }], once: request },
  { name: `a request of ${REQUEST_BYTES / 1000} kB, rules with 1,000 terms and detectors`, chain: rules(1000), once: request, most: 2000 },
  { name: `a request of ${REQUEST_BYTES / 1000} kB, rules with 10,000 terms and detectors`, chain: rules(10_000), once: request, most: 2000 },
  { name: 'the end of a call, its verdict cached', chain: judge({ cache: { for: '10m' } }), once: callEnd, asks: 1, most: 100 },
  { name: 'the end of a call, its verdict cached for all workers', chain: judge({ cache: { for: '10m', scope: 'proxy' } }), once: callEnd, asks: 1, most: 100 },
].map(measure);

const cells = [
  ['once in an exchange, in V8', 'least µs', 'median µs', 'at most', 'kept'],
  ...rows.map(({ name, least, median, most }) => [name, least.toFixed(0), median.toFixed(0), `${most ?? '–'}`, most ? (median <= most ? 'yes' : 'NO') : '–']),
];
const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
const line = (row) => `| ${row.map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[column]))).join(' | ')} |`;
const ruler = `|${widths.map((width, column) => '-'.repeat(width + 1) + (column ? ':' : '-')).join('|')}|`;
console.log([line(cells[0]), ruler, ...cells.slice(1).map(line)].join('\n'));
if (options.json) writeFileSync(options.json, JSON.stringify(rows, null, 2));

function measure({ name, chain, once, most, asks = 0 }) {
  const host = new Host(weir, document(chain));
  const times = [];
  for (let round = -WARM_UP; round < Number(options.rounds); round++) {
    const used = once(host);
    if (round >= 0) times.push(Number(used) / 1000);
  }
  // What is asked again is not known from before.
  if (host.callouts !== asks) throw new Error(`${name}: ${host.callouts} questions were asked, not ${asks}`);
  if (host.counted('weir.decisions.allow') !== WARM_UP + Number(options.rounds)) throw new Error(`${name}: not every exchange was governed and allowed`);
  times.sort((one, other) => one - other);
  return { name, least: times[0], median: times[times.length >> 1], most };
}

/** The time of a request on its way in. */
function request(host) {
  const messages = [{ role: 'system', content: 'You help.' }];
  for (let bytes = 0; bytes < REQUEST_BYTES; bytes += prose.length) messages.push({ role: messages.length % 2 ? 'user' : 'assistant', content: prose });
  const body = new TextEncoder().encode(JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages }));
  const started = process.hrtime.bigint();
  const context = host.start(PATH, body);
  const used = process.hrtime.bigint() - started;
  for (const event of calls.events.slice(0, 1)) host.deliver(context, event, 0);
  host.deliver(context, calls.events.at(-1), 1);
  host.end(context);
  return used;
}

/** The time of the event with which a call is complete. */
function callEnd(host) {
  const context = host.start(PATH, REQUEST);
  const last = calls.events.length - 1;
  let used;
  calls.events.forEach((event, index) => {
    const started = process.hrtime.bigint();
    host.deliver(context, event, index === last ? 1 : 0);
    if (index === last - 1) used = process.hrtime.bigint() - started;
  });
  host.end(context);
  return used;
}
