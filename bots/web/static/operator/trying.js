// A question tried: what would be done with it, why, and what a person would read.

import { render } from "../markdown.js";
import { number, percent, say } from "../texts.js";
import { api } from "./api.js";
import { collectionChoices, named, workspaceChoices } from "./collections.js";
import { choice, field, h, link } from "./dom.js";
import { submitting } from "./forms.js";

export async function show(parameters, query) {
  const { collections, workspaces } = await api.collections();
  const text = h("input", { required: true, maxLength: 2000, value: query.get("text") ?? "", dir: "auto", autocomplete: "off" });
  const workspace = choice(workspaceChoices(workspaces), "");
  const collection = choice(
    [["", say("operator_every_collection")], ...collectionChoices(collections)],
    query.get("collection") ?? "",
  );
  const failure = h("p", { class: "failure", role: "alert" });
  const result = h("div", { class: "tried", "aria-live": "polite" });
  const form = h(
    "form",
    { class: "card" },
    field(say("operator_try_question"), text),
    h("div", { class: "row" }, field(say("operator_try_in"), collection), field(say("operator_try_for"), workspace, say("operator_try_for_hint"))),
    failure,
    h("div", { class: "buttons" }, h("button", { class: "primary", type: "submit" }, say("operator_try_do"))),
  );
  submitting(form, failure, async () => {
    result.replaceChildren();
    const id = collection.value ? Number(collection.value) : null;
    const told = await api.try({ text: text.value, workspace: workspace.value, collection_id: id });
    result.replaceChildren(...drawn(told, collections));
  });
  return [h("div", { class: "head" }, h("h2", {}, say("operator_try")), h("p", { class: "muted" }, say("operator_try_more"))), form, result];
}

function drawn({ told, reason, tried }, collections) {
  const collection = collections.find((each) => each.collection_id === tried.collection_id);
  return [
    h(
      "section",
      { class: `card outcome ${tried.outcome}` },
      h("h3", {}, told),
      h("p", { class: "muted" }, reason),
      h("p", { class: "label" }, say("operator_shown")),
      h("div", { class: "text shown" }, shown(tried)),
    ),
    h(
      "section",
      { class: "card" },
      h("h3", {}, say("operator_scores")),
      h("dl", { class: "facts" }, facts(tried, collection).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      tried.matches.length ? h("div", { class: "table", tabIndex: 0 }, matches(tried)) : h("p", { class: "empty" }, say("operator_nothing_near")),
    ),
  ];
}

/** What a person would read, in the words of the bots. */
function shown({ outcome, reason, matches: found, offered }) {
  const questions = h("ol", {}, found.slice(0, offered).map((each) => h("li", { dir: "auto" }, each.question)));
  if (outcome === "answer") {
    return [render(found[0].answer), h("p", { class: "muted", dir: "auto" }, say("faq_source", { question: found[0].question }))];
  }
  if (outcome === "ask") return [h("p", {}, say("faq_which")), questions];
  if (outcome === "ground") return [h("p", {}, say("operator_shown_ground")), questions];
  return [
    h("p", {}, say(reason === "no_collection" ? "faq_none" : "faq_unknown")),
    h("p", { class: "muted" }, say("operator_shown_abstain")),
  ];
}

function facts(tried, collection) {
  const { answer, ask, ground } = tried.thresholds;
  const needed = (share) => (share > 1 ? say("operator_never") : say("operator_needed", { sure: percent(share) }));
  return [
    [say("operator_fact_first"), `${percent(tried.first)} (${needed(answer)})`],
    [say("operator_fact_among"), `${percent(tried.among)} (${say("operator_needed_two", { ask: percent(ask), ground: percent(ground) })})`],
    [say("operator_fact_collection"), collection ? named(collection) : tried.collection || "–"],
    [say("operator_fact_mode"), say(`operator_mode_${tried.mode.split("-")[0]}`)],
    [say("operator_fact_source"), say(`operator_from_${tried.source}`)],
  ];
}

function matches(tried) {
  const id = tried.collection_id;
  const heads = ["sure", "question", "nearest", "score", "words", "meaning"].map((name) => h("th", { scope: "col" }, say(`operator_match_${name}`)));
  const rows = tried.matches.map((each) =>
    h(
      "tr",
      {},
      h("td", {}, percent(each.probability)),
      h("td", { dir: "auto" }, id ? link(`/operator/collections/${id}/entry?key=${encodeURIComponent(each.key)}`, each.question) : each.question),
      h("td", { dir: "auto" }, each.nearest),
      h("td", {}, number(each.score, 2)),
      h("td", {}, number(each.lexical, 2)),
      h("td", {}, each.dense === null ? "–" : number(each.dense, 2)),
    ),
  );
  return h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
}
