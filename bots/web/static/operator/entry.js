// One entry, or a new one: its words, and every version of them.

import { render } from "../markdown.js";
import { day, say } from "../texts.js";
import { api } from "./api.js";
import { h, link } from "./dom.js";
import { entryFields } from "./entry_form.js";
import { attempt, submitting } from "./forms.js";

const NOTHING = {
  key: "", question: "", phrasings: [], answer: "", tags: [], language: "", valid_from: "", valid_until: "",
};

export async function show([id], query, go) {
  const key = query.get("key");
  const each = await api.collection(id);
  const stored = key === null ? null : await api.entry(id, key);
  const crumbs = h(
    "p",
    { class: "crumbs" },
    link("/operator", say("operator_collections")),
    " › ",
    link(`/operator/collections/${id}`, each.name),
  );
  const heading = h("h2", { dir: "auto" }, stored ? stored.words.question : say("operator_new_entry"));
  return [
    h("div", { class: "head" }, crumbs, heading),
    stored?.removed ? h("p", { class: "note" }, say("operator_retired")) : null,
    form(id, stored, each.language, go),
    stored ? versions(stored.versions) : null,
  ].filter(Boolean);
}

function form(id, stored, language, go) {
  const { elements, read } = entryFields(stored?.words ?? { ...NOTHING, language }, { named: !stored });
  const failure = h("p", { class: "failure", role: "alert" });
  const save = h("button", { class: "primary", type: "submit" }, say("operator_save"));
  const retire = h("button", { type: "button", class: "danger" }, say("operator_retire"));
  const buttons = stored && !stored.removed ? [retire, save] : [save];
  const made = h("form", { class: "card" }, elements, failure, h("div", { class: "buttons" }, buttons));
  submitting(made, failure, async () => {
    const words = read();
    const saved =
      stored && !stored.removed
        ? await api.change(id, stored.words.key, { ...words, version: stored.version })
        : await api.add(id, { ...words, key: stored?.words.key ?? words.key });
    go(`/operator/collections/${id}/entry?key=${encodeURIComponent(saved.key)}`, say("operator_saved"));
  });
  retire.addEventListener("click", () => {
    if (!confirm(say("operator_retire_sure"))) return;
    attempt(failure, async () => {
      await api.retire(id, stored.words.key, stored.version);
      go(`/operator/collections/${id}`, say("operator_retired_now"));
    }, [retire, save]);
  });
  return made;
}

function versions(found) {
  const shown = found.map(({ number, created_at: since, words }) =>
    h(
      "details",
      {},
      h("summary", {}, say("operator_version", { number, day: day(since) })),
      h("p", { class: "muted", dir: "auto" }, [words.question, ...words.phrasings].join(" · ")),
      h("div", { class: "text", dir: "auto" }, render(words.answer)),
    ),
  );
  return h("section", { class: "card" }, h("h3", {}, say("operator_versions")), shown);
}
