// The inbox: who waits for a human, or has one.

import { moment, say } from "../texts.js";
import { api } from "./api.js";
import { choice, field, h, link } from "./dom.js";
import { whileShown } from "./live.js";

export async function show(parameters, query, go) {
  const workspace = query.get("workspace") ?? "";
  const first = await api.handoffs({ workspace });
  const list = h("div", { class: "inbox" }, drawn(first.handoffs));
  let shown = JSON.stringify(first.handoffs);
  whileShown(list, async () => {
    const { handoffs } = await api.handoffs({ workspace });
    const now = JSON.stringify(handoffs);
    if (now !== shown) list.replaceChildren(drawn(handoffs));
    shown = now;
  });
  return [
    h("div", { class: "head" }, h("h2", {}, say("operator_handoffs")), h("p", { class: "muted" }, say("operator_handoffs_about"))),
    filter(workspace, first.workspaces, go),
    list,
  ];
}

function filter(workspace, workspaces, go) {
  if (workspaces.length < 2) return "";
  const chosen = choice([["", say("operator_any")], ...workspaces.map((name) => [name, name])], workspace);
  chosen.addEventListener("change", () => go(`/operator/handoffs?${new URLSearchParams({ workspace: chosen.value })}`));
  return h("div", { class: "card" }, field(say("operator_asked_in"), chosen));
}

function drawn(handoffs) {
  if (!handoffs.length) return h("p", { class: "empty" }, say("operator_no_handoffs"));
  return h("ul", { class: "entries" }, handoffs.map(row));
}

function row(each) {
  const facts = [say(`operator_why_${each.why}`), say("operator_since", { moment: moment(each.requested_at) }), each.workspace];
  return h(
    "li",
    { "data-state": each.state },
    link(`/operator/handoffs/${each.handoff_id}`, each.words || each.person || say("operator_handoff_person"), { dir: "auto" }),
    h("span", { class: "muted" }, [each.person, ...facts].filter(Boolean).join(" · ")),
    h("span", { class: `badge ${each.state}` }, stands(each)),
  );
}

/** How a hand-off stands, in a few words. */
export function stands(each) {
  if (each.state === "requested") return say("operator_handoff_waits");
  if (each.state === "claimed") return say("operator_handoff_has", { name: each.staff || say("operator_handoff_somebody") });
  return say("operator_handoff_over");
}
