// The activity page in a real browser. WEIR_TEST_COLLECTOR is the binary `weir`, WEIR_TEST_CHROMIUM the browser, and
// WEIR_TEST_SCREENSHOTS a folder where pictures for the docs go.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ATTACK = `</script><img src=x onerror="window.attacked=1">"'&<svg onload=window.attacked=1>\u202Etxt`;

let browser;
let collector;
let address;
let sequences = new Map();
let pages = [];

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.WEIR_TEST_CHROMIUM, args: ["--no-sandbox"] });
});

after(() => browser?.close());

afterEach(async () => {
  for (const page of pages.splice(0)) await page.context().close();
  collector?.kill();
});

async function start(...options) {
  sequences = new Map();
  collector = spawn(process.env.WEIR_TEST_COLLECTOR, ["collect", "--memory", "--listen", "127.0.0.1:0", ...options], { stdio: ["ignore", "ignore", "pipe"] });
  for await (const chunk of collector.stderr) {
    const found = /http:\/\/([\d.:]+)\//.exec(String(chunk));
    if (found) {
      address = `http://${found[1]}`;
      collector.stderr.resume();
      return;
    }
  }
}

function event(fields = {}) {
  return { id: "e", kind: "policy_action", time_ms: Date.now(), event_type: "judge.blocked", severity: "warning", summary: "tool call rm blocked", policy_class: "ToolCallJudge", ...fields };
}

/** What a filter tells of one call. */
function call(id, decision = "refuse", more = {}) {
  const at = Date.now();
  const tool = { time_ms: at - 180, metadata: { tool: "rm", ...more } };
  const actions = decision === "allow" ? [] : [event({ call_id: id, ...tool })];
  const metadata = { decision, effective_decision: decision, enforced: true, reason_code: "TOOL_CALL_BLOCKED", model: "gpt-5", policy_user: "ann", judge_questions: 1, judge_latency_ms: 210 };
  return [
    event({ call_id: id, kind: "request", event_type: "request.received", time_ms: at - 412, severity: "info", summary: "a request", policy_class: undefined, policy_target: "chat.completions" }),
    ...actions,
    event({ call_id: id, kind: "response", event_type: "enforcement", severity: "info", summary: `decided: ${decision}`, policy_class: undefined, policy_target: "chat.completions", metadata }),
  ];
}

async function send(events, sender = "vm-1", token = undefined) {
  const sequence = sequences.get(sender) ?? 0;
  sequences.set(sender, sequence + events.length);
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(`${address}/v1/events`, { method: "POST", headers, body: JSON.stringify({ sender, sequence, dropped: 0, events }) });
  assert.equal(response.status, 202, await response.text());
}

async function open(path = "/ui/activity/live", options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  const page = await context.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && page.errors.push(message.text()));
  await page.goto(address + path);
  pages.push(page);
  return page;
}

const rows = (page) => page.locator("#events > li");

async function violations(page) {
  // Evaluated by the debugger, which the page's policy does not bind.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] });
    return violations.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
  });
  return found;
}

async function picture(page, name) {
  if (process.env.WEIR_TEST_SCREENSHOTS) await page.screenshot({ path: join(process.env.WEIR_TEST_SCREENSHOTS, `${name}.png`) });
}

test("a call is a row with its verdict and opens to its timeline, and events appear while it is read", async () => {
  await start();
  await send([...call("call-1"), ...call("call-2", "allow")]);
  const page = await open();
  await rows(page).nth(1).waitFor();
  assert.equal(await rows(page).count(), 2);
  const blocked = rows(page).filter({ hasText: "call-1" });
  assert.match(await blocked.locator("> details > summary").innerText(), /policy action[\s\S]*refuse[\s\S]*ToolCallJudge judge\.blocked/);
  const orange = await blocked.locator("> details > summary .badge").evaluate((badge) => getComputedStyle(badge).backgroundColor);
  const [red, green, blue] = orange.match(/\d+/g).map(Number);
  assert.ok(red > 150 && green < red * 0.75 && blue < green, orange);
  await blocked.locator("> details > summary").click();
  await blocked.locator(".timeline > li").nth(2).waitFor();
  assert.deepEqual(await blocked.locator(".timeline .step").allInnerTexts(), ["request.received", "judge.blocked", "enforcement"]);
  await blocked.locator(".timeline > li").nth(1).locator("summary").click();
  const started = Date.now();
  await send(call("call-3"));
  await rows(page).filter({ hasText: "call-3" }).waitFor({ timeout: 5000 });
  assert.ok(Date.now() - started < 1500, `a new row after ${Date.now() - started} ms`);
  assert.ok(await blocked.locator("> details").evaluate((details) => details.open), "what is read stays open");
  await page.locator("#chart canvas").waitFor();
  await picture(page, "activity");
  assert.deepEqual(page.errors, []);
});

