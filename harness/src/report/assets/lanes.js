// What each lane shows. A chart `c` has the numbers (`data`), what is looked at (`state`) and its geometry (`view`).

const LANE_TITLES = { latency: "Response time", rate: "Requests", held: "Objective", instances: "Instances", breakers: "Breakers", host: "Host CPU" };
const STATE_ROW = 18;

/** The lanes there are numbers for, from top to bottom. */
function lanesOf(data) {
  const all = [];
  if (data.loads.some((load) => load.ok.length)) {
    all.push({ id: "latency", height: 190, show: showLatency });
    all.push({ id: "rate", height: 84, show: showRate });
    all.push({ id: "held", height: 14, show: showHeld });
  }
  const states = (kind) => data.lanes.filter((lane) => lane.kind === kind);
  for (const [id, list] of [["instances", states("instance")], ["breakers", states("breaker")]]) {
    if (list.length) all.push({ id, height: list.length * STATE_ROW, show: (c, group, top) => showStates(c, group, top, list) });
  }
  if (data.host.length) all.push({ id: "host", height: 44, show: showHost });
  return all;
}

/** A line across the plot with its value on the left. */
function gridLine(c, group, y, label, width) {
  const { left, right } = c.view;
  draw(group, "line", { x1: left, x2: c.view.width - right, y1: y, y2: y, stroke: css("--line"), "stroke-width": width });
  if (label) draw(group, "text", { x: left - 6, y: y + 4, "text-anchor": "end" }, label);
}

/** A line through the values of buckets, with gaps where there are none. */
function curve(c, group, values, y, attributes) {
  const { first, last } = bucketsOf(c.data, c.state.from, c.state.to);
  let path = "";
  let open = false;
  for (let i = first; i < last; i++) {
    const value = values[i];
    if (value === null || value === undefined) {
      open = false;
      continue;
    }
    path += (open ? "L" : "M") + c.view.x((i + 0.5) * c.data.step).toFixed(1) + " " + y(value).toFixed(1);
    open = true;
  }
  const usual = { d: path, fill: "none", "clip-path": "url(#plot)", "stroke-linejoin": "round", "stroke-linecap": "round" };
  if (path) draw(group, "path", Object.assign(usual, attributes));
}

function showLatency(c, group, top, height) {
  const load = c.data.loads[c.state.load];
  if (!load) return;
  const { first, last } = bucketsOf(c.data, c.state.from, c.state.to);
  const lines = [["p99", load.p99, css("--red"), "none"], ["p95", load.p95, css("--orange"), "6 3"], ["p50", load.p50, css("--blue"), "2 3"]];
  const range = logRange(lines.flatMap(([, values]) => values.slice(first, last)));
  if (range === null) {
    draw(group, "text", { x: c.view.left + 8, y: top + 20 }, "no request in this stretch");
    return;
  }
  const y = (v) => top + height - ((Math.log10(Math.max(v, 1e-3)) - range.from) / (range.to - range.from)) * height;
  for (const { value, whole } of logTicks(range)) {
    const label = value >= 1000 ? value / 1000 + " s" : value >= 1 ? value + " ms" : +(value * 1000).toPrecision(3) + " µs";
    gridLine(c, group, y(value), label, whole ? 1 : 0.5);
  }
  const ends = [];
  for (const [name, values, colour, dash] of lines) {
    curve(c, group, values, y, { stroke: colour, "stroke-width": 2, "stroke-dasharray": dash });
    let i = last - 1;
    while (i >= first && (values[i] === null || values[i] === undefined)) i--;
    if (i < first) continue;
    let at = y(values[i]) + 4;
    for (const used of ends) if (Math.abs(used - at) < 12) at = used + 12;
    ends.push(at);
    const x = Math.min(c.view.x((i + 0.5) * c.data.step) + 6, c.view.width - c.view.right + 4);
    draw(group, "text", { x, y: at, class: "strong", style: "fill:" + colour }, name);
  }
}

function showRate(c, group, top, height) {
  const load = c.data.loads[c.state.load];
  if (!load) return;
  const { first, last } = bucketsOf(c.data, c.state.from, c.state.to);
  const step = c.data.step;
  let high = 0;
  for (let i = first; i < last; i++) high = Math.max(high, (load.ok[i] + load.bad[i]) / step);
  if (high === 0) return;
  const { tick, most } = rateTicks(high);
  const y = (v) => top + height - (v / most) * height;
  for (let v = 0; v <= most; v += tick) gridLine(c, group, y(v), +v.toPrecision(6) + "/s", 1);
  const bars = draw(group, "g", { "clip-path": "url(#plot)" });
  const wide = Math.max(0.5, c.view.x(step) - c.view.x(0)).toFixed(1);
  const box = (i, low, up) => "M" + c.view.x(i * step).toFixed(1) + " " + y(low).toFixed(1) + "V" + y(up).toFixed(1) + "h" + wide + "V" + y(low).toFixed(1) + "z";
  let ok = "";
  let bad = "";
  for (let i = first; i < last; i++) {
    const good = load.ok[i] / step;
    if (good > 0) ok += box(i, 0, good);
    if (load.bad[i] > 0) bad += box(i, good, good + load.bad[i] / step);
  }
  if (ok) draw(bars, "path", { d: ok, fill: css("--green-fill"), "fill-opacity": 0.42 });
  if (bad) {
    draw(bars, "path", { d: bad, fill: css("--red-fill") });
    draw(bars, "path", { d: bad, fill: "url(#hatch-bad)" });
  }
}

