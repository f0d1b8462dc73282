// The two dialogs: a comment on an answer, and why it was answered so.

import { api } from "./api.js";
import { number, say } from "./texts.js";

const feedback = document.getElementById("feedback");
const why = document.getElementById("why");
const comment = feedback.querySelector("textarea");
const failure = feedback.querySelector(".failure");

/** Ask for a comment on a rating and send it with `send(comment)`; stays open with the reason where that fails. */
export function askComment(send) {
  comment.value = "";
  failure.textContent = "";
  feedback.onsubmit = async (event) => {
    event.preventDefault();
    try {
      await send(comment.value);
      feedback.close();
    } catch (error) {
      failure.textContent = error.message;
    }
  };
  feedback.showModal();
  comment.focus();
}

/** Show the prompt, tokens, timings, model and FAQ entries behind the Turn's answer. Throws ApiError. */
export async function showWhy(turnId) {
  const told = await api.why(turnId);
  why.querySelector(".facts").replaceChildren(...facts(told).map(([label, value]) => pair(label, value)));
  why.querySelector(".decided").replaceChildren(...told.decided.map(({ name, value }) => pair(name, value)));
  why.querySelector(".left-out").textContent = told.notes.join(" ");
  why.querySelector("ol").replaceChildren(...told.messages.map(message));
  why.querySelector("h3").hidden = !told.messages.length;
  why.showModal();
}

function facts({ answer, recipe, recipe_version: version, sampling, budget, messages }) {
  const { usage, timings_ms: timings } = answer;
  const ms = (name) => (timings[name] === undefined ? "–" : say("web_ms", { ms: number(timings[name]) }));
  const asked = [
    [say("web_why_recipe_version"), version],
    [say("web_why_prompt_tokens"), say("web_why_of_budget", { tokens: number(usage.prompt_tokens), budget: number(budget) })],
    [say("web_why_cached_tokens"), number(usage.cached_tokens)],
    [say("web_why_completion_tokens"), number(usage.completion_tokens)],
  ];
  return [
    [say("why_model"), answer.model],
    [say("web_why_revision"), answer.model_revision],
    [say("why_recipe"), recipe],
    ...(messages.length ? asked : []), // else no model was
    [say("web_why_queue"), ms("queue")],
    [say("web_why_first_token"), ms("first_token")],
    [say("web_why_total"), ms("total")],
    ...Object.entries(sampling).map(([name, value]) => [name, shown(value)]),
  ];
}

function shown(value) {
  if (value === null || (Array.isArray(value) && !value.length)) return "–";
  return typeof value === "number" ? number(value, 3) : String(value);
}

function pair(label, value) {
  const box = document.createElement("div");
  box.append(
    Object.assign(document.createElement("dt"), { textContent: label }),
    Object.assign(document.createElement("dd"), { textContent: value || "–" }),
  );
  return box;
}

function message({ role, text }) {
  const item = document.createElement("li");
  const words = Object.assign(document.createElement("p"), { textContent: text, dir: "auto" });
  item.append(Object.assign(document.createElement("h4"), { textContent: say(`web_role_${role}`) }), words);
  return item;
}

for (const dialog of [feedback, why]) {
  const closer = dialog.querySelector('[value="cancel"], [value="close"]');
  closer.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
