// The form that asks for the key.

import { say } from "../texts.js";
import { api } from "./api.js";
import { field, h } from "./dom.js";
import { submitting } from "./forms.js";

/** The form; `done` is called once one is signed in. */
export function signInForm(done, sentence) {
  const key = h("input", { type: "password", autocomplete: "current-password", required: true });
  const failure = h("p", { class: "failure", role: "alert" }, sentence);
  const form = h(
    "form",
    { class: "card narrow" },
    h("h2", {}, say("operator_sign_in")),
    h("p", { class: "muted" }, say("operator_sign_in_more")),
    h("pre", {}, h("code", {}, "pajama operator link")),
    field(say("operator_key"), key),
    failure,
    h("div", { class: "buttons" }, h("button", { class: "primary", type: "submit" }, say("operator_sign_in"))),
  );
  submitting(form, failure, async () => {
    await api.signIn({ key: key.value });
    done();
  });
  return form;
}
