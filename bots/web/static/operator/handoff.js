// One hand-off: what was said, and what one of staff does: claim it, write to the person, give it back.

import { announceNow } from "../announcer.js";
import { render } from "../markdown.js";
import { moment, say } from "../texts.js";
import { api } from "./api.js";
import { field, h, link } from "./dom.js";
import { attempt, submitting } from "./forms.js";
import { stands } from "./handoffs.js";
import { whileShown } from "./live.js";

const NAME = "pajama-staff-name";
const NEAR_END_PX = 80;

export async function show([id]) {
  const first = await api.handoff(id);
  const log = h("ol", { class: "log", "aria-label": say("operator_transcript"), tabIndex: 0 });
  const badge = h("span", { class: "badge", role: "status" });
  const desk = deskOf(id, draw);
  let shown = [];

  function draw({ handoff, said }) {
    badge.className = `badge ${handoff.state}`;
    const now = stands(handoff);
    if (badge.textContent !== now) badge.textContent = now; // a live region: it is read aloud
    desk.stand(handoff);
    shown = drawLines(log, shown, said);
  }

  draw(first);
  whileShown(log, async () => draw(await api.handoff(id)));
  setTimeout(() => (log.scrollTop = log.scrollHeight));
  return [head(first.handoff, badge), log, desk.element];
}

function head(each, badge) {
  const facts = [say(`operator_why_${each.why}`), say("operator_since", { moment: moment(each.requested_at) }), each.workspace];
  return h(
    "div",
    { class: "head" },
    h("p", { class: "crumbs" }, link("/operator/handoffs", say("operator_handoffs"))),
    h("h2", { dir: "auto" }, each.person || say("operator_handoff_person")),
    h("p", { class: "muted" }, facts.join(" · ")),
    badge,
  );
}

/** Show what is new; all of it anew where something of before is not the same any more. Returns what is shown. */
function drawLines(log, shown, said) {
  const keys = said.map((line) => JSON.stringify([line.seq, line.speaker, line.text]));
  const same = shown.every((key, i) => key === keys[i]);
  if (same && keys.length === shown.length) return shown;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX;
  const fresh = same ? said.slice(shown.length) : said;
  if (!same) log.replaceChildren();
  log.append(...fresh.map(line));
  if (atEnd) log.scrollTop = log.scrollHeight;
  const heard = shown.length && same ? fresh.filter((each) => each.speaker === "person") : [];
  if (heard.length) announceNow(heard.map((each) => `${each.name}: ${each.text}`).join("\n"));
  return keys;
}

/** People's words are text; the assistant's are Markdown, as the person sees them. */
function line(each) {
  const words = each.speaker === "assistant" ? h("div", { class: "text" }, render(each.text)) : h("p", {}, each.text);
  words.dir = "auto";
  const when = h("time", { dateTime: each.said_at }, moment(each.said_at));
  return h("li", { "data-speaker": each.speaker }, h("p", { class: "who" }, each.name, " ", when), words);
}

/** What one may do; `draw` shows what came of it. */
function deskOf(id, draw) {
  const name = h("input", { value: localStorage.getItem(NAME) ?? "", required: true, maxLength: 80, autocomplete: "name" });
  const text = h("textarea", { rows: 3, dir: "auto", required: true });
  const words = field(say("operator_handoff_words"), text, say("operator_handoff_words_hint"));
  const failure = h("p", { class: "failure", role: "alert" });
  const claim = h("button", { class: "primary", type: "button" }, say("operator_claim"));
  const send = h("button", { class: "primary", type: "submit" }, say("operator_send"));
  const release = h("button", { type: "button" });
  const over = h("p", { class: "note" });
  const form = h("form", { class: "card" }, words, field(say("operator_staff_name"), name, say("operator_staff_name_hint")), failure, h("div", { class: "buttons" }, release, claim, send));
  let eventId = newEventId();

  async function act(action) {
    if (!name.reportValidity()) return;
    localStorage.setItem(NAME, name.value.trim());
    await attempt(failure, async () => draw(await action(name.value)), form.querySelectorAll("button"));
  }

  claim.addEventListener("click", async () => {
    await act((who) => api.claim(id, who));
    if (!words.hidden) text.focus();
  });
  release.addEventListener("click", () => act((who) => api.release(id, who)));
  submitting(form, failure, async () => {
    localStorage.setItem(NAME, name.value.trim());
    const told = await api.write(id, { name: name.value, text: text.value, event_id: eventId });
    eventId = newEventId();
    text.value = "";
    draw(told);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit(send);
  });

  function stand({ state, cause }) {
    claim.hidden = state !== "requested";
    words.hidden = send.hidden = state !== "claimed";
    text.disabled = words.hidden;
    release.textContent = state === "claimed" ? say("operator_release") : say("operator_dismiss_handoff");
    form.hidden = state === "released";
    over.textContent = state === "released" ? say(`operator_ended_${cause}`) : "";
  }

  return { element: h("div", { class: "handoff" }, form, over), stand };
}

function newEventId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
