// Elements of the page and of its drawings. Text is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";

/** A custom property of the page's style. */
function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** A drawn element below another. */
function draw(parent, tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}

/** A pattern of slanted lines. */
function hatch(defs, id, colour, size, stroke, opacity) {
  const pattern = draw(defs, "pattern", { id, width: size, height: size, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  draw(pattern, "line", { x1: 0, y1: 0, x2: 0, y2: size, stroke: colour, "stroke-width": stroke, "stroke-opacity": opacity });
}

/** An element of the page with text in it. */
function element(tag, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** An entry of a choice. */
function option(text, value) {
  const made = element("option", text);
  made.value = value;
  return made;
}

/** A choice with its name. */
function choice(name) {
  const label = element("label");
  const select = element("select");
  label.append(name + " ", select);
  return { label, select };
}
