// The catalogue of sentences in the page's language, given by the server.

const catalogue = await fetch("/api/texts").then((response) => response.json());

/** The text of `key`, with `{name}` filled in from `values`. */
export function say(key, values = {}) {
  const text = catalogue.texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** A number as people write it in the page's language. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(catalogue.language, { maximumFractionDigits: digits }).format(value);
}
