// What all forms do: send once at a time, say what is wrong, and tell a screen reader what was done.

import { announceNow } from "../announcer.js";
import { h } from "./dom.js";

/** Encodings that a file may have; without one it says so itself, by its first bytes. */
export const ENCODINGS = [["", "UTF-8 / UTF-16"], ["gb18030", "GB18030 (GBK)"], ["big5", "Big5"], ["shift_jis", "Shift JIS"],
  ["euc_kr", "EUC-KR"], ["cp1252", "Windows-1252"], ["cp1251", "Windows-1251"]];

/** Run `send` when the form is submitted; what is refused stands in `failure`, each problem on a line of its own. */
export function submitting(form, failure, send) {
  form.noValidate = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await attempt(failure, () => send(event.submitter), form.querySelectorAll("button"));
  });
}

/** Run `action` with `buttons` at rest meanwhile; what is refused stands in `failure`. Whether it was done. */
export async function attempt(failure, action, buttons = []) {
  failure.replaceChildren();
  for (const button of buttons) button.disabled = true;
  try {
    await action();
    return true;
  } catch (error) {
    failure.replaceChildren(...told(error));
    failure.scrollIntoView({ block: "nearest" });
    return false;
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

/** An error as elements: its sentence, and what is wrong with a file or an entry. */
function told(error) {
  if (!error.code) throw error; // a mistake of ours, to be seen in the console
  const lines = (error.problems ?? []).map(({ line, text }) =>
    h("li", {}, line ? h("b", {}, `${line}: `) : null, h("span", { dir: "auto" }, text)),
  );
  return [h("span", {}, error.message), lines.length ? h("ul", { class: "problems" }, lines) : ""];
}

/** Say that something was done, in `place` and aloud. */
export function done(place, sentence) {
  place.replaceChildren(sentence);
  announceNow(sentence);
}

/** The lines of a text box, without empty ones. */
export function lines(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}
