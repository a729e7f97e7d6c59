// What a reader can do with the chart, and its start.

/** The moment below the pointer. */
function timeAt(c, event) {
  const box = c.figure.getBoundingClientRect();
  const px = ((event.clientX - box.left - c.figure.clientLeft) / c.figure.clientWidth) * c.view.width;
  return Math.min(c.state.to, Math.max(c.state.from, c.view.time(px)));
}

function listenToPointer(c) {
  const { figure, state } = c;
  figure.addEventListener("pointermove", (event) => {
    state.cursor = timeAt(c, event);
    if (state.drag) state.drag[1] = state.cursor;
    showCursor(c);
  });
  figure.addEventListener("pointerleave", () => {
    if (state.drag) return;
    state.cursor = null;
    showCursor(c);
  });
  figure.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || event.target.classList.contains("fold")) return;
    const t = timeAt(c, event);
    state.drag = [t, t];
    figure.setPointerCapture(event.pointerId);
  });
  figure.addEventListener("pointerup", () => {
    if (!state.drag) return;
    const [a, b] = state.drag;
    state.drag = null;
    if (Math.abs(c.view.x(a) - c.view.x(b)) > 6) zoomTo(c, Math.min(a, b), Math.max(a, b));
    else showCursor(c);
  });
  figure.addEventListener("pointercancel", () => {
    state.drag = null;
    showCursor(c);
  });
  figure.addEventListener("dblclick", () => zoomOut(c));
}

function listenToKeys(c) {
  c.figure.addEventListener("keydown", (event) => {
    const { data, state } = c;
    const at = state.cursor === null ? Math.max(0, state.from) + data.step / 2 : state.cursor;
    const quarter = (state.to - state.from) / 4;
    if (event.key === "Escape") return zoomOut(c);
    if (event.key === "+") return zoomTo(c, at - quarter, at + quarter);
    if (event.key === "-") return zoomTo(c, at - quarter * 4, at + quarter * 4);
    const to = moved(data, state, event.key, event.shiftKey);
    if (to === null) return undefined;
    state.cursor = to;
    event.preventDefault();
    return showCursor(c);
  });
}

function loadChoice(c) {
  const { label, select } = choice("Load");
  c.data.loads.forEach((load, i) => select.appendChild(option(load.name, i)));
  select.value = c.state.load;
  select.addEventListener("change", () => {
    c.state.load = Number(select.value);
    drawChart(c);
  });
  return label;
}

function laneChoice(c) {
  const { label, select } = choice("Lanes");
  const refill = () => {
    select.textContent = "";
    select.appendChild(option("show or fold …", ""));
    for (const { id } of lanesOf(c.data)) {
      const verb = c.state.folded.has(id) ? "show " : "fold ";
      select.appendChild(option(verb + LANE_TITLES[id].toLowerCase(), id));
    }
  };
  select.addEventListener("focus", refill);
  select.addEventListener("change", () => {
    if (select.value) toggleLane(c, select.value);
    refill();
  });
  refill();
  return label;
}

function resetButton(c) {
  const reset = element("button", "Whole run");
  reset.type = "button";
  reset.disabled = true;
  reset.addEventListener("click", () => zoomOut(c));
  return reset;
}

function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const part = (id) => document.getElementById(id);
  if (!data || !part("chart") || data.to <= data.from) return;
  const c = chartOf(data, part("chart"), part("readout"), part("controls"));
  c.reset = resetButton(c);
  if (data.loads.length > 1) c.controls.append(loadChoice(c));
  c.controls.append(laneChoice(c), c.reset);
  listenToPointer(c);
  listenToKeys(c);
  drawChart(c);
  let pending = 0;
  const later = () => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => drawChart(c));
  };
  new ResizeObserver(later).observe(c.figure);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawChart(c));
  addEventListener("beforeprint", () => drawChart(c));
}

start();
