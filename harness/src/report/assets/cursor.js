// The line at the moment looked at, the stretch that is dragged, and the figures below the chart.

function showCursor(c) {
  if (!c.view) return;
  const { x, top, bottom, cursor } = c.view;
  cursor.textContent = "";
  if (c.state.drag) {
    const a = x(Math.min(...c.state.drag));
    const b = x(Math.max(...c.state.drag));
    draw(cursor, "rect", { x: a, y: top - 14, width: b - a, height: bottom - top + 14, fill: css("--blue"), "fill-opacity": 0.18 });
  }
  const t = c.state.cursor;
  c.readout.textContent = "";
  if (t === null) return;
  if (t >= c.state.from && t <= c.state.to) {
    draw(cursor, "line", { x1: x(t), x2: x(t), y1: top - 14, y2: bottom, stroke: css("--ink"), "stroke-width": 1, "stroke-dasharray": "3 2" });
  }
  const { title, parts } = reading(c.data, c.state.load, t);
  c.readout.append(element("b", title));
  for (const part of parts) c.readout.append(element("span", part), " ");
}
