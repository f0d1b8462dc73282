// The catalogue of sentences in the page's language: in the page itself, or given by the server.

const inPage = document.getElementById("catalogue");
const catalogue = inPage ? JSON.parse(inPage.textContent) : await fetch("/api/texts").then((response) => response.json());

/** The text of `key`, with `{name}` filled in from `values`. */
export function say(key, values = {}) {
  const text = catalogue.texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** A number as people write it in the page's language. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(catalogue.language, { maximumFractionDigits: digits }).format(value);
}

/** A moment as people write it in the page's language, to the day. */
export function day(moment) {
  return new Intl.DateTimeFormat(catalogue.language, { dateStyle: "medium" }).format(new Date(moment));
}

/** A moment as people write it in the page's language: the time, and the day where it is not today. */
export function moment(when) {
  const then = new Date(when);
  const today = then.toDateString() === new Date().toDateString();
  return new Intl.DateTimeFormat(catalogue.language, today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" }).format(then);
}

/** A share as a percentage. */
export function percent(share, digits = 1) {
  return new Intl.NumberFormat(catalogue.language, { style: "percent", maximumFractionDigits: digits }).format(share);
}
