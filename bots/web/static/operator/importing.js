// A file into a collection: looked at first, then applied as it was looked at, or not at all; and out again.

import { number, say } from "../texts.js";
import { api } from "./api.js";
import { head } from "./collection.js";
import { choice, field, h } from "./dom.js";
import { ENCODINGS, attempt, done, submitting } from "./forms.js";

const FORMS = [["csv", "CSV"], ["json", "JSON"], ["jsonl", "JSON Lines"], ["yaml", "YAML"], ["md", "Markdown"]];
const MAX_FILE_BYTES = Number(document.body.dataset.maxFileBytes);

export async function show([id]) {
  const each = await api.collection(id);
  return [head(each, "/import"), importForm(id), exportLinks(id)];
}

function importForm(id) {
  const accept = ".csv,.tsv,.json,.jsonl,.ndjson,.yaml,.yml,.md,.markdown";
  const file = h("input", { type: "file", required: true, accept });
  const encoding = choice(ENCODINGS, "");
  const language = h("input", { maxLength: 20, placeholder: "en", class: "short", autocomplete: "off" });
  const replace = h("input", { type: "checkbox" });
  const failure = h("div", { class: "failure", role: "alert" });
  const note = h("p", { class: "note" });
  const shown = h("div", { class: "diff" });
  const form = h(
    "form",
    { class: "card" },
    h("h3", {}, say("operator_import")),
    h("p", { class: "muted" }, say("operator_import_more")),
    h(
      "div",
      { class: "row" },
      field(say("operator_file"), file),
      field(say("operator_encoding"), encoding),
      field(say("operator_language"), language, say("operator_import_language_hint")),
    ),
    h("label", { class: "check" }, replace, say("operator_replace")),
    failure,
    note,
    h("div", { class: "buttons" }, h("button", { type: "submit" }, say("operator_preview_import"))),
    shown,
  );
  const given = (pin = "") => ({ encoding: encoding.value, language: language.value, replace: replace.checked, pin });
  for (const control of [file, encoding, language, replace]) {
    control.addEventListener("change", () => shown.replaceChildren()); // what was looked at is not this any more
  }
  submitting(form, failure, async () => {
    shown.replaceChildren();
    note.replaceChildren();
    if (file.files[0].size > MAX_FILE_BYTES) {
      failure.replaceChildren(say("operator_file_too_large", { mib: number(MAX_FILE_BYTES / 2 ** 20) }));
      return;
    }
    const diff = await api.import(id, file.files[0], given());
    shown.replaceChildren(...preview(diff, async () => {
      const applied = await api.import(id, file.files[0], given(diff.pin));
      shown.replaceChildren();
      form.reset();
      done(note, say("operator_imported", counted(applied.counts)));
    }));
    shown.querySelector("h4").focus();
  });
  return form;
}

function counted(counts) {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, number(count)]));
}

function preview(diff, apply) {
  const { counts } = diff;
  const anything = counts.added + counts.changed + counts.removed > 0;
  const failure = h("p", { class: "failure", role: "alert" });
  const button = h("button", { type: "button", class: "primary" }, say("operator_apply"));
  button.addEventListener("click", () => attempt(failure, apply, [button]));
  return [
    h("h4", { tabIndex: -1 }, say("operator_diff", counted(counts))),
    ...diff.added.map((words) => line("added", "+", words.question, words.answer)),
    ...diff.changed.map((each) => line("changed", "~", each.after.question, changes(each))),
    ...diff.removed.map((words) => line("removed", "−", words.question, "")),
    more(diff),
    failure,
    anything ? h("div", { class: "buttons" }, button) : null,
  ].filter(Boolean);
}

function line(kind, sign, question, detail) {
  return h(
    "details",
    { class: kind },
    h("summary", {}, h("span", { "aria-hidden": "true" }, `${sign} `), h("span", { class: "unseen" }, say(`operator_line_${kind}`)), h("span", { dir: "auto" }, question)),
    typeof detail === "string" ? h("p", { dir: "auto" }, detail) : detail,
  );
}

function changes({ fields, before, after }) {
  const text = (value) => (Array.isArray(value) ? value.join(" · ") : value);
  return fields.map((name) =>
    h("div", { class: "change" }, h("p", { class: "label" }, name), h("del", { dir: "auto" }, text(before[name]) || "–"), h("ins", { dir: "auto" }, text(after[name]) || "–")),
  );
}

function more({ counts, added, changed, removed }) {
  const left = counts.added + counts.changed + counts.removed - added.length - changed.length - removed.length;
  return left > 0 ? h("p", { class: "muted" }, say("operator_diff_more", { count: number(left) })) : null;
}

function exportLinks(id) {
  const links = FORMS.map(([form, words]) => h("a", { href: api.exportPath(id, form), class: "button", download: "" }, words));
  return h("section", { class: "card" }, h("h3", {}, say("operator_export")), h("p", { class: "muted" }, say("operator_export_more")), h("p", { class: "bar" }, links));
}
