// Tests of the page's program, which lies beside this file as `program.js`. Run by `cargo test`, through `node --test`.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const test = require("node:test");

const PROGRAM = fs.readFileSync(path.join(__dirname, "program.js"), "utf8");

class Stub {
  constructor(tag) {
    this.tag = tag;
    this.attributes = {};
    this.children = [];
    this.listeners = {};
    this.parent = null;
    this.text = "";
    this.clientWidth = 1000;
    this.clientLeft = 0;
    this.classList = { contains: (name) => (this.attributes.class || "").split(" ").includes(name) };
  }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  appendChild(child) { child.parent = this; this.children.push(child); return child; }
  append(...children) {
    for (const child of children) {
      const made = child instanceof Stub ? child : Object.assign(new Stub("#text"), { text: child });
      this.appendChild(made);
    }
  }
  remove() { this.parent.children = this.parent.children.filter((child) => child !== this); }
  addEventListener(kind, listener) { (this.listeners[kind] = this.listeners[kind] || []).push(listener); }
  fire(kind, event = {}) { for (const listener of this.listeners[kind] || []) listener({ preventDefault() {}, target: this, ...event }); }
  querySelectorAll(tag) { return this.all().filter((one) => one.tag === tag); }
  all() { return this.children.flatMap((child) => [child, ...child.all()]); }
  getBoundingClientRect() { return { left: 0, top: 0 }; }
  setPointerCapture(id) { this.captured = id; }
  set textContent(text) { this.children = []; this.text = String(text); }
  get textContent() { return this.text + this.children.map((child) => child.textContent).join(""); }
}

function load(name, seconds) {
  const of = (value) => Array.from({ length: seconds }, () => value);
  return { name, ok: of(100), bad: of(0), p50: of(5), p95: of(9), p99: of(20) };
}

function sample() {
  const frames = load("frames", 60);
  frames.ok[20] = 90;
  frames.bad[20] = 10;
  frames.p99[30] = null;
  return {
    from: -2, to: 62, step: 1, loads: [frames, load("clips", 60)],
    held: Array.from({ length: 60 }, (_, i) => (i === 20 ? 2 : 1)),
    lanes: [
      { kind: "instance", name: "processor-2", spans: [[-1, 15, "passing", ""], [15, 23, "critical", "lease missed"], [23, 62, "passing", ""]] },
      { kind: "breaker", name: "processor-2", spans: [[-1, 15, "closed", ""], [15, 23, "open", "5 failures"]] },
    ],
    host: Array.from({ length: 60 }, (_, i) => [i, 0.4]),
    steady: [5, 13],
    faults: [{ name: "crash", kind: "kill", from: 15, to: 23 }],
  };
}

/** The program on a page of stubs, and its functions. */
function page(data) {
  const parts = { data: new Stub("script"), chart: new Stub("figure"), readout: new Stub("p"), controls: new Stub("div") };
  parts.data.textContent = JSON.stringify(data);
  const world = {
    document: {
      documentElement: new Stub("html"),
      getElementById: (id) => parts[id],
      createElement: (tag) => new Stub(tag),
      createElementNS: (_, tag) => new Stub(tag),
    },
    getComputedStyle: () => ({ getPropertyValue: (name) => " " + name }),
    ResizeObserver: class { observe(what) { this.what = what; } },
    matchMedia: () => ({ addEventListener() {} }),
    addEventListener() {},
    requestAnimationFrame: () => 1,
    cancelAnimationFrame() {},
  };
  const names = ["shade", "ms", "clock", "niceStep", "timeTicks", "rateTicks", "logRange", "logTicks", "bucketsOf", "busiest", "zoomed", "moved", "reading"];
  const body = `"use strict";\n${PROGRAM}\nreturn { ${names.join(", ")} };`;
  const made = new Function(...Object.keys(world), body)(...Object.values(world));
  const drawn = () => parts.chart.querySelectorAll("svg").flatMap((svg) => svg.all());
  const texts = () => drawn().filter((one) => one.tag === "text").map((one) => one.textContent);
  const key = (name, more) => parts.chart.fire("keydown", { key: name, ...more });
  return { ...parts, ...made, drawn, texts, key };
}

test("numbers read well", () => {
  const { ms, clock, shade } = page(sample());
  assert.deepEqual([null, 0.64, 18.42, 2510].map(ms), ["-", "640 µs", "18.4 ms", "2.51 s"]);
  assert.deepEqual([clock(12.5, 60), clock(-1, 60), clock(3725, 4000), clock(65, 4000)], ["12.5 s", "-1 s", "1:02:05", "1:05"]);
  assert.deepEqual(["ready", "half-open", "critical", "whatever"].map(shade), ["good", "middle", "bad", "bad"]);
});

test("scales hold what they are to show", () => {
  const { niceStep, timeTicks, rateTicks, logRange, logTicks } = page(sample());
  for (const span of [0.5, 1, 7, 60, 3600, 86400]) {
    assert.ok(span / niceStep(span, 11) <= 11);
    const ticks = timeTicks(-1, span, 11);
    assert.ok(ticks.length <= 13 && ticks.every((t, i) => i === 0 || t > ticks[i - 1]), String(span));
  }
  for (const high of [0.1, 1, 99, 100, 12345]) {
    const { tick, most } = rateTicks(high);
    assert.ok(most >= high && tick > 0 && most / tick <= 5, String(high));
  }
  assert.equal(logRange([0, null, undefined]), null);
  for (const values of [[5], [0.02, 3000], [7, 9, null, 11]]) {
    const range = logRange(values);
    for (const v of values.filter((v) => v > 0)) assert.ok(Math.log10(v) >= range.from && Math.log10(v) <= range.to);
    assert.ok(logTicks(range).length >= 2);
  }
});