function showHeld(c, group, top, height) {
  const cells = draw(group, "g", { "clip-path": "url(#plot)" });
  const wide = c.view.x(c.data.step) - c.view.x(0);
  const space = wide > 5 ? 1 : 0;
  c.data.held.forEach((value, i) => {
    const at = c.view.x(i * c.data.step);
    if (at + wide < c.view.left || at > c.view.width - c.view.right) return;
    const cell = { x: at, y: top, width: Math.max(0.4, wide - space), height };
    const look = value === 0 ? { fill: "none", stroke: css("--line") } : { fill: css(value === 1 ? "--green-fill" : "--red-fill") };
    draw(cells, "rect", Object.assign(cell, look));
    if (value === 2 && wide > 4) {
      const cross = "M" + (at + 1) + " " + (top + 2) + "l" + (wide - 3) + " " + (height - 4) + "m0 " + (4 - height) + "l" + (3 - wide) + " " + (height - 4);
      draw(cells, "path", { d: cross, stroke: "#fff", "stroke-width": 1.4 });
    }
  });
}

function showStates(c, group, top, list) {
  const fills = { good: [css("--green-fill"), 0.38], middle: [css("--orange-fill"), 0.8], bad: [css("--red-fill"), 0.85] };
  const most = c.view.narrow ? 9 : 15;
  list.forEach((lane, index) => {
    const y = top + index * STATE_ROW;
    const short = lane.name.length > most ? "…" + lane.name.slice(1 - most) : lane.name;
    const name = draw(group, "text", { x: c.view.left - 6, y: y + 11, "text-anchor": "end" }, short);
    draw(name, "title", {}, lane.name);
    const row = draw(group, "g", { "clip-path": "url(#plot)" });
    for (const span of lane.spans) showSpan(c, row, y, lane, span, fills);
  });
}

function showSpan(c, row, y, lane, [from, to, word, why], fills) {
  if (to < c.state.from || from > c.state.to) return;
  const { left, right, width, x } = c.view;
  const at = x(from);
  const wide = Math.max(1.5, x(to) - at);
  const kind = shade(word);
  const [fill, opacity] = fills[kind];
  const place = { x: at, y, width: wide, height: 14, rx: 2 };
  const box = draw(row, "rect", Object.assign({ fill, "fill-opacity": opacity }, place));
  const span = c.data.to - c.data.from;
  draw(box, "title", {}, lane.name + ": " + word + (why ? " (" + why + ")" : "") + ", " + clock(from, span) + " to " + clock(to, span));
  if (kind === "bad") draw(row, "rect", Object.assign({ fill: "url(#hatch-bad)" }, place));
  const start = Math.max(at, left);
  const room = Math.min(at + wide, width - right) - start;
  if (room > word.length * 6.3 + 8) {
    const look = kind === "good" ? { style: "fill:" + css("--ink") } : { class: "in" };
    draw(row, "text", Object.assign({ x: start + 4, y: y + 11, "pointer-events": "none" }, look), word);
  }
}

function showHost(c, group, top, height) {
  const y = (v) => top + height - Math.min(1, v) * height;
  for (const v of [0, 0.5, 1]) gridLine(c, group, y(v), v === 0.5 ? "" : v * 100 + " %", 0.7);
  const inside = c.data.host.filter(([t]) => t >= c.state.from - 5 && t <= c.state.to + 5);
  if (!inside.length) return;
  const path = inside.map(([t, v], i) => (i ? "L" : "M") + c.view.x(t).toFixed(1) + " " + y(v).toFixed(1)).join("");
  const ends = "L" + c.view.x(inside[inside.length - 1][0]).toFixed(1) + " " + y(0) + "L" + c.view.x(inside[0][0]).toFixed(1) + " " + y(0) + "z";
  draw(group, "path", { d: path + ends, fill: css("--blue"), "fill-opacity": 0.12, "clip-path": "url(#plot)" });
  draw(group, "path", { d: path, fill: "none", stroke: css("--blue"), "stroke-width": 1.4, "clip-path": "url(#plot)" });
}
