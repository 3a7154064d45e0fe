// The activity page without a browser: which rows it holds, what waits, what a row says. `tests/page.rs` runs this.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Feed, clock, condition, decisionOf, entryOf, headOf, short, toggled, visible } from "../src/ui/feed.mjs";

const entry = (number, fields = {}) => ({ position: `1-${number}-0-0`, record: {}, event: { kind: "request", severity: "info", ...fields } });
const entries = (...numbers) => numbers.map((number) => entry(number));
const numbers = (rows) => rows.map((row) => row.entries.map((each) => Number(each.position.split("-")[1])));

test("the newest row comes first, whether it comes from the history or live", () => {
  const feed = new Feed(10, false);
  feed.older(entries(3, 2));
  feed.arrive(entries(4, 5));
  feed.older(entries(1, 0));
  assert.deepEqual(numbers(feed.rows).flat(), [5, 4, 3, 2, 1, 0]);
});

test("events of a call share a row, in their order, wherever they come from", () => {
  const feed = new Feed(10, true);
  feed.arrive([entry(10, { call_id: "a" }), entry(11, { call_id: "b" })]);
  const { added, changed } = feed.arrive([entry(12, { call_id: "a" }), entry(13)]);
  assert.deepEqual([numbers(added), numbers(changed)], [[[13]], [[10, 12]]]);
  feed.older([entry(9, { call_id: "b" }), entry(8, { call_id: "c" })]);
  assert.deepEqual(numbers(feed.rows), [[13], [9, 11], [10, 12], [8]]);
  feed.arrive([entry(12, { call_id: "a" })]);
  assert.deepEqual(numbers(feed.rows)[2], [10, 12], "what comes twice is there once");
});

test("fault 6: new rows push the oldest off the end, but none that is read", () => {
  const feed = new Feed(3, false);
  feed.older(entries(2, 1, 0));
  const read = feed.rows[2];
  const { removed } = feed.arrive(entries(3, 4), (row) => row === read);
  assert.deepEqual(numbers(removed).flat(), [1, 2]);
  assert.deepEqual(numbers(feed.rows).flat(), [4, 3, 0]);
});

test("fault 6: the list grows with the pages of the history", () => {
  const feed = new Feed(2, false);
  feed.older(entries(5, 4));
  feed.older(entries(3, 2));
  assert.deepEqual(numbers(feed.rows).flat(), [5, 4, 3, 2]);
});

test("a call with any number of events stays small: its first and its newest are held", () => {
  const feed = new Feed(10, true);
  for (let round = 0; round < 100; round += 1) {
    feed.arrive(Array.from({ length: 1000 }, (_, at) => entry(round * 1000 + at, { call_id: "c" })));
  }
  const [held] = numbers(feed.rows);
  assert.equal(held.length, 500);
  assert.deepEqual([held[0], held[99], held[100], held.at(-1)], [0, 99, 99_600, 99_999]);
  assert.equal(headOf(feed.rows[0]).severity, "info");
});

test("a pause keeps what arrives", () => {
  const feed = new Feed(3, false);
  feed.pause();
  feed.arrive(entries(1, 2));
  assert.deepEqual([feed.rows.length, feed.waiting], [0, 2]);
  feed.arrive(entries(3, 4));
  assert.equal(feed.waiting, 4, "what does not fit is counted");
  assert.deepEqual(numbers(feed.resume().added).flat(), [2, 3, 4]);
  assert.equal(feed.waiting, 0);
});

test("fault 18: an event is kept as it was sent", () => {
  const raw = '{"kind":"error","metadata":{"n":1.50,"big":12345678901234567890,"a":1,"a":2},"summary":"\\u202e \\",\\"event\\":{"}';
  const line = `{"position":"1-2-0-0","sender":"x\\",\\"event\\":y","sequence":1,"event":${raw}}`;
  assert.equal(entryOf(line).raw, raw);
});

test("fault 18: what is invisible or turns text round is named", () => {
  assert.deepEqual(visible("a\u202Eb\u0000"), [
    { hidden: false, text: "a" },
    { hidden: true, text: "U+202E" },
    { hidden: false, text: "b" },
    { hidden: true, text: "U+0000" },
  ]);
  assert.deepEqual(visible("plain ünï 漢 😀"), [{ hidden: false, text: "plain ünï 漢 😀" }]);
});

test("a row says the decision, what a policy did and how bad it is", () => {
  const row = {
    entries: [
      entry(1),
      entry(2, { kind: "policy_action", severity: "warning", event_type: "judge.blocked" }),
      entry(3, { kind: "response", event_type: "enforcement", metadata: { decision: "refuse" } }),
    ],
  };
  const { shown, decision, severity } = headOf(row);
  assert.deepEqual([shown.event_type, decision.label, severity], ["judge.blocked", "refuse", "warning"]);
});

test("a click adds a condition, and takes it away again", () => {
  assert.equal(condition("tool", "rm"), "tool:rm");
  assert.equal(condition("summary", 'say "x" y'), 'summary:"say \\"x\\" y"');
  assert.equal(toggled("a", "tool:rm"), "a tool:rm");
  assert.equal(toggled("a tool:rm b", "tool:rm"), "a b");
  assert.equal(toggled("a tool:rm", "-tool:rm"), "a -tool:rm");
});

test("the date is shown when it is not today's", () => {
  const noon = new Date(2026, 1, 3, 12, 0, 0, 7);
  assert.equal(clock(noon.getTime(), noon), "12:00:00.007");
  assert.equal(clock(noon.getTime(), new Date(2026, 1, 4)), "2026-02-03 12:00:00");
  assert.equal(clock(Number.NaN), "no time");
});

test("ids are shortened, decisions say whether they had an effect", () => {
  assert.equal(short("0123456789abcdef"), "01234567…");
  assert.equal(decisionOf({}), undefined);
  assert.deepEqual(decisionOf({ metadata: { decision: "refuse", enforced: false } }), { decision: "refuse", label: "would refuse", enforced: false });
});
