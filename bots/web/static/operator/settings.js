// What is set for a Workspace: one form a setting, so that one that is refused keeps no other from being saved.

import { say } from "../texts.js";
import { api } from "./api.js";
import { choice, field, h } from "./dom.js";
import { done, submitting } from "./forms.js";

export async function show(parameters, query, go) {
  const { workspace, workspaces, settings } = await api.settings(query.get("workspace") ?? "");
  const chosen = choice(workspaces.map((name) => [name, name]), workspace);
  chosen.addEventListener("change", () => go(`/operator/settings?workspace=${encodeURIComponent(chosen.value)}`));
  return [
    h("div", { class: "head" }, h("h2", {}, say("operator_settings")), h("p", { class: "muted" }, say("operator_settings_about"))),
    h("div", { class: "card" }, field(say("operator_workspace"), chosen, say("operator_workspace_hint"))),
    h("div", { class: "settings" }, settings.map((each) => settingForm(workspace, each))),
  ];
}

function settingForm(workspace, { name, meaning, kind, choices, value }) {
  const control = controlOf(kind, choices, value);
  const failure = h("p", { class: "failure", role: "alert" });
  const note = h("p", { class: "note" });
  const save = h("button", { type: "submit", "aria-label": say("operator_save_setting", { name }) }, say("operator_save"));
  const form = h("form", { class: "card setting" }, field(meaning, control, name), h("div", { class: "buttons" }, note, save), failure);
  submitting(form, failure, async () => {
    note.replaceChildren();
    await api.set({ workspace, name, value: control.value || null });
    done(note, control.value ? say("operator_saved") : say("operator_default_again"));
  });
  return form;
}

function controlOf(kind, choices, value) {
  if (kind === "choice") return choice([["", say("operator_default")], ...choices.map((each) => [each, each])], value ?? "");
  if (kind === "text") return h("textarea", { value: value ?? "", rows: 4, dir: "auto" });
  const properties = kind === "number" ? { type: "number", min: 1, class: "short" } : { type: "text", dir: "auto" };
  return h("input", { ...properties, value: value ?? "", placeholder: say("operator_default"), autocomplete: "off" });
}
