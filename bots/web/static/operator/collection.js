// One collection: its entries, to be looked through, and the way to everything that can be done with it.

import { number, say } from "../texts.js";
import { api } from "./api.js";
import { RATED, scope } from "./collections.js";
import { choice, h, link, rated } from "./dom.js";
import { attempt } from "./forms.js";

/** The head of every page of a collection. `current` is the tab that is shown. */
export function head(each, current) {
  const root = `/operator/collections/${each.collection_id}`;
  const tabs = [
    ["", say("operator_entries")],
    ["/import", say("operator_import_export")],
    ["/risk", say("operator_risk")],
  ];
  return h(
    "div",
    { class: "head" },
    h("p", { class: "crumbs" }, link("/operator", say("operator_collections"))),
    h("h2", { dir: "auto" }, each.name),
    h("p", { class: "muted" }, `${scope(each.workspace)} · ${say("operator_entries_count", { count: number(each.entries) })}`),
    h(
      "nav",
      { class: "tabs", "aria-label": each.name },
      tabs.map(([path, words]) => link(root + path, words, { "aria-current": path === current ? "page" : null })),
    ),
  );
}

export async function show([id], query, go) {
  const each = await api.collection(id);
  const asked = { words: query.get("words") ?? "", tag: query.get("tag") ?? "", page: Number(query.get("page") ?? 0) };
  const found = await api.entries(id, asked);
  return [
    head(each, ""),
    searchForm(id, asked, found, go),
    found.entries.length
      ? h("ul", { class: "entries" }, found.entries.map((row) => entryRow(id, row)))
      : h("p", { class: "empty" }, each.entries ? say("operator_nothing_found") : say("operator_no_entries")),
    pages(id, asked, found),
    removal(each, go),
  ];
}

function searchForm(id, asked, found, go) {
  const words = h("input", { type: "search", value: asked.words, placeholder: say("operator_search"), "aria-label": say("operator_search") });
  const tags = choice(
    [["", say("operator_all_tags")], ...found.tags.map((tag) => [tag, tag])],
    asked.tag,
    { "aria-label": say("operator_tag") },
  );
  const form = h(
    "form",
    { class: "bar", role: "search" },
    words,
    found.tags.length ? tags : null,
    h("button", { type: "submit" }, say("operator_search_do")),
    link(`/operator/collections/${id}/entry`, say("operator_add_entry"), { class: "button primary" }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go(address(id, { words: words.value, tag: tags.value }));
  });
  tags.addEventListener("change", () => form.requestSubmit());
  return form;
}

function address(id, asked) {
  const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value));
  return `/operator/collections/${id}${query.size ? `?${query}` : ""}`;
}

function entryRow(id, row) {
  const facts = [
    row.phrasings > 1 ? say("operator_phrasings_count", { count: number(row.phrasings) }) : "",
    row.language,
    ...row.tags,
    row.valid_until ? say("operator_until", { day: row.valid_until }) : "",
  ];
  return h(
    "li",
    {},
    link(`/operator/collections/${id}/entry?key=${encodeURIComponent(row.key)}`, row.question, { dir: "auto" }),
    h("span", { class: "muted" }, facts.filter(Boolean).join(" · ")),
    rated(row.rated, RATED),
  );
}

function pages(id, asked, found) {
  const last = Math.ceil(found.found / found.per_page) - 1;
  if (last < 1) return "";
  const to = (page, words) => (page < 0 || page > last ? "" : link(address(id, { ...asked, page }), words));
  return h(
    "p",
    { class: "pages" },
    to(asked.page - 1, say("operator_previous")),
    h("span", {}, say("operator_page_of", { page: number(asked.page + 1), pages: number(last + 1) })),
    to(asked.page + 1, say("operator_next")),
  );
}

function removal(each, go) {
  const failure = h("p", { class: "failure", role: "alert" });
  const button = h("button", { type: "button", class: "danger" }, say("operator_remove_collection"));
  button.addEventListener("click", () => {
    if (!confirm(say("operator_remove_sure", { name: each.name, count: number(each.entries) }))) return;
    attempt(failure, async () => {
      await api.remove(each.collection_id);
      go("/operator", say("operator_removed"));
    }, [button]);
  });
  return h("details", { class: "more" }, h("summary", {}, say("operator_more")), button, failure);
}