test("what policies changed is shown before and after, where the document lets it be shown", async () => {
  await start();
  const changes = [
    { kind: "tool_call", tool: "rm", choice: 0, before: { bytes: 20, hash: "0123", text: '{"path":"[path]/data"}' }, after: null },
    { kind: "text", choice: 0, before: { bytes: 9, hash: "4567" }, after: { bytes: 6, hash: "89ab", text: "\u202E[city]", cut: true } },
    { left_out: 3 },
  ];
  const events = call("call-1");
  events.at(-1).metadata.changes = changes;
  await send(events);
  const page = await open();
  await rows(page).first().locator("> details > summary").click();
  await page.locator(".changes .change").nth(1).waitFor();
  const shown = await page.locator(".changes").innerText();
  assert.match(shown, /tool call rm/);
  assert.match(shown, /before: 20 bytes · hash 0123\s+\{"path":"\[path\]\/data"\}\s+after: nothing left/);
  assert.match(shown, /after: 6 bytes, of which the beginning is shown · hash 89ab\s+U\+202E\[city\]/);
  assert.match(shown, /and 3 more/);
  await picture(page, "activity-evidence");
  assert.deepEqual(page.errors, []);
});

test("fault 18: markup in every field stays text, and what is sent is shown as it was sent", async () => {
  await start();
  const fields = Object.fromEntries(["id", "event_type", "summary", "call_id", "policy_target", "policy_class"].map((name) => [name, ATTACK]));
  const names = ["decision", "effective_decision", "reason_code", "model", "policy_user", "tool"];
  const metadata = Object.fromEntries([...names, ATTACK].map((name) => [name, ATTACK]));
  const side = { bytes: ATTACK, hash: ATTACK, text: ATTACK };
  metadata.changes = [{ kind: ATTACK, tool: ATTACK, tool_after: ATTACK, before: side, after: side }, { left_out: ATTACK }, null, 7, { before: 3 }];
  await send([event({ ...fields, metadata }), event({ ...fields, kind: "response", event_type: "enforcement", metadata })], ATTACK);
  for (const view of ["calls", "events"]) {
    const page = await open(`/ui/activity/live?view=${view}`);
    await rows(page).first().locator("> details > summary").click();
    if (view === "calls") await page.locator(".timeline summary").first().click();
    const shown = page.locator("pre").first();
    await shown.waitFor();
    assert.match(await shown.innerText(), /onerror/);
    assert.ok((await page.locator(".hidden-character").count()) > 0 || view === "calls", "bidi controls are named");
    assert.ok(!(await page.locator("body").innerText()).includes("\u202E"));
    await page.locator("#tops .fact").first().waitFor();
    await sleep(200);
    assert.equal(await page.evaluate(() => window.attacked), undefined);
    assert.equal(await page.locator("main img, main svg, main script").count(), 0);
  }
});

test("fault 6: the whole history is searched, page by page, and the address says what is shown", async () => {
  await start();
  await send([event({ summary: "the first of all" })]);
  for (let round = 0; round < 5; round += 1) await send(Array.from({ length: 1000 }, (_, number) => event({ summary: `event ${round} ${number}` })));
  const page = await open("/ui/activity/live?view=events");
  await rows(page).nth(99).waitFor();
  await page.locator("#older").click();
  await rows(page).nth(199).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type('"first of all" -kind:error');
  await page.waitForFunction(() => document.querySelectorAll("#events > li").length === 1);
  assert.match(await rows(page).innerText(), /the first of all/);
  await rows(page).locator("summary").click();
  await page.waitForFunction(() => location.search.includes("at="));
  const again = await open(page.url().slice(address.length));
  await again.locator("#events pre").waitFor();
  assert.equal(await again.locator("#text").inputValue(), '"first of all" -kind:error');
  await again.locator("#text").fill("toll:rm");
  await again.locator("#problem:not(:empty)").waitFor();
  assert.match(await again.locator("#problem").innerText(), /there is no field `toll`/);
});

test("fault 17: the date of another day does not run into what stands beside it", async () => {
  await start();
  await send([event({ time_ms: 1_500_000_000_000 })]);
  for (const width of [1200, 420]) {
    const page = await open("/ui/activity/live?view=events", { viewport: { width, height: 800 } });
    await rows(page).first().waitFor();
    const [time, badge] = [await page.locator(".time").boundingBox(), await page.locator("#events .badge").boundingBox()];
    const apart = time.x + time.width <= badge.x || badge.x + badge.width <= time.x || time.y >= badge.y + badge.height;
    assert.ok(apart, `${JSON.stringify(time)} and ${JSON.stringify(badge)} at ${width}`);
    const text = await page.locator(".time").evaluate((node) => [node.scrollWidth, node.clientWidth]);
    assert.ok(text[0] <= text[1] + 1, `the date has ${text[1]} of ${text[0]} pixels`);
  }
});