test("the cursor and the zoom stay within the run", () => {
  const { zoomed, moved, bucketsOf } = page(sample());
  const data = sample();
  assert.deepEqual(zoomed(data, -50, 500), { from: -2, to: 62 });
  const small = zoomed(data, 10, 10.01);
  assert.ok(Math.abs(small.to - small.from - 1) < 1e-9);
  const state = { from: 0, to: 60, cursor: 59.9 };
  assert.equal(moved(data, state, "ArrowRight", true), 60);
  assert.equal(moved(data, { ...state, cursor: null }, "ArrowLeft", false), 0.5);
  assert.equal(moved(data, state, "Home", false), 0);
  assert.equal(moved(data, state, "x", false), null);
  assert.deepEqual(bucketsOf(data, 0, 1000), { first: 0, last: 60 });
  assert.deepEqual(bucketsOf({ loads: [], step: 1 }, 0, 9), { first: 0, last: 0 });
});

test("a moment is read out with what was going on", () => {
  const { reading } = page(sample());
  const { title, parts } = reading(sample(), 0, 20.5);
  assert.equal(title, "20.5 s · crash");
  assert.deepEqual(parts, ["frames 100/s", "ok 90.00 %", "bad 10", "p50 5.00 ms", "p95 9.00 ms", "p99 20.0 ms", "processor-2 critical", "breaker processor-2 open", "CPU 40 %"]);
  assert.equal(reading(sample(), 0, 6).title, "6 s · steady");
  assert.ok(reading(sample(), 0, 30.5).parts.includes("p99 -"));
  assert.deepEqual(reading(sample(), 0, -2).parts, ["CPU 40 %"]);
});

test("everything is drawn, once", () => {
  const { chart, texts, drawn } = page(sample());
  assert.equal(chart.querySelectorAll("svg").length, 1);
  for (const text of ["▾ Response time: frames", "▾ Requests", "▾ Objective", "▾ Instances", "▾ Breakers", "▾ Host CPU", "crash", "steady", "critical", "60 s"]) {
    assert.ok(texts().includes(text), text + " in " + texts());
  }
  const places = drawn().flatMap((one) => Object.values(one.attributes));
  assert.ok(!places.some((value) => value.includes("NaN") || value.includes("undefined")), "numbers only");
});

test("keys move the cursor, zoom and go back", () => {
  const { key, readout, chart, controls, texts } = page(sample());
  const reset = controls.children.at(-1);
  key("ArrowRight");
  assert.match(readout.textContent, /^0\.5 s/);
  key("ArrowRight", { shiftKey: true });
  assert.match(readout.textContent, /^10\.5 s · steady/);
  assert.equal(reset.disabled, true);
  key("+");
  assert.equal(reset.disabled, false);
  assert.ok(!texts().includes("60 s"));
  key("Escape");
  assert.equal(reset.disabled, true);
  assert.ok(texts().includes("60 s"));
  key("Tab");
  assert.equal(chart.querySelectorAll("svg").length, 1);
});

test("dragging zooms, a click does not, and leaving hides the cursor", () => {
  const { chart, controls, readout } = page(sample());
  const reset = controls.children.at(-1);
  const at = (clientX) => ({ clientX, button: 0, pointerId: 7, pointerType: "mouse" });
  chart.fire("pointerdown", at(300));
  chart.fire("pointerup", at(300));
  assert.equal(reset.disabled, true);
  chart.fire("pointerdown", at(300));
  chart.fire("pointermove", at(600));
  assert.equal(chart.captured, 7);
  chart.fire("pointerup", at(600));
  assert.equal(reset.disabled, false);
  assert.notEqual(readout.textContent, "");
  chart.fire("pointerleave");
  assert.equal(readout.textContent, "");
  chart.fire("dblclick");
  assert.equal(reset.disabled, true);
});

test("lanes fold by their name and by the choice, loads are chosen", () => {
  const { chart, controls, drawn, texts } = page(sample());
  const [loads, lanes] = controls.children.map((label) => label.children.find((one) => one.tag === "select"));
  const before = drawn().length;
  drawn().find((one) => one.attributes["data-lane"] === "latency").fire("click");
  assert.ok(texts().includes("▸ Response time: frames") && drawn().length < before);
  lanes.value = "latency";
  lanes.fire("change");
  assert.equal(drawn().length, before);
  loads.value = "1";
  loads.fire("change");
  assert.ok(texts().includes("▾ Response time: clips"));
  assert.equal(chart.querySelectorAll("svg").length, 1);
});

test("names from outside stay text", () => {
  const data = sample();
  data.loads[0].name = data.faults[0].name = "<img src=x onerror=alert(1)>";
  const { texts, drawn } = page(data);
  assert.ok(texts().includes(data.faults[0].name));
  assert.ok(!drawn().some((one) => one.tag === "img"));
});

test("a run without load, without anything, or of no length is no error", () => {
  const nothing = { from: 0, to: 10, step: 1, loads: [], held: [], lanes: [], host: [], steady: null, faults: [] };
  assert.equal(page(nothing).chart.querySelectorAll("svg").length, 1);
  assert.equal(page({ ...nothing, to: 0 }).chart.querySelectorAll("svg").length, 0);
  assert.equal(page(null).chart.querySelectorAll("svg").length, 0);
  const silent = sample();
  for (const of of silent.loads) for (const key of ["ok", "bad"]) of[key] = of[key].map(() => 0);
  for (const of of silent.loads) for (const key of ["p50", "p95", "p99"]) of[key] = of[key].map(() => null);
  assert.ok(page(silent).texts().includes("no request in this stretch"));
});
