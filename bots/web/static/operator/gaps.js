// What people asked and no entry answered: looked through, and made into entries.

import { day, number, say } from "../texts.js";
import { api } from "./api.js";
import { collectionChoices, named } from "./collections.js";
import { choice, field, h, link } from "./dom.js";
import { entryFields } from "./entry_form.js";
import { attempt, done, submitting } from "./forms.js";

export async function show(parameters, query, go) {
  const asked = { workspace: query.get("workspace") ?? "", collection: query.get("collection") ?? "", days: query.get("days") ?? "30" };
  const { collections, workspaces } = await api.collections();
  const report = await api.gaps(asked);
  const bounded = report.complete ? "" : say("operator_gaps_bounded");
  const more = report.more ? say("operator_gaps_more", { count: number(report.more) }) : "";
  return [
    h("div", { class: "head" }, h("h2", {}, say("operator_gaps")), h("p", { class: "muted" }, say("operator_gaps_about"))),
    filters(asked, collections, workspaces, go),
    h("p", { class: "muted" }, [say("operator_gaps_count", { count: number(report.questions) }), more, bounded].filter(Boolean).join(" ")),
    report.gaps.length ? h("ol", { class: "gaps" }, report.gaps.map((gap) => gapItem(gap, collections))) : h("p", { class: "empty" }, say("operator_no_gaps")),
  ];
}

function filters(asked, collections, workspaces, go) {
  const days = choice([["7", say("operator_days", { days: 7 })], ["30", say("operator_days", { days: 30 })], ["365", say("operator_days", { days: 365 })], ["0", say("operator_ever")]], asked.days);
  const collection = choice([["", say("operator_any")], ...collectionChoices(collections)], asked.collection);
  const workspace = choice([["", say("operator_any")], ...workspaces.map((name) => [name, name])], asked.workspace);
  const form = h("form", { class: "row card" }, field(say("operator_asked_since"), days), field(say("operator_nearest_in"), collection), field(say("operator_asked_in"), workspace));
  form.addEventListener("change", () => {
    const query = new URLSearchParams({ days: days.value, collection: collection.value, workspace: workspace.value });
    go(`/operator/gaps?${query}`);
  });
  return form;
}

function gapItem(gap, collections) {
  const item = h("li", { class: "card" });
  const outcomes = Object.entries(gap.outcomes).map(([name, count]) => `${say(`operator_gap_${name}`)} ${number(count)}`);
  const open = h("button", { type: "button", "aria-expanded": "false" }, say("operator_write_entry"));
  const place = h("div", {});
  open.addEventListener("click", () => {
    const opened = open.getAttribute("aria-expanded") === "true";
    open.setAttribute("aria-expanded", String(!opened));
    place.replaceChildren(...(opened ? [] : [acceptForm(gap, collections, item)]));
    if (!opened) place.querySelector("input, select, textarea")?.focus();
  });
  const failure = h("p", { class: "failure", role: "alert" });
  const dismissal = h("button", { type: "button" }, say("operator_dismiss_gap"));
  dismissal.addEventListener("click", () =>
    attempt(failure, async () => {
      await api.dismiss(gap.turn_ids);
      dismissed(item);
    }, [dismissal, open]),
  );
  const told = say("operator_gap_asked", { count: number(gap.count), people: number(gap.people), day: day(gap.last_asked_at) });
  item.append(
    h("h3", { dir: "auto" }, gap.question),
    h("p", { class: "muted" }, [told, ...outcomes, gap.language].filter(Boolean).join(" · ")),
    gap.nearest ? h("p", { class: "muted", dir: "auto" }, say("operator_gap_nearest", { question: gap.nearest.question, collection: nearestName(gap, collections) })) : "",
    examples(gap),
    h("div", { class: "buttons" }, dismissal, open),
    failure,
    place,
  );
  return item;
}

function nearestName({ nearest }, collections) {
  const collection = collections.find((each) => each.collection_id === nearest.collection_id);
  return collection ? named(collection) : nearest.collection;
}

function examples(gap) {
  const others = [...new Set(gap.examples.map((each) => each.text))].filter((text) => text !== gap.question);
  if (!others.length) return "";
  return h("details", {}, h("summary", {}, say("operator_examples")), h("ul", {}, others.map((text) => h("li", { dir: "auto" }, text))));
}

function acceptForm(gap, collections, item) {
  if (!collections.length) return h("p", { class: "empty" }, say("operator_no_collections"));
  const words = { key: "", question: gap.question, phrasings: gap.phrasings, answer: "", tags: [], language: gap.language, valid_from: "", valid_until: "" };
  const { elements, read } = entryFields(words, { draft: gap.draft });
  const nearest = collections.find((each) => each.collection_id === gap.nearest?.collection_id);
  const collection = choice(collectionChoices(collections), String((nearest ?? collections[0]).collection_id));
  const failure = h("p", { class: "failure", role: "alert" });
  const save = h("button", { class: "primary", type: "submit" }, say("operator_accept"));
  const extend = h("button", { type: "button" }, say("operator_extend"));
  const form = h("form", { class: "accept" }, field(say("operator_collection"), collection), elements, failure, h("div", { class: "buttons" }, nearest ? extend : null, save));
  submitting(form, failure, async () => {
    const saved = await api.add(Number(collection.value), read());
    accepted(item, collection.value, saved);
  });
  extend.addEventListener("click", () =>
    attempt(failure, async () => {
      const { question, phrasings } = read();
      const saved = await api.extend(nearest.collection_id, gap.nearest.key, [question, ...phrasings]);
      accepted(item, String(nearest.collection_id), saved);
    }, [save, extend]),
  );
  return form;
}

function dismissed(item) {
  const note = h("p", { class: "note" });
  const heading = item.querySelector("h3");
  heading.tabIndex = -1;
  item.replaceChildren(heading, note);
  heading.focus();
  done(note, say("operator_dismissed"));
}

function accepted(item, collectionId, saved) {
  const note = h("p", { class: "note" });
  const where = `/operator/collections/${collectionId}/entry?key=${encodeURIComponent(saved.key)}`;
  const heading = item.querySelector("h3");
  heading.tabIndex = -1;
  item.replaceChildren(heading, note, h("p", {}, link(where, say("operator_look_at_entry"))));
  item.classList.add("accepted");
  heading.focus();
  done(note, say("operator_accepted"));
}
