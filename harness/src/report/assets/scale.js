// Numbers and their places: no page is needed for anything here.

const GOOD = ["passing", "closed", "ready"];
const MIDDLE = ["starting", "half-open", "warning", "draining"];

/** How a state is shaded: "good", "middle" or "bad". */
function shade(word) {
  if (GOOD.includes(word)) return "good";
  return MIDDLE.includes(word) ? "middle" : "bad";
}

/** A response time in milliseconds, with three digits that matter. */
function ms(value) {
  if (value === null || value === undefined) return "-";
  if (value >= 1000) return (value / 1000).toPrecision(3) + " s";
  if (value >= 1) return value.toPrecision(3) + " ms";
  return (value * 1000).toFixed(0) + " µs";
}

/** A moment: in seconds in a short run, as 1:05 or 1:02:03 in a long one. */
function clock(t, span) {
  const sign = t < 0 ? "-" : "";
  const s = Math.abs(t);
  if (span < 180) return sign + (Number.isInteger(s) ? s : s.toFixed(1)) + " s";
  const two = (n) => String(n).padStart(2, "0");
  const h = Math.floor(s / 3600);
  const m = Math.floor(s / 60) % 60;
  const r = Math.floor(s % 60);
  return sign + (h ? h + ":" + two(m) : m) + ":" + two(r);
}

/** The smallest step that gives at most so many ticks over a span of seconds. */
function niceStep(span, wanted) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
  return steps.find((step) => span / step <= wanted) || 28800;
}

/** Places of the ticks of a time axis. */
function timeTicks(from, to, wanted) {
  const step = niceStep(to - from, wanted);
  const ticks = [];
  for (let t = Math.ceil(from / step) * step; t <= to + 1e-9; t += step) ticks.push(Math.round(t * 10) / 10);
  return ticks;
}

/** A rate and its ticks: 0, a half, and somewhat more than the highest. */
function rateTicks(high) {
  const raw = high / 2;
  const magnitude = Math.pow(10, Math.floor(Math.log10(raw)));
  const tick = [1, 2, 5, 10].map((m) => m * magnitude).find((v) => v >= raw * 0.75);
  return { tick, most: Math.max(high, tick * 2) };
}

/** Ends of a logarithmic axis over values, in powers of ten; null when there are none above zero. */
function logRange(values) {
  let low = Infinity;
  let high = 0;
  for (const v of values) {
    if (v > 0) {
      low = Math.min(low, v);
      high = Math.max(high, v);
    }
  }
  if (high === 0) return null;
  const from = Math.floor(Math.log10(low) * 2 - 0.2) / 2;
  return { from, to: Math.max(from + 1, Math.ceil(Math.log10(high) * 2 + 0.2) / 2) };
}

/** Ticks of such an axis: whole powers, and 2 and 5 between them where there is room. */
function logTicks(range) {
  const ticks = [];
  const between = range.to - range.from <= 2 ? [1, 2, 5] : [1];
  for (let power = Math.floor(range.from) - 1; power <= range.to; power++) {
    for (const m of between) {
      const value = m * Math.pow(10, power);
      const at = Math.log10(value);
      if (at >= range.from - 1e-9 && at <= range.to + 1e-9) ticks.push({ value, whole: m === 1 });
    }
  }
  return ticks;
}

/** First and last bucket that a stretch of time touches, with one more on either side. */
function bucketsOf(data, from, to) {
  const n = data.loads.length ? data.loads[0].ok.length : 0;
  return {
    first: Math.max(0, Math.floor(from / data.step) - 1),
    last: Math.min(n, Math.ceil(to / data.step) + 1),
  };
}

/** Index of the load with most requests. */
function busiest(data) {
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  let best = 0;
  let most = -1;
  data.loads.forEach((load, i) => {
    const n = sum(load.ok) + sum(load.bad);
    if (n > most) {
      most = n;
      best = i;
    }
  });
  return best;
}

/** A stretch to look at: not shorter than the least, and within the run. */
function zoomed(data, from, to) {
  const least = Math.max(data.step, 1);
  if (to - from < least) {
    const middle = (from + to) / 2;
    from = middle - least / 2;
    to = middle + least / 2;
  }
  return { from: Math.max(data.from, from), to: Math.min(data.to, to) };
}

/** Where the arrow keys and their like move the cursor to; null for other keys. */
function moved(data, state, key, far) {
  const jump = data.step * (far ? 10 : 1);
  const first = Math.max(0, state.from) + data.step / 2;
  const at = state.cursor === null ? first : state.cursor;
  switch (key) {
    case "ArrowRight":
      return state.cursor === null ? at : Math.min(state.to, at + jump);
    case "ArrowLeft":
      return state.cursor === null ? at : Math.max(state.from, at - jump);
    case "Home":
      return state.from;
    case "End":
      return state.to;
    default:
      return null;
  }
}

/** What there is to be read at a moment: when and what was going on, and figures. */
function reading(data, loadIndex, t) {
  const load = data.loads[loadIndex];
  const i = Math.floor(t / data.step);
  const during = data.faults.filter((f) => t >= f.from && t < f.to).map((f) => f.name);
  if (data.steady && t >= data.steady[0] && t < data.steady[1]) during.unshift("steady");
  const parts = [];
  if (load && i >= 0 && i < load.ok.length) {
    const n = load.ok[i] + load.bad[i];
    parts.push(load.name + " " + (n / data.step).toFixed(data.step > 1 ? 1 : 0) + "/s");
    if (n) parts.push("ok " + (Math.floor((load.ok[i] / n) * 10000) / 100).toFixed(2) + " %");
    if (load.bad[i]) parts.push("bad " + load.bad[i]);
    parts.push("p50 " + ms(load.p50[i]), "p95 " + ms(load.p95[i]), "p99 " + ms(load.p99[i]));
  }
  for (const lane of data.lanes) {
    const span = lane.spans.find((s) => t >= s[0] && t < s[1]);
    const kind = lane.kind === "breaker" ? "breaker " : "";
    if (span && shade(span[2]) !== "good") parts.push(kind + lane.name + " " + span[2]);
  }
  const nearer = (near, p) => (near === null || Math.abs(p[0] - t) < Math.abs(near[0] - t) ? p : near);
  const host = data.host.reduce(nearer, null);
  if (host && Math.abs(host[0] - t) < 5) parts.push("CPU " + Math.round(host[1] * 100) + " %");
  const when = clock(Math.round(t * 10) / 10, data.to - data.from);
  return { title: when + (during.length ? " · " + during.join(", ") : ""), parts };
}