test("keys move, open, search and pause, and a pause keeps what arrives", async () => {
  await start();
  await send([...call("call-1"), ...call("call-2"), ...call("call-3")]);
  const page = await open();
  await rows(page).nth(2).waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  assert.ok(await rows(page).nth(1).locator("> details").evaluate((details) => details.open));
  await page.keyboard.press("p");
  await send(call("call-4"));
  await page.locator("#waiting").filter({ hasText: "3 new events" }).waitFor();
  assert.equal(await rows(page).count(), 3);
  await page.keyboard.press("p");
  await rows(page).nth(3).waitFor();
  assert.ok(await rows(page).nth(2).locator("> details").evaluate((details) => details.open), "the opened row is the same");
  await rows(page).nth(2).locator(".timeline > li summary").nth(1).click();
  await page.getByRole("button", { name: "rm", exact: true }).first().click();
  await page.waitForFunction(() => document.getElementById("text").value === "tool:rm");
});

test("pages are accessible in light and dark, wide and at 420 pixels", async () => {
  await start();
  await send([...call("call-1"), ...call("call-2", "allow"), event({ kind: "error", severity: "error", event_type: "judge.failed" })]);
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1200, 420]) {
      const page = await open("/ui/activity/live", { colorScheme, viewport: { width, height: 900 }, reducedMotion: "reduce", bypassCSP: true });
      await rows(page).nth(2).waitFor();
      await rows(page).filter({ hasText: "call-1" }).locator("> details > summary").click();
      await page.locator(".timeline summary").nth(1).click();
      await page.locator("pre").waitFor();
      await page.locator("#tops .fact").first().waitFor();
      assert.deepEqual(await violations(page), [], `${colorScheme} ${width}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `the page is ${wide} wide at ${width}`);
      if (colorScheme === "dark" && width === 420) await picture(page, "activity-dark-420");
    }
  }
});

test("people sign in and out, and the sign-in page is accessible", async () => {
  const token = "0123456789abcdef-browser";
  await start("--token", token);
  await send(call("call-1"), "vm-1", token);
  const page = await open("/ui/activity/live?q=kind:policy_action", { bypassCSP: true });
  assert.match(page.url(), /\/ui\/sign-in/);
  assert.deepEqual(await violations(page), []);
  await page.locator("#token").fill("wrong-wrong-wrong-wrong");
  await page.keyboard.press("Enter");
  await page.getByText("does not open the page").waitFor();
  await page.locator("#token").fill(token);
  await page.keyboard.press("Enter");
  await rows(page).first().waitFor();
  assert.match(page.url(), /q=kind/);
  await page.locator("#senders").filter({ hasText: "refused" }).waitFor();
  await page.locator("#sign-out button").click();
  await page.waitForURL(/sign-in/);
  await page.goto(`${address}/ui/activity/live`);
  assert.match(page.url(), /sign-in/);
});

test("fault 12: six tabs of one browser all live, and a seventh request is answered", async () => {
  await start();
  const first = await open();
  const context = first.context();
  const tabs = [first];
  for (let number = 0; number < 6; number += 1) {
    const page = await context.newPage();
    await page.goto(`${address}/ui/activity/live`);
    tabs.push(page);
  }
  await send(call("call-9"));
  for (const page of tabs) await rows(page).filter({ hasText: "call-9" }).waitFor({ timeout: 8000 });
});

test("500 events a second leave the main thread more than half of its time", async () => {
  await start();
  const page = await open();
  await page.locator("#connection[data-state=live]").waitFor();
  const client = await page.context().newCDPSession(page);
  // In time of the processor: a busy machine says nothing about the page.
  await client.send("Performance.enable", { timeDomain: "threadTicks" });
  const measure = async () => {
    const { metrics } = await client.send("Performance.getMetrics");
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  };
  const before = await measure();
  const started = Date.now();
  let number = 0;
  while (Date.now() - started < 6000) {
    await send(Array.from({ length: 17 }, () => call(`load-${(number += 1)}`, "refuse")).flat().slice(0, 50));
    await sleep(Math.max(0, started + (number / 17) * 100 - Date.now()));
  }
  const now = await measure();
  const share = (now.TaskDuration - before.TaskDuration) / ((Date.now() - started) / 1000);
  console.log(`main thread at 500 events/s: ${(share * 100).toFixed(0)} %`);
  assert.ok(share < 0.5, `${(share * 100).toFixed(0)} % of the main thread`);
  assert.ok((await rows(page).count()) > 100);
});
