// The form of an entry: its words, how they read, and what is wrong with them.

import { render } from "../markdown.js";
import { say } from "../texts.js";
import { field, h } from "./dom.js";
import { lines } from "./forms.js";

const MAX_QUESTION_CHARS = 500;
const MAX_ANSWER_CHARS = 8000;

/** The form's fields for `words`, and `read()`, which gives the words as they stand in it. `named` shows the key. */
export function entryFields(words, { named = false, draft = null } = {}) {
  const question = h("input", { value: words.question, maxLength: MAX_QUESTION_CHARS, required: true, dir: "auto" });
  const phrasings = h("textarea", { value: words.phrasings.join("\n"), rows: 4, dir: "auto" });
  const answer = h("textarea", { value: words.answer, rows: 8, maxLength: MAX_ANSWER_CHARS, required: true, dir: "auto" });
  const preview = h("div", { class: "text preview", dir: "auto" });
  const tags = h("input", { value: words.tags.join(", "), autocomplete: "off", dir: "auto" });
  const language = h("input", { value: words.language, maxLength: 20, autocomplete: "off", class: "short" });
  const from = h("input", { type: "date", value: words.valid_from });
  const until = h("input", { type: "date", value: words.valid_until });
  const key = h("input", { value: words.key, maxLength: 100, autocomplete: "off", spellcheck: false });

  const shown = () => preview.replaceChildren(render(answer.value));
  answer.addEventListener("input", shown);
  shown();

  const elements = [
    field(say("operator_question"), question),
    field(say("operator_phrasings"), phrasings, say("operator_phrasings_hint")),
    draft ? draftNote(draft, answer, shown) : null,
    field(say("operator_answer"), answer, say("operator_answer_hint")),
    h("div", { class: "field" }, h("p", { class: "label" }, say("operator_preview")), preview),
    h(
      "div",
      { class: "row close" },
      field(say("operator_tags"), tags, say("operator_tags_hint")),
      field(say("operator_language"), language),
      field(say("operator_valid_from"), from),
      field(say("operator_valid_until"), until),
      named ? field(say("operator_entry_key"), key, say("operator_entry_key_hint")) : null,
    ),
  ];
  const read = () => ({
    key: key.value.trim(),
    question: question.value,
    phrasings: lines(phrasings.value),
    answer: answer.value,
    tags: tags.value.split(/[,，]/).map((tag) => tag.trim()).filter(Boolean),
    language: language.value,
    valid_from: from.value,
    valid_until: until.value,
  });
  return { elements, read };
}

/** Words to begin with, which are not the owner's: they stand apart until they are taken over. */
function draftNote({ text, source }, answer, shown) {
  const take = h("button", { type: "button" }, say("operator_draft_take"));
  take.addEventListener("click", () => {
    answer.value = text;
    shown();
    answer.focus();
  });
  return h(
    "div",
    { class: "draft" },
    h("p", {}, h("b", {}, say("operator_draft")), " ", say(`operator_draft_of_${source}`)),
    h("blockquote", { dir: "auto" }, text),
    take,
  );
}
