// Draws the chart from the numbers in the page. No library, no network.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const figure = document.getElementById("chart");
  const readout = document.getElementById("readout");
  const controls = document.getElementById("controls");
  if (!data || !figure || data.to <= data.from) return;

  const NS = "http://www.w3.org/2000/svg";
  const state = { from: data.from, to: data.to, load: busiest(), folded: new Set(), cursor: null };
  let view = null; // geometry of the last drawing

  function busiest() {
    let best = 0, most = -1;
    data.loads.forEach((load, i) => {
      const n = load.ok.reduce((a, b) => a + b, 0) + load.bad.reduce((a, b) => a + b, 0);
      if (n > most) { most = n; best = i; }
    });
    return best;
  }
  function css(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
  function node(parent, tag, attributes, text) {
    const made = document.createElementNS(NS, tag);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  }
  function ms(value) {
    if (value === null || value === undefined) return "-";
    if (value >= 1000) return (value / 1000).toPrecision(3) + " s";
    if (value >= 1) return value.toPrecision(3) + " ms";
    return (value * 1000).toFixed(0) + " µs";
  }
  function clock(t) {
    const sign = t < 0 ? "-" : "", s = Math.abs(t);
    if (data.to - data.from < 180) return sign + (Number.isInteger(s) ? s : s.toFixed(1)) + " s";
    const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60, r = Math.floor(s % 60), two = (n) => String(n).padStart(2, "0");
    return sign + (h ? h + ":" + two(m) : m) + ":" + two(r);
  }
  function niceStep(span, wanted) {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
    return steps.find((step) => span / step <= wanted) || 28800;
  }
  const GOOD = ["passing", "closed", "ready"], MIDDLE = ["starting", "half-open", "warning", "draining"];
  function shade(word) { return GOOD.includes(word) ? "good" : MIDDLE.includes(word) ? "middle" : "bad"; }

  function lanes() {
    const all = [];
    if (data.loads.some((load) => load.ok.length)) {
      all.push({ id: "latency", height: 190, draw: drawLatency });
      all.push({ id: "rate", height: 84, draw: drawRate });
      all.push({ id: "held", height: 14, draw: drawHeld });
    }
    const instances = data.lanes.filter((l) => l.kind === "instance"), breakers = data.lanes.filter((l) => l.kind === "breaker");
    if (instances.length) all.push({ id: "instances", height: instances.length * 18, draw: (g, y) => drawStates(g, y, instances, "") });
    if (breakers.length) all.push({ id: "breakers", height: breakers.length * 18, draw: (g, y) => drawStates(g, y, breakers, "⏻ ") });
    if (data.host.length) all.push({ id: "host", height: 44, draw: drawHost });
    return all;
  }
  const titled = { latency: "Response time", rate: "Requests", held: "Objective", instances: "Instances", breakers: "Breakers", host: "Host CPU" };

  function draw() {
    const width = Math.max(320, figure.clientWidth), narrow = width < 560;
    const left = narrow ? 66 : 104, right = narrow ? 34 : 46, top = 30, gap = 10, head = 22;
    const plotWidth = width - left - right;
    const x = (t) => left + ((t - state.from) / (state.to - state.from)) * plotWidth;
    const time = (px) => state.from + ((px - left) / plotWidth) * (state.to - state.from);
    const list = lanes();
    let y = top;
    for (const lane of list) {
      lane.y = y + head;
      y = lane.y + (state.folded.has(lane.id) ? 0 : lane.height) + gap;
    }
    const bottom = y - gap + 6, height = bottom + 24;
    const svg = document.createElementNS(NS, "svg");
    svg.setAttribute("viewBox", "0 0 " + width + " " + height);
    svg.setAttribute("aria-hidden", "true");
    view = { width, height, left, right, top, bottom, x, time, plotWidth, narrow };

    const defs = node(svg, "defs", {});
    hatch(defs, "hatch", css("--red-fill"), 7, 1.4, 0.5);
    hatch(defs, "hatch-bad", "#16191d", 5, 1.2, 0.35);
    const clip = node(defs, "clipPath", { id: "plot" });
    node(clip, "rect", { x: left, y: 0, width: plotWidth, height });

    const back = node(svg, "g", { "clip-path": "url(#plot)" });
    if (data.steady) node(back, "rect", { x: x(data.steady[0]), y: top - 14, width: Math.max(1, x(data.steady[1]) - x(data.steady[0])), height: bottom - top + 14, fill: css("--tint") });
    for (const fault of data.faults) {
      const at = x(fault.from), wide = Math.max(2, x(fault.to) - at);
      node(back, "rect", { x: at, y: top - 14, width: wide, height: bottom - top + 14, fill: css("--red-fill"), "fill-opacity": 0.09 });
      node(back, "rect", { x: at, y: top - 14, width: wide, height: bottom - top + 14, fill: "url(#hatch)", "fill-opacity": 0.35 });
      node(back, "path", { d: "M" + at + " " + (top - 14) + "V" + bottom + "M" + (at + wide) + " " + (top - 14) + "V" + bottom, stroke: css("--red"), "stroke-opacity": 0.55 });
    }
    labels(svg);
    axis(svg);
    for (const lane of list) {
      const folded = state.folded.has(lane.id);
      const name = node(svg, "text", { x: 8, y: lane.y - 9, class: "fold strong", "data-lane": lane.id }, (folded ? "▸ " : "▾ ") + titled[lane.id] + (lane.id === "latency" && data.loads.length > 1 ? ": " + data.loads[state.load].name : ""));
      name.addEventListener("click", () => toggle(lane.id));
      if (!folded) {
        const group = node(svg, "g", {});
        lane.draw(group, lane.y, lane.height);
      }
    }
    const cursor = node(svg, "g", { id: "cursor" });
    figure.querySelectorAll("svg").forEach((old) => old.remove());
    figure.appendChild(svg);
    view.cursor = cursor;
    showCursor();
  }
  function hatch(defs, id, colour, size, stroke, opacity) {
    const pattern = node(defs, "pattern", { id, width: size, height: size, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    node(pattern, "line", { x1: 0, y1: 0, x2: 0, y2: size, stroke: colour, "stroke-width": stroke, "stroke-opacity": opacity });
  }
  // Names of bands, each moved to a free row when they would overlap.
  function labels(svg) {
    const bands = data.faults.map((f) => ({ at: f.from, to: f.to, text: f.name, colour: css("--red") }));
    if (data.steady) bands.unshift({ at: data.steady[0], to: data.steady[1], text: "steady", colour: css("--soft") });
    const ends = [-1e9, -1e9];
    bands.sort((a, b) => a.at - b.at);
    for (const band of bands) {
      if (band.to < state.from || band.at > state.to) continue;
      const at = Math.max(view.left, view.x(band.at)) + 3, wide = band.text.length * 6.6 + 8;
      const row = at >= ends[0] ? 0 : at >= ends[1] ? 1 : 2;
      if (row === 2 || at + wide > view.width) continue;
      ends[row] = at + wide;
      node(svg, "text", { x: at, y: view.top - 3 - row * 12, class: "strong", style: "fill:" + band.colour }, band.text);
    }
  }
  function axis(svg) {
    const step = niceStep(state.to - state.from, view.narrow ? 4 : 11);
    for (let t = Math.ceil(state.from / step) * step; t <= state.to + 1e-9; t += step) {
      const shown = Math.round(t * 10) / 10;
      node(svg, "line", { x1: view.x(t), x2: view.x(t), y1: view.bottom, y2: view.bottom + 4, stroke: css("--soft") });
      node(svg, "text", { x: view.x(t), y: view.bottom + 17, "text-anchor": "middle" }, clock(shown));
    }
    node(svg, "line", { x1: view.left, x2: view.width - view.right, y1: view.bottom, y2: view.bottom, stroke: css("--line") });
  }
  function buckets() {
    const n = data.loads.length ? data.loads[0].ok.length : 0;
    const first = Math.max(0, Math.floor(state.from / data.step) - 1), last = Math.min(n, Math.ceil(state.to / data.step) + 1);
    return { first, last };
  }
  function line(group, values, y, attributes) {
    const { first, last } = buckets();
    let path = "", open = false;
    for (let i = first; i < last; i++) {
      const value = values[i];
      if (value === null || value === undefined) { open = false; continue; }
      path += (open ? "L" : "M") + view.x((i + 0.5) * data.step).toFixed(1) + " " + y(value).toFixed(1);
      open = true;
    }
    if (path) node(group, "path", Object.assign({ d: path, fill: "none", "clip-path": "url(#plot)", "stroke-linejoin": "round", "stroke-linecap": "round" }, attributes));
  }
  function drawLatency(group, top, height) {
    const load = data.loads[state.load];
    if (!load) return;
    const { first, last } = buckets();
    let low = Infinity, high = 0;
    for (const series of [load.p50, load.p95, load.p99]) for (let i = first; i < last; i++) {
      const v = series[i];
      if (v > 0) { low = Math.min(low, v); high = Math.max(high, v); }
    }
    if (high === 0) { node(group, "text", { x: view.left + 8, y: top + 20 }, "no request in this stretch"); return; }
    const from = Math.floor(Math.log10(low) * 2 - 0.2) / 2, to = Math.max(from + 1, Math.ceil(Math.log10(high) * 2 + 0.2) / 2);
    const y = (v) => top + height - ((Math.log10(Math.max(v, 1e-3)) - from) / (to - from)) * height;
    for (let power = Math.floor(from) - 1; power <= to; power++) for (const m of to - from <= 2 ? [1, 2, 5] : [1]) {
      const v = m * Math.pow(10, power);
      if (Math.log10(v) < from - 1e-9 || Math.log10(v) > to + 1e-9) continue;
      node(group, "line", { x1: view.left, x2: view.width - view.right, y1: y(v), y2: y(v), stroke: css("--line"), "stroke-width": m === 1 ? 1 : 0.5 });
      node(group, "text", { x: view.left - 6, y: y(v) + 4, "text-anchor": "end" }, v >= 1000 ? v / 1000 + " s" : v >= 1 ? v + " ms" : v * 1000 + " µs");
    }
    const lines = [["p99", load.p99, css("--red"), "none"], ["p95", load.p95, css("--orange"), "6 3"], ["p50", load.p50, css("--blue"), "2 3"]];
    const ends = [];
    for (const [name, values, colour, dash] of lines) {
      line(group, values, y, { stroke: colour, "stroke-width": 2, "stroke-dasharray": dash });
      for (let i = last - 1; i >= first; i--) if (values[i] !== null && values[i] !== undefined) {
        let at = y(values[i]) + 4;
        for (const used of ends) if (Math.abs(used - at) < 12) at = used + 12;
        ends.push(at);
        const px = Math.min(view.x((i + 0.5) * data.step) + 6, view.width - view.right + 4);
        node(group, "text", { x: px, y: at, class: "strong", style: "fill:" + colour }, name);
        break;
      }
    }
  }
  function drawRate(group, top, height) {
    const load = data.loads[state.load];
    if (!load) return;
    const { first, last } = buckets();
    let high = 0;
    for (let i = first; i < last; i++) high = Math.max(high, (load.ok[i] + load.bad[i]) / data.step);
    if (high === 0) return;
    const raw = high / 2, magnitude = Math.pow(10, Math.floor(Math.log10(raw))), tick = [1, 2, 5, 10].map((m) => m * magnitude).find((v) => v >= raw * 0.75);
    const most = Math.max(high, tick * 2), y = (v) => top + height - (v / most) * height;
    for (let v = 0; v <= most; v += tick) {
      node(group, "line", { x1: view.left, x2: view.width - view.right, y1: y(v), y2: y(v), stroke: css("--line") });
      node(group, "text", { x: view.left - 6, y: y(v) + 4, "text-anchor": "end" }, +v.toPrecision(6) + "/s");
    }
    const bars = node(group, "g", { "clip-path": "url(#plot)" }), wide = Math.max(0.5, view.x(data.step) - view.x(0));
    let ok = "", bad = "";
    for (let i = first; i < last; i++) {
      const at = view.x(i * data.step), good = load.ok[i] / data.step, all = good + load.bad[i] / data.step;
      const box = (low, up) => "M" + at.toFixed(1) + " " + y(low).toFixed(1) + "V" + y(up).toFixed(1) + "h" + wide.toFixed(1) + "V" + y(low).toFixed(1) + "z";
      if (good > 0) ok += box(0, good);
      if (all > good) bad += box(good, all);
    }
    if (ok) node(bars, "path", { d: ok, fill: css("--green-fill"), "fill-opacity": 0.42 });
    if (bad) {
      node(bars, "path", { d: bad, fill: css("--red-fill") });
      node(bars, "path", { d: bad, fill: "url(#hatch-bad)" });
    }
  }
  function drawHeld(group, top, height) {
    const cells = node(group, "g", { "clip-path": "url(#plot)" });
    const wide = view.x(data.step) - view.x(0), space = wide > 5 ? 1 : 0;
    for (let i = 0; i < data.held.length; i++) {
      const at = view.x(i * data.step);
      if (at + wide < view.left || at > view.width - view.right) continue;
      const value = data.held[i];
      const cell = { x: at, y: top, width: Math.max(0.4, wide - space), height };
      if (value === 0) node(cells, "rect", Object.assign(cell, { fill: "none", stroke: css("--line") }));
      else node(cells, "rect", Object.assign(cell, { fill: value === 1 ? css("--green-fill") : css("--red-fill") }));
      if (value === 2 && wide > 4) node(cells, "path", { d: "M" + (at + 1) + " " + (top + 2) + "l" + (wide - 3) + " " + (height - 4) + "m0 " + (4 - height) + "l" + (3 - wide) + " " + (height - 4), stroke: "#fff", "stroke-width": 1.4 });
    }
  }
  function drawStates(group, top, list, mark) {
    const fills = { good: [css("--green-fill"), 0.38], middle: [css("--orange-fill"), 0.8], bad: [css("--red-fill"), 0.85] };
    list.forEach((lane, index) => {
      const y = top + index * 18;
      const most = view.narrow ? 9 : 15, short = lane.name.length > most ? "…" + lane.name.slice(1 - most) : lane.name;
      const name = node(group, "text", { x: view.left - 6, y: y + 11, "text-anchor": "end" }, short);
      node(name, "title", {}, lane.name);
      const row = node(group, "g", { "clip-path": "url(#plot)" });
      for (const [from, to, word, why] of lane.spans) {
        if (to < state.from || from > state.to) continue;
        const at = view.x(from), wide = Math.max(1.5, view.x(to) - at), kind = shade(word), [fill, opacity] = fills[kind];
        const box = node(row, "rect", { x: at, y, width: wide, height: 14, rx: 2, fill, "fill-opacity": opacity });
        node(box, "title", {}, lane.name + ": " + word + (why ? " (" + why + ")" : "") + ", " + clock(from) + " to " + clock(to));
        if (kind === "bad") node(row, "rect", { x: at, y, width: wide, height: 14, rx: 2, fill: "url(#hatch-bad)" });
        const from2 = Math.max(at, view.left), room = Math.min(at + wide, view.width - view.right) - from2;
        if (room > word.length * 6.3 + 8) node(row, "text", { x: from2 + 4, y: y + 11, class: kind === "good" ? "" : "in", style: kind === "good" ? "fill:" + css("--ink") : "", "pointer-events": "none" }, word);
      }
    });
  }
  function drawHost(group, top, height) {
    const y = (v) => top + height - Math.min(1, v) * height;
    for (const v of [0, 0.5, 1]) {
      node(group, "line", { x1: view.left, x2: view.width - view.right, y1: y(v), y2: y(v), stroke: css("--line"), "stroke-width": 0.7 });
      if (v !== 0.5) node(group, "text", { x: view.left - 6, y: y(v) + 4, "text-anchor": "end" }, v * 100 + " %");
    }
    const inside = data.host.filter(([t]) => t >= state.from - 5 && t <= state.to + 5);
    if (!inside.length) return;
    const path = inside.map(([t, v], i) => (i ? "L" : "M") + view.x(t).toFixed(1) + " " + y(v).toFixed(1)).join("");
    const area = path + "L" + view.x(inside[inside.length - 1][0]).toFixed(1) + " " + y(0) + "L" + view.x(inside[0][0]).toFixed(1) + " " + y(0) + "z";
    node(group, "path", { d: area, fill: css("--blue"), "fill-opacity": 0.12, "clip-path": "url(#plot)" });
    node(group, "path", { d: path, fill: "none", stroke: css("--blue"), "stroke-width": 1.4, "clip-path": "url(#plot)" });
  }

  function showCursor() {
    if (!view) return;
    view.cursor.textContent = "";
    if (state.drag) {
      const a = view.x(Math.min(...state.drag)), b = view.x(Math.max(...state.drag));
      node(view.cursor, "rect", { x: a, y: view.top - 14, width: b - a, height: view.bottom - view.top + 14, fill: css("--blue"), "fill-opacity": 0.18 });
    }
    const t = state.cursor;
    if (t === null) { readout.textContent = ""; return; }
    if (t >= state.from && t <= state.to) node(view.cursor, "line", { x1: view.x(t), x2: view.x(t), y1: view.top - 14, y2: view.bottom, stroke: css("--ink"), "stroke-width": 1, "stroke-dasharray": "3 2" });
    const parts = [], load = data.loads[state.load], i = Math.floor(t / data.step);
    const during = data.faults.filter((f) => t >= f.from && t < f.to).map((f) => f.name);
    if (data.steady && t >= data.steady[0] && t < data.steady[1]) during.unshift("steady");
    if (load && i >= 0 && i < load.ok.length) {
      const n = load.ok[i] + load.bad[i];
      parts.push(load.name + " " + (n / data.step).toFixed(data.step > 1 ? 1 : 0) + "/s");
      if (n) parts.push("ok " + (Math.floor((load.ok[i] / n) * 10000) / 100).toFixed(2) + " %");
      if (load.bad[i]) parts.push("bad " + load.bad[i]);
      parts.push("p50 " + ms(load.p50[i]), "p95 " + ms(load.p95[i]), "p99 " + ms(load.p99[i]));
    }
    for (const lane of data.lanes) {
      const span = lane.spans.find((s) => t >= s[0] && t < s[1]);
      if (span && shade(span[2]) !== "good") parts.push((lane.kind === "breaker" ? "breaker " : "") + lane.name + " " + span[2]);
    }
    const host = data.host.reduce((near, p) => (near === null || Math.abs(p[0] - t) < Math.abs(near[0] - t) ? p : near), null);
    if (host && Math.abs(host[0] - t) < 5) parts.push("CPU " + Math.round(host[1] * 100) + " %");
    readout.textContent = "";
    const when = document.createElement("b");
    when.textContent = clock(Math.round(t * 10) / 10) + (during.length ? " · " + during.join(", ") : "");
    readout.appendChild(when);
    for (const part of parts) {
      const span = document.createElement("span");
      span.textContent = part;
      readout.append(span, " ");
    }
  }
  function toggle(id) {
    if (!state.folded.delete(id)) state.folded.add(id);
    draw();
  }
  function zoom(from, to) {
    const least = Math.max(data.step, 1);
    if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
    state.from = Math.max(data.from, from);
    state.to = Math.min(data.to, to);
    reset.disabled = state.from === data.from && state.to === data.to;
    draw();
  }
  function all() { zoom(data.from, data.to); }
  function timeAt(event) {
    const box = figure.getBoundingClientRect();
    const px = ((event.clientX - box.left - figure.clientLeft) / figure.clientWidth) * view.width;
    return Math.min(state.to, Math.max(state.from, view.time(px)));
  }

  figure.addEventListener("pointermove", (event) => {
    state.cursor = timeAt(event);
    if (state.drag) state.drag[1] = state.cursor;
    showCursor();
  });
  figure.addEventListener("pointerleave", () => { if (!state.drag) { state.cursor = null; showCursor(); } });
  figure.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || event.target.classList.contains("fold")) return;
    const t = timeAt(event);
    state.drag = [t, t];
    figure.setPointerCapture(event.pointerId);
  });
  figure.addEventListener("pointerup", () => {
    if (!state.drag) return;
    const [a, b] = state.drag;
    state.drag = null;
    if (Math.abs(view.x(a) - view.x(b)) > 6) zoom(Math.min(a, b), Math.max(a, b));
    else showCursor();
  });
  figure.addEventListener("pointercancel", () => { state.drag = null; showCursor(); });
  figure.addEventListener("dblclick", all);
  figure.addEventListener("keydown", (event) => {
    const jump = data.step * (event.shiftKey ? 10 : 1);
    const at = state.cursor === null ? Math.max(0, state.from) + data.step / 2 : state.cursor;
    if (event.key === "ArrowRight") state.cursor = state.cursor === null ? at : Math.min(state.to, at + jump);
    else if (event.key === "ArrowLeft") state.cursor = state.cursor === null ? at : Math.max(state.from, at - jump);
    else if (event.key === "Home") state.cursor = state.from;
    else if (event.key === "End") state.cursor = state.to;
    else if (event.key === "Escape") { all(); return; }
    else if (event.key === "+") { const half = (state.to - state.from) / 4; zoom(at - half, at + half); return; }
    else if (event.key === "-") { const half = state.to - state.from; zoom(at - half, at + half); return; }
    else return;
    event.preventDefault();
    showCursor();
  });

  if (data.loads.length > 1) {
    const label = document.createElement("label"), select = document.createElement("select");
    label.append("Load ", select);
    data.loads.forEach((load, i) => {
      const option = document.createElement("option");
      option.textContent = load.name;
      option.value = i;
      select.appendChild(option);
    });
    select.value = state.load;
    select.addEventListener("change", () => { state.load = Number(select.value); draw(); });
    controls.appendChild(label);
  }
  const folds = document.createElement("label"), fold = document.createElement("select");
  folds.append("Lanes ", fold);
  const refill = () => {
    fold.textContent = "";
    const first = document.createElement("option");
    first.textContent = "show or fold …";
    first.value = "";
    fold.appendChild(first);
    for (const lane of lanes()) {
      const option = document.createElement("option");
      option.textContent = (state.folded.has(lane.id) ? "show " : "fold ") + titled[lane.id].toLowerCase();
      option.value = lane.id;
      fold.appendChild(option);
    }
  };
  fold.addEventListener("focus", refill);
  fold.addEventListener("change", () => { if (fold.value) toggle(fold.value); refill(); });
  refill();
  const reset = document.createElement("button");
  reset.type = "button";
  reset.textContent = "Whole run";
  reset.disabled = true;
  reset.addEventListener("click", all);
  controls.append(folds, reset);

  draw();
  let pending = 0;
  new ResizeObserver(() => { cancelAnimationFrame(pending); pending = requestAnimationFrame(draw); }).observe(figure);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", draw);
})();
