// Measures the built module in V8, without Envoy, beside a filter that only reads each chunk: the least of many rounds, in which
// all filters take turns. That repeats within a few per cent on a machine that does other things, too.
//
// usage: node benches/v8/run.mjs [--rounds 60] [--module FILE] [--reader FILE] [--only TEXT] [--json FILE]

import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { document, rules, term } from './chains.mjs';
import { Host } from './host.mjs';
import { PATH, REQUEST, calls, text } from './traffic.mjs';

const root = new URL('../../', import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '60' },
    module: { type: 'string', default: `${root}target/weir.wasm` },
    reader: { type: 'string', default: `${root}target/wasm32-wasip1/wasm/weir_bench_reader.wasm` },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
});
/** Until V8 has compiled for speed what is used. */
const WARM_UP = 10;
/** Events whose time is taken at once. */
const SLICE = 100;

/** What a chain may cost that looks at everything, in nanoseconds an event over the reading filter. */
const LOOKS_AT_EVERYTHING = { above: 700 };

/** What searching all texts for terms, patterns and values may cost, in nanoseconds an event over the reading filter. */
const SEARCHES = { above: 2500 };

const judge = [{ use: 'tool_call_judge', with: { judge: 'main', threshold: 0.6 } }];
const transform = (terms) => [{ use: 'content_transform', with: { replace: Array.from({ length: terms }, (_, number) => ({ find: term(number), with: '[internal]' })) } }];
const weir = readModule(options.module);
const reader = readModule(options.reader);
const cases = [
  { name: 'an empty callback', traffic: text, module: reader, configuration: 'noop' },
  { name: 'reads each chunk', traffic: text, module: reader, configuration: 'read' },
  { name: 'reads each chunk, calls', traffic: calls, module: reader, configuration: 'read' },
  { name: 'no_op', traffic: text, chain: [{ use: 'no_op' }], budget: { times: 1.03, of: 'an empty callback' } },
  { name: 'tool_call_judge, text', traffic: text, chain: judge, budget: LOOKS_AT_EVERYTHING },
  { name: 'tool_call_judge, calls', traffic: calls, chain: judge },
  { name: 'content_transform, 1 term', traffic: text, chain: transform(1), budget: LOOKS_AT_EVERYTHING },
  { name: 'content_transform, 100 terms', traffic: text, chain: transform(100), budget: LOOKS_AT_EVERYTHING },
  { name: 'content_transform, 1,000 terms', traffic: text, chain: transform(1000), budget: LOOKS_AT_EVERYTHING },
  { name: 'rules, 10 terms and detectors', traffic: text, chain: rules(10), budget: SEARCHES, holds: true },
  { name: 'rules, 1,000 terms and detectors', traffic: text, chain: rules(1000), budget: SEARCHES, holds: true },
  { name: 'rules, 10,000 terms and detectors', traffic: text, chain: rules(10_000), budget: SEARCHES, holds: true },
].filter(({ name, module }) => module || name.includes(options.only));

for (const one of cases) {
  one.host = new Host(one.module ?? weir, one.configuration ?? document(one.chain));
  verify(one);
  one.least = [];
  for (let round = 0; round < WARM_UP; round++) play(one);
  one.least = [];
}
for (let round = 0; round < Number(options.rounds); round++) {
  for (const one of cases) play(one);
}
report();

function readModule(file) {
  return new WebAssembly.Module(readFileSync(file));
}

/** Plays the answers once, and keeps the least time of each slice of an answer: what interrupts one rarely hits the same again. */
function play({ host, traffic, least }) {
  const { events, exchanges } = traffic;
  for (let exchange = 0; exchange < exchanges; exchange++) {
    const context = host.start(PATH, REQUEST);
    for (let begin = 0, slice = 0; begin < events.length; begin += SLICE, slice++) {
      const end = Math.min(begin + SLICE, events.length);
      const started = process.hrtime.bigint();
      for (let index = begin; index < end; index++) host.deliver(context, events[index], index === events.length - 1 ? 1 : 0);
      const used = Number(process.hrtime.bigint() - started);
      least[slice] = Math.min(least[slice] ?? Infinity, used);
    }
    host.end(context);
  }
}

/** Nanoseconds an event, of the response's body alone. */
function nanoseconds({ least, traffic }) {
  return least.reduce((sum, slice) => sum + slice, 0) / traffic.events.length;
}

/** Refuses a filter that does not do what is measured: what it leaves out costs nothing, and protects nobody. */
function verify({ name, host, traffic, module, chain, holds }) {
  host.keep = true;
  const context = host.start(PATH, REQUEST);
  const last = traffic.events.length - 1;
  traffic.events.forEach((event, index) => host.deliver(context, event, index === last ? 1 : 0));
  // What is held leaves in a later event: then the text is the same, and where it is cut is not.
  const said = holds ? textOf : (events) => Buffer.concat(events).toString();
  if (said(host.left) !== said(traffic.events)) throw new Error(`${name}: what left is not what came`);
  host.end(context);
  host.keep = false;
  host.left = [];
  if (module) return;
  if (host.counted('weir.decisions.allow') !== 1) throw new Error(`${name}: the exchange was not governed`);
  const judged = chain === judge && traffic.judged ? 1 : 0;
  if (host.callouts !== judged) throw new Error(`${name}: ${host.callouts} calls were judged, not ${judged}`);
}

/** The text that the events build. */
function textOf(events) {
  const data = Buffer.concat(events).toString().split('\n\n').filter((event) => event.startsWith('data: {'));
  return data.map((event) => JSON.parse(event.slice(6)).choices[0]?.delta.content ?? '').join('');
}

function report() {
  const leastOf = (name) => nanoseconds(cases.find((one) => one.name === name));
  const rows = cases.map((one) => {
    const { name, traffic, budget } = one;
    const least = nanoseconds(one);
    const read = leastOf(traffic === calls ? 'reads each chunk, calls' : 'reads each chunk');
    return { name, nanoseconds: least, above_reader: least - read, times_empty: least / leastOf('an empty callback'), ...judged(budget, least, read, leastOf) };
  });
  const cells = [
    ['in V8', 'ns/event', 'above reading', '× empty callback', 'budget', 'kept'],
    ...rows.map((row) => [
      row.name,
      row.nanoseconds.toFixed(0),
      row.above_reader.toFixed(0),
      row.times_empty.toFixed(2),
      row.budget ?? '–',
      row.kept === undefined ? '–' : row.kept ? 'yes' : 'NO',
    ]),
  ];
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  const line = (row) => `| ${row.map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[column]))).join(' | ')} |`;
  const ruler = `|${widths.map((width, column) => '-'.repeat(width + 1) + (column ? ':' : '-')).join('|')}|`;
  console.log([line(cells[0]), ruler, ...cells.slice(1).map(line)].join('\n'));
  if (options.json) writeFileSync(options.json, JSON.stringify(rows, null, 2));
}

function judged(budget, least, read, leastOf) {
  if (!budget) return {};
  if (budget.above) return { budget: `${budget.above} above reading`, kept: least - read <= budget.above };
  return { budget: `${budget.times} × ${budget.of}`, kept: least <= budget.times * leastOf(budget.of) };
}
