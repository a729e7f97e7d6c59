// The chart as a whole: geometry, bands of faults, axis, lanes below each other.

const LANE_GAP = 10;
const LANE_HEAD = 22;

function chartOf(data, figure, readout, controls) {
  const state = { from: data.from, to: data.to, load: busiest(data), folded: new Set(), cursor: null, drag: null };
  return { data, figure, readout, controls, state, view: null };
}

/** Where everything is, given the width and the lanes. */
function layOut(c, lanes) {
  const width = Math.max(320, c.figure.clientWidth);
  const narrow = width < 560;
  const left = narrow ? 66 : 104;
  const right = narrow ? 34 : 46;
  const top = 30;
  const plotWidth = width - left - right;
  let y = top;
  for (const lane of lanes) {
    lane.y = y + LANE_HEAD;
    y = lane.y + (c.state.folded.has(lane.id) ? 0 : lane.height) + LANE_GAP;
  }
  const bottom = y - LANE_GAP + 6;
  const { from, to } = c.state;
  const x = (t) => left + ((t - from) / (to - from)) * plotWidth;
  const time = (px) => from + ((px - left) / plotWidth) * (to - from);
  return { width, height: bottom + 24, left, right, top, bottom, x, time, plotWidth, narrow, cursor: null };
}

function drawChart(c) {
  const lanes = lanesOf(c.data);
  const view = layOut(c, lanes);
  c.view = view;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 " + view.width + " " + view.height);
  svg.setAttribute("aria-hidden", "true");
  const defs = draw(svg, "defs", {});
  hatch(defs, "hatch", css("--red-fill"), 7, 1.4, 0.5);
  hatch(defs, "hatch-bad", "#16191d", 5, 1.2, 0.35);
  const clip = draw(defs, "clipPath", { id: "plot" });
  draw(clip, "rect", { x: view.left, y: 0, width: view.plotWidth, height: view.height });
  drawBands(c, svg);
  drawLabels(c, svg);
  drawAxis(c, svg);
  for (const lane of lanes) drawLane(c, svg, lane);
  view.cursor = draw(svg, "g", { id: "cursor" });
  c.figure.querySelectorAll("svg").forEach((old) => old.remove());
  c.figure.appendChild(svg);
  showCursor(c);
}

/** The steady window in its tint, faults hatched. */
function drawBands(c, svg) {
  const { x, top, bottom } = c.view;
  const back = draw(svg, "g", { "clip-path": "url(#plot)" });
  const band = (from, to, least, look) => {
    const at = x(from);
    const width = Math.max(least, x(to) - at);
    draw(back, "rect", Object.assign({ x: at, y: top - 14, width, height: bottom - top + 14 }, look));
    return [at, at + width];
  };
  if (c.data.steady) band(c.data.steady[0], c.data.steady[1], 1, { fill: css("--tint") });
  for (const fault of c.data.faults) {
    band(fault.from, fault.to, 2, { fill: css("--red-fill"), "fill-opacity": 0.09 });
    const ends = band(fault.from, fault.to, 2, { fill: "url(#hatch)", "fill-opacity": 0.35 });
    const edges = ends.map((at) => "M" + at + " " + (top - 14) + "V" + bottom).join("");
    draw(back, "path", { d: edges, stroke: css("--red"), "stroke-opacity": 0.55 });
  }
}

/** Names of bands, each moved to a free row when they would overlap. */
function drawLabels(c, svg) {
  const { left, width, top, x } = c.view;
  const bands = c.data.faults.map((f) => ({ at: f.from, to: f.to, text: f.name, colour: css("--red") }));
  if (c.data.steady) bands.unshift({ at: c.data.steady[0], to: c.data.steady[1], text: "steady", colour: css("--soft") });
  const ends = [-1e9, -1e9];
  bands.sort((a, b) => a.at - b.at);
  for (const band of bands) {
    if (band.to < c.state.from || band.at > c.state.to) continue;
    const at = Math.max(left, x(band.at)) + 3;
    const wide = band.text.length * 6.6 + 8;
    const row = ends.findIndex((end) => at >= end);
    if (row < 0 || at + wide > width) continue;
    ends[row] = at + wide;
    draw(svg, "text", { x: at, y: top - 3 - row * 12, class: "strong", style: "fill:" + band.colour }, band.text);
  }
}

function drawAxis(c, svg) {
  const { left, right, width, bottom, x, narrow } = c.view;
  for (const t of timeTicks(c.state.from, c.state.to, narrow ? 4 : 11)) {
    draw(svg, "line", { x1: x(t), x2: x(t), y1: bottom, y2: bottom + 4, stroke: css("--soft") });
    draw(svg, "text", { x: x(t), y: bottom + 17, "text-anchor": "middle" }, clock(t, c.data.to - c.data.from));
  }
  draw(svg, "line", { x1: left, x2: width - right, y1: bottom, y2: bottom, stroke: css("--line") });
}

function drawLane(c, svg, lane) {
  const folded = c.state.folded.has(lane.id);
  const which = lane.id === "latency" && c.data.loads.length > 1 ? ": " + c.data.loads[c.state.load].name : "";
  const text = (folded ? "▸ " : "▾ ") + LANE_TITLES[lane.id] + which;
  const name = draw(svg, "text", { x: 8, y: lane.y - 9, class: "fold strong", "data-lane": lane.id }, text);
  name.addEventListener("click", () => toggleLane(c, lane.id));
  if (!folded) lane.show(c, draw(svg, "g", {}), lane.y, lane.height);
}

function toggleLane(c, id) {
  if (!c.state.folded.delete(id)) c.state.folded.add(id);
  drawChart(c);
}

function zoomTo(c, from, to) {
  Object.assign(c.state, zoomed(c.data, from, to));
  c.reset.disabled = c.state.from === c.data.from && c.state.to === c.data.to;
  drawChart(c);
}

function zoomOut(c) {
  zoomTo(c, c.data.from, c.data.to);
}
