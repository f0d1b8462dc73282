// Elements from plain values. Text is always text: nothing here reads markup.

/** An element `tag` with properties, attributes (`aria-*`, `data-*`, `for`, …), listeners (`onclick`) and children. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && !name.includes("-") && name !== "list" && name !== "form") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let fields = 0;

/** A labelled control; `hint` is told with it. */
export function field(label, control, hint = "") {
  control.id ||= `field-${++fields}`;
  const parts = [h("label", { for: control.id }, label), control];
  if (hint) {
    control.setAttribute("aria-describedby", `${control.id}-hint`);
    parts.push(h("p", { class: "hint", id: `${control.id}-hint` }, hint));
  }
  return h("div", { class: "field" }, parts);
}

/** A select of `[value, label]` pairs. */
export function choice(pairs, value, properties = {}) {
  const options = pairs.map(([each, label]) => h("option", { value: each, selected: each === value }, label));
  return h("select", properties, options);
}

/** A link within the operators' pages, which the router follows. */
export function link(path, label, properties = {}) {
  return h("a", { href: path, ...properties }, label);
}

/** Counts of what people said of something. */
export function rated({ given, helpful, not_helpful: not }, words) {
  if (!given) return h("span", { class: "rated muted" }, words.never);
  return h("span", { class: "rated" }, `${words.given} ${given} · 👍 ${helpful} · 👎 ${not}`);
}
