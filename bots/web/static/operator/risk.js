// How many answers are wrong as more questions are answered, and the target that the owner sets.

import { number, percent, say } from "../texts.js";
import { api } from "./api.js";
import { head } from "./collection.js";
import { choice, field, h } from "./dom.js";
import { ENCODINGS, done, submitting } from "./forms.js";

export async function show([id]) {
  const each = await api.collection(id);
  const told = await api.risk(id);
  const report = h("div", {}, ...drawn(told));
  return [head(each, "/risk"), targetForm(id, told.calibration, report), report, labelledForm(id)];
}

/** Questions with the keys of their entries, from a file: how the collection does on them. */
function labelledForm(id) {
  const file = h("input", { type: "file", required: true, accept: ".csv,.tsv,.jsonl,.ndjson" });
  const encoding = choice(ENCODINGS, "");
  const failure = h("div", { class: "failure", role: "alert" });
  const note = h("p", { class: "note" });
  const shown = h("div", {});
  const form = h(
    "form",
    { class: "card" },
    h("h3", {}, say("operator_evaluate")),
    h("p", { class: "muted" }, say("operator_evaluate_more")),
    h("div", { class: "row" }, field(say("operator_file"), file), field(say("operator_encoding"), encoding)),
    failure,
    note,
    h("div", { class: "buttons" }, h("button", { type: "submit" }, say("operator_evaluate_do"))),
    shown,
  );
  file.addEventListener("change", () => shown.replaceChildren()); // the figures are of another file
  submitting(form, failure, async () => {
    shown.replaceChildren();
    note.replaceChildren(say("operator_measuring"));
    try {
      const found = await api.evaluate(id, file.files[0], { encoding: encoding.value });
      done(note, say("operator_evaluated", { covered: number(found.covered), uncovered: number(found.uncovered) }));
      shown.replaceChildren(figures(found));
    } catch (error) {
      note.replaceChildren();
      throw error;
    }
  });
  return form;
}

function figures(found) {
  const shares = ["top_1", "top_5", "answered", "answered_rightly", "answered_wrongly", "uncovered_answered"];
  const rows = shares.map((name) => h("tr", {}, h("th", { scope: "row" }, say(`operator_share_${name}`)), h("td", {}, percent(found[name]))));
  return h(
    "div",
    {},
    h("div", { class: "table", tabIndex: 0 }, h("table", {}, h("tbody", {}, rows))),
    h("p", { class: "muted" }, say("operator_evaluated_table")),
    h("div", { class: "table", tabIndex: 0 }, riskTable(found.table)),
  );
}

function targetForm(id, made, report) {
  const target = h("input", { type: "number", min: 0.1, max: 50, step: 0.1, required: true, value: inPercent(made?.target_risk ?? 0.02), class: "short" });
  const uncovered = h("input", { type: "number", min: 0, max: 90, step: 1, required: true, value: inPercent(made?.uncovered_share ?? 0.2), class: "short" });
  const failure = h("p", { class: "failure", role: "alert" });
  const note = h("p", { class: "note" });
  const form = h(
    "form",
    { class: "card" },
    h("h3", {}, say("operator_target")),
    h("p", { class: "muted" }, say("operator_target_more")),
    h(
      "div",
      { class: "row" },
      field(say("operator_target_risk"), target),
      field(say("operator_uncovered"), uncovered),
    ),
    failure,
    note,
    h("div", { class: "buttons" }, h("button", { class: "primary", type: "submit" }, say("operator_measure"))),
  );
  submitting(form, failure, async () => {
    note.replaceChildren(say("operator_measuring"));
    try {
      const given = { target_risk: target.valueAsNumber / 100, uncovered_share: uncovered.valueAsNumber / 100 };
      report.replaceChildren(...drawn(await api.measure(id, given)));
      done(note, say("operator_measured"));
    } catch (error) {
      note.replaceChildren();
      throw error;
    }
  });
  return form;
}

function drawn({ calibration, plot, changed }) {
  if (!calibration) return [h("p", { class: "empty" }, say("operator_never_measured"))];
  const modes = Object.entries(calibration.modes)
    .filter(([mode]) => calibration.embedder || !mode.startsWith("meaning"))
    .map(([mode, each]) => table(mode, each, calibration.target_risk));
  const before = changed ? h("p", { class: "empty" }, say("operator_measured_before")) : "";
  return [before, plot ? h("figure", { class: "card plot" }, picture(plot)) : "", ...modes];
}

/** The plot as elements of this page, so that its style sheet gives it the page's colours. */
function picture(plot) {
  const parsed = new DOMParser().parseFromString(plot, "image/svg+xml");
  return document.importNode(parsed.documentElement, true);
}

function table(mode, each, target) {
  const limit = each.sureness.thresholds.answer;
  const told = say(`operator_source_${each.source}`, { covered: number(each.covered), uncovered: number(each.uncovered) });
  return h(
    "section",
    { class: "card" },
    h("h3", {}, say(`operator_mode_${mode.split("-")[0]}`)),
    h("p", {}, limit > 1 ? say("operator_threshold_never") : say("operator_threshold", { sure: percent(limit) })),
    h("p", { class: "muted" }, told),
    each.table.length ? h("div", { class: "table", tabIndex: 0 }, riskTable(each.table, target)) : null,
  );
}

/** What each share of wrong answers would give; the line of the `target` is marked. */
function riskTable(found, target = null) {
  const heads = ["allowed", "threshold", "answered", "right", "refused", "wrong"].map((name) => h("th", { scope: "col" }, say(`operator_risk_${name}`)));
  const rows = found.map((row) =>
    h(
      "tr",
      { "aria-current": target !== null && Math.abs(row.allowed - target) < 1e-9 ? "true" : null },
      h("th", { scope: "row" }, percent(row.allowed)),
      [row.threshold > 1 ? say("operator_never") : number(row.threshold, 3), percent(row.answered), percent(row.right), percent(row.refused), percent(row.risk)].map((cell) => h("td", {}, cell)),
    ),
  );
  return h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
}

function inPercent(share) {
  return Math.round(1000 * share) / 10;
}
