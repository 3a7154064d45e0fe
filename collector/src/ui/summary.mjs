// Counters and the chart over the range.

import { condition } from "./feed.mjs";
import { element } from "./text.mjs";

const COLOURS = { allow: "--response", undecided: "--policy_action", rewrite: "--request", summary: "--request", escalate: "--policy_action", refuse: "--error" };

let chart;

/** Shows what the collector counted; `filter` is told of clicks. */
export function showSummary(counts, filter) {
  drawChart(counts);
  const counters = document.getElementById("counters");
  counters.textContent = "";
  const counter = (name, value) => {
    const pair = element("div");
    pair.append(element("dt", "", name), element("dd", "", value));
    counters.append(pair);
  };
  counter("events", counts.events.toLocaleString("en"));
  for (const [decision, columns] of Object.entries(counts.decisions)) {
    counter(decision, columns.reduce((sum, count) => sum + count, 0).toLocaleString("en"));
  }
  if (counts.judge_ms.count > 0) {
    counter("judge p50 / p90 / p99", `${counts.judge_ms.p50} / ${counts.judge_ms.p90} / ${counts.judge_ms.p99} ms`);
  }
  if (counts.counted_from > counts.from) counter("counted since", new Date(counts.counted_from).toLocaleString());

  const tops = document.getElementById("tops");
  tops.textContent = "";
  for (const [field, names] of Object.entries(counts.refusals_by)) {
    if (names.length === 0) continue;
    const list = element("ul");
    for (const { name, count } of names) {
      const button = element("button", "fact", name);
      button.type = "button";
      button.addEventListener("click", () => filter(condition(field, name)));
      const line = element("li");
      line.append(button, element("span", "count", count.toLocaleString("en")));
      list.append(line);
    }
    const group = element("section");
    group.append(element("h2", "", `refusals by ${field}`), list);
    tops.append(group);
  }
}

function drawChart(counts) {
  const place = document.getElementById("chart");
  const names = Object.keys(counts.decisions);
  place.hidden = names.length === 0;
  if (names.length === 0 || typeof uPlot === "undefined") return;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(COLOURS[name] ?? "--faint").trim();
  const resolved = (name) => {
    const probe = element("span");
    probe.style.color = colour(name) || "gray";
    place.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  };
  const columns = counts.decisions[names[0]].length;
  const times = Array.from({ length: columns }, (_, at) => (counts.from + at * counts.column_ms) / 1000);
  // Stacked: each series is drawn over the sum of those behind it.
  const stacked = names.map((_, at) => times.map((_, column) => names.slice(at).reduce((sum, name) => sum + counts.decisions[name][column], 0)));
  const axis = { stroke: getComputedStyle(place).color, grid: { show: false }, ticks: { show: false } };
  chart?.destroy();
  chart = new uPlot(
    {
      width: Math.max(280, place.clientWidth),
      height: 110,
      cursor: { show: false },
      legend: { show: false },
      scales: { y: { range: (_, _low, high) => [0, Math.max(1, high)] } },
      axes: [{ ...axis, values: (_, seconds) => seconds.map(timeLabel) }, { ...axis, size: 40 }],
      series: [{}, ...names.map((name) => ({ label: name, fill: resolved(name), stroke: resolved(name), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.8, 24] }) }))],
    },
    [times, ...stacked],
    place,
  );
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", `Decisions over time: ${names.join(", ")}`);
}

/** The time as the rows say it; the day where another one begins. */
function timeLabel(second, at, seconds) {
  const dayOf = (second) => new Date(second * 1000).toLocaleDateString("sv");
  const time = new Date(second * 1000).toLocaleTimeString("sv").slice(0, 5);
  return at === 0 || dayOf(second) !== dayOf(seconds[at - 1]) ? `${time}\n${dayOf(second)}` : time;
}
