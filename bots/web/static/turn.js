// One Turn on the page: what was said, its answer, its buttons. Draws what it is given and asks nothing of the server.

import { render } from "./markdown.js";
import { say } from "./texts.js";

const template = document.getElementById("turn");

/** The element of one Turn. `state` is `sending`, `queued`, `running`, `done`, `failed` or `cancelled`. */
export class TurnElement {
  constructor(text) {
    this.root = template.content.firstElementChild.cloneNode(true);
    this.text = text;
    this.answer = "";
    this.rating = null;
    this.root.querySelector("h2").textContent = say("web_turn", { text: text.slice(0, 60) });
    this.root.querySelector(".said").textContent = text;
    this.body = this.root.querySelector(".text");
    this.lead = this.root.querySelector(".lead");
    this.choices = this.root.querySelector(".choices");
    this.sources = this.root.querySelector(".sources");
    this.status = this.root.querySelector(".status");
    this.actions = this.root.querySelector(".actions");
    this.mark("sending");
  }

  get open() {
    return ["sending", "queued", "running"].includes(this.state);
  }

  /** Show `turn` as the server tells it. */
  show(turn) {
    this.id = turn.turn_id;
    this.root.dataset.turn = turn.turn_id;
    this.mark(turn.state);
    if (turn.purged) this.write(this.answer); // of which the server has nothing any more
    else if (turn.answer || !this.open) this.write(turn.answer?.text ?? this.answer);
    this.find(turn.finding);
    this.rate(turn.answer?.rating ?? null);
    this.status.replaceChildren(turn.failure?.message ?? turn.status ?? "");
    this.actions.hidden = this.open || (turn.failure && !turn.answer); // the failure has its own button
    for (const action of ["copy", "up", "down", "why"]) this.button(action).hidden = !turn.answer;
    if (!this.answer) this.button("copy").hidden = true;
    if (turn.purged) for (const action of ["copy", "regenerate"]) this.button(action).hidden = true;
    if (turn.failure) this.status.append(retryButton());
  }

  /** Show what a FAQ gave: the sentence above the answer, what may be chosen, what it is from. */
  find(finding) {
    this.lead.textContent = finding?.lead ?? "";
    this.choices.replaceChildren(...(finding?.choices ?? []).map(choiceButton));
    this.sources.replaceChildren(...(finding?.sources ?? []).map(source));
  }

  /** The answer as it is read aloud. */
  get spoken() {
    const told = (part) => part.innerText.trim();
    return [told(this.lead), this.answer, told(this.choices), told(this.sources)].filter(Boolean).join("\n");
  }

  /** Show `text` as the whole answer so far. */
  write(text) {
    this.answer = text;
    this.body.replaceChildren(render(text));
    if (this.open && text) this.mark("running");
    this.root.classList.toggle("waiting", this.open && !text);
  }

  /** Show where the Turn stands. */
  mark(state, status = "") {
    this.state = state;
    this.status.textContent = status;
    this.root.dataset.state = state;
    this.root.setAttribute("aria-busy", String(this.open));
    this.root.classList.toggle("streaming", state === "running");
    this.root.classList.toggle("waiting", this.open && !this.answer);
    this.root.classList.toggle("failed", state === "failed");
    this.actions.hidden = this.open;
  }

  rate(rating) {
    this.rating = rating;
    for (const thumb of ["up", "down"]) this.button(thumb).setAttribute("aria-pressed", String(rating === thumb));
  }

  button(action) {
    return this.actions.querySelector(`[data-do="${action}"]`);
  }
}

function choiceButton({ entry_id: entryId, question }) {
  const button = document.createElement("button");
  button.type = "button";
  button.dir = "auto";
  button.dataset.do = "choose";
  button.dataset.entry = entryId;
  button.textContent = question;
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function source(text) {
  return Object.assign(document.createElement("li"), { dir: "auto", textContent: text });
}

function retryButton() {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.do = "regenerate";
  button.textContent = say("web_retry");
  return button;
}
