// What the operators' page asks of the server. Knows addresses and failures; knows no elements.

import { ApiError } from "../api.js";
import { say } from "../texts.js";

const ROOT = "/operator/api";

async function call(method, path, { json, file, query } = {}) {
  const options = { method };
  if (json !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(json);
  } else if (file !== undefined) {
    options.headers = { "Content-Type": "application/octet-stream" };
    options.body = file;
  }
  const asked = new URLSearchParams(Object.entries(query ?? {}).filter(([, value]) => value !== "" && value !== null));
  let response;
  try {
    response = await fetch(`${ROOT}${path}${asked.size ? `?${asked}` : ""}`, options);
  } catch {
    throw new ApiError("offline", say("operator_offline"), 0);
  }
  const answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const { code = "error", message = say("operator_offline"), problems = [] } = answer.error ?? {};
  if (response.status === 401 && code === "sign_in") window.dispatchEvent(new Event("signed-out"));
  throw Object.assign(new ApiError(code, message, response.status), { problems });
}

const of = (id) => `/collections/${id}`;

export const api = {
  session: () => call("GET", "/session"),
  signIn: (given) => call("POST", "/session", { json: given }),
  signOut: () => call("DELETE", "/session"),
  collections: () => call("GET", "/collections"),
  create: (given) => call("POST", "/collections", { json: given }),
  collection: (id) => call("GET", of(id)),
  remove: (id) => call("DELETE", of(id)),
  entries: (id, query) => call("GET", `${of(id)}/entries`, { query }),
  add: (id, words) => call("POST", `${of(id)}/entries`, { json: words }),
  entry: (id, key) => call("GET", `${of(id)}/entry`, { query: { key } }),
  change: (id, key, words) => call("PUT", `${of(id)}/entry`, { query: { key }, json: words }),
  retire: (id, key, version) => call("DELETE", `${of(id)}/entry`, { query: { key, version } }),
  extend: (id, key, phrasings) => call("POST", `${of(id)}/entry/phrasings`, { query: { key }, json: { phrasings } }),
  import: (id, file, query) => call("POST", `${of(id)}/import`, { file, query: { name: file.name, ...query } }),
  exportPath: (id, form) => `${ROOT}${of(id)}/export?form=${form}`,
  risk: (id) => call("GET", `${of(id)}/risk`),
  measure: (id, given) => call("POST", `${of(id)}/risk`, { json: given }),
  evaluate: (id, file, query) => call("POST", `${of(id)}/evaluation`, { file, query: { name: file.name, ...query } }),
  try: (given) => call("POST", "/try", { json: given }),
  gaps: (query) => call("GET", "/gaps", { query }),
  dismiss: (turnIds) => call("POST", "/gaps/dismiss", { json: { turn_ids: turnIds } }),
  handoffs: (query) => call("GET", "/handoffs", { query }),
  handoff: (id) => call("GET", `/handoffs/${id}`),
  claim: (id, name) => call("POST", `/handoffs/${id}/claim`, { json: { name } }),
  write: (id, given) => call("POST", `/handoffs/${id}/words`, { json: given }),
  release: (id, name) => call("POST", `/handoffs/${id}/release`, { json: { name } }),
  looksPath: `${ROOT}/handoffs/events`,
  settings: (workspace) => call("GET", "/settings", { query: { workspace } }),
  set: (given) => call("PUT", "/settings", { json: given }),
};
