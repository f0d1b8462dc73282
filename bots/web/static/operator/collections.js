// All collections, and a new one.

import { day, number, say } from "../texts.js";
import { api } from "./api.js";
import { choice, field, h, link, rated } from "./dom.js";
import { submitting } from "./forms.js";

export const RATED = { never: say("operator_never_given"), given: say("operator_given") };

export async function show(parameters, query, go) {
  const { collections, workspaces } = await api.collections();
  const cards = collections.map(card);
  return [
    h("div", { class: "head" }, h("h2", {}, say("operator_collections"))),
    cards.length ? h("ul", { class: "cards" }, cards) : h("p", { class: "empty" }, say("operator_no_collections")),
    newCollection(workspaces, go),
  ];
}

function card(each) {
  const facts = [
    say("operator_entries_count", { count: number(each.entries) }),
    each.language,
    each.calibrated ? say("operator_calibrated") : say("operator_not_calibrated"),
    say("operator_changed_on", { day: day(each.updated_at) }),
  ];
  return h(
    "li",
    { class: "card" },
    h("h3", {}, link(`/operator/collections/${each.collection_id}`, each.name)),
    h("p", { class: "muted" }, scope(each.workspace)),
    h("p", {}, facts.filter(Boolean).join(" · ")),
    h("p", {}, rated(each.rated, RATED)),
  );
}

/** Who sees a collection. */
export function scope(workspace) {
  return workspace ? say("operator_scope_of", { workspace }) : say("operator_scope_all");
}

/** A collection's name, and whose it is where not everybody sees it: a name may be there once for each Workspace. */
export function named(each) {
  return each.workspace ? `${each.name} (${each.workspace})` : each.name;
}

/** The choices of collections. */
export function collectionChoices(collections) {
  return collections.map((each) => [String(each.collection_id), named(each)]);
}

/** The choices of Workspaces, everybody first. */
export function workspaceChoices(workspaces) {
  return [["", say("operator_scope_all")], ...workspaces.map((name) => [name, name])];
}

function newCollection(workspaces, go) {
  const name = h("input", { required: true, maxLength: 80, autocomplete: "off", spellcheck: false });
  const workspace = choice(workspaceChoices(workspaces), "");
  const language = h("input", { maxLength: 20, placeholder: "en", autocomplete: "off", class: "short" });
  const failure = h("p", { class: "failure", role: "alert" });
  const form = h(
    "form",
    { class: "card" },
    h("h3", {}, say("operator_new_collection")),
    h(
      "div",
      { class: "row" },
      field(say("operator_name"), name, say("operator_name_hint")),
      field(say("operator_scope"), workspace),
      field(say("operator_language"), language),
    ),
    failure,
    h("div", { class: "buttons" }, h("button", { class: "primary", type: "submit" }, say("operator_create"))),
  );
  submitting(form, failure, async () => {
    const given = { name: name.value, workspace: workspace.value, language: language.value };
    const made = await api.create(given);
    go(`/operator/collections/${made.collection_id}/import`);
  });
  return form;
}
