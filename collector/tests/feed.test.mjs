// The activity page without a browser: what it holds, what waits, what a filter shows. `tests/page.rs` runs this.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Feed, clock, decisionOf, entryOf, jsonPieces, matches, short, wordsOf } from "../src/ui/feed.mjs";

const entries = (...numbers) => numbers.map((number) => ({ position: `1-${number}` }));
const positions = (entries) => entries.map((entry) => Number(entry.position.slice(2)));
const event = (fields) => entryOf({ position: "1-0", sender: "vm-1", sequence: 0, event: { kind: "request", ...fields } });
const every = new Set(["policy_action", "request", "response", "error"]);

test("the newest event comes first, whether it comes from the history or live", () => {
  const feed = new Feed(10);
  feed.older(entries(3, 2));
  feed.arrive(entries(4, 5));
  feed.older(entries(1, 0));
  assert.deepEqual(positions(feed.entries), [5, 4, 3, 2, 1, 0]);
  assert.equal(feed.newest, "1-5");
});

test("the list is bounded: what is new pushes the oldest off its end", () => {
  const feed = new Feed(3);
  feed.older(entries(2, 1));
  const { added, removed } = feed.arrive(entries(3, 4));
  assert.deepEqual(positions(added), [3, 4]);
  assert.deepEqual(positions(removed), [1]);
  assert.deepEqual(positions(feed.entries), [4, 3, 2]);
});

test("the history fills the list up to its bound", () => {
  const feed = new Feed(3);
  feed.arrive(entries(9));
  assert.deepEqual(positions(feed.older(entries(8, 7, 6, 5))), [8, 7]);
  assert.ok(feed.full);
  assert.deepEqual(positions(feed.older(entries(4))), []);
});

test("a flood larger than the list leaves its newest events", () => {
  const feed = new Feed(3);
  assert.deepEqual(positions(feed.arrive(entries(1, 2, 3, 4, 5)).added), [3, 4, 5]);
  assert.deepEqual(positions(feed.entries), [5, 4, 3]);
});

test("a pause shows nothing, counts what arrives, and resumes in order", () => {
  const feed = new Feed(10);
  feed.arrive(entries(1));
  feed.pause();
  assert.deepEqual(feed.arrive(entries(2, 3)), { added: [], removed: [] });
  feed.arrive(entries(4));
  assert.equal(feed.waiting, 3);
  assert.deepEqual(positions(feed.entries), [1]);
  assert.equal(feed.newest, "1-4", "a stream that is opened again goes on after what waits");
  assert.deepEqual(positions(feed.resume().added), [2, 3, 4]);
  assert.deepEqual(positions(feed.entries), [4, 3, 2, 1]);
  assert.equal(feed.waiting, 0);
});

test("what waits is bounded as well, and still counted", () => {
  const feed = new Feed(2);
  feed.pause();
  feed.arrive(entries(1, 2, 3));
  feed.arrive(entries(4));
  assert.equal(feed.waiting, 4);
  assert.deepEqual(positions(feed.resume().added), [3, 4]);
});

test("the history of a page that was empty at first does not set the live stream back", () => {
  const feed = new Feed(10);
  feed.arrive(entries(7));
  feed.older(entries(6));
  assert.equal(feed.newest, "1-7");
});

test("a filter shows entries of the chosen kinds that contain every word", () => {
  const entry = event({ summary: "Tool call Get_Weather passed", metadata: { deep: [{ model: "gpt-4o" }] } });
  assert.ok(matches(entry, { kinds: every, words: wordsOf("  get_weather GPT-4o ") }));
  assert.ok(matches(entry, { kinds: every, words: [] }));
  assert.ok(!matches(entry, { kinds: every, words: wordsOf("get_weather claude") }));
  assert.ok(!matches(entry, { kinds: new Set(["error"]), words: [] }));
});

test("a filter looks at what events say, not at the names of their fields", () => {
  const entry = event({ metadata: { tool_calls: { blocked: 0 } } });
  assert.ok(!matches(entry, { kinds: every, words: ["blocked"] }));
});

test("times show the date only on another day, and wrong times do not break the page", () => {
  const today = new Date(2026, 4, 6, 18, 0);
  assert.equal(clock(new Date(2026, 4, 6, 7, 8, 9, 30).getTime(), today), "07:08:09.030");
  assert.equal(clock(new Date(2026, 4, 5, 7, 8, 9, 30).getTime(), today), "2026-05-05 07:08:09");
  assert.equal(clock(2 ** 53 - 1, today), "no time");
});

test("long ids are shortened, short ones are not", () => {
  assert.equal(short("0123456789abcdef"), "01234567…");
  assert.equal(short("call-1"), "call-1");
});

test("a decision without effect says what would have happened", () => {
  const decided = (metadata) => decisionOf({ metadata });
  assert.equal(decided({ decision: "refuse", effective_decision: "refuse", enforced: true }).label, "refuse");
  assert.equal(decided({ decision: "refuse", effective_decision: "allow", enforced: false }).label, "would refuse");
  assert.equal(decided({ decision: "allow", effective_decision: "allow", enforced: false }).label, "allow");
  assert.equal(decisionOf({}), undefined);
});

test("coloured JSON is the JSON", () => {
  const value = { "a\"b": ["x: \"1\", true", -1.5e30, null, { empty: {} }], markup: "</script><b>" };
  const pieces = jsonPieces(value);
  assert.equal(pieces.map((piece) => piece.text).join(""), JSON.stringify(value, null, 2));
  const of = (type) => pieces.filter((piece) => piece.type === type).map((piece) => piece.text);
  assert.deepEqual(of("key"), ['"a\\"b"', '"empty"', '"markup"']);
  assert.deepEqual(of("number"), ["-1.5e+30"]);
  assert.deepEqual(of("word"), ["null"]);
});
