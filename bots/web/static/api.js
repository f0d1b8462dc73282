// What the page asks of the server. Knows addresses and failures; knows no elements.

import { say } from "./texts.js";

/** A refusal, with the sentence to show in `message`. */
export class ApiError extends Error {
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** The JSON answer to `path`. Throws ApiError. */
async function call(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError("offline", say("web_offline"), 0);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const { code = "error", message = say("web_offline") } = answer.error ?? {};
    throw new ApiError(code, message, response.status);
  }
  return answer;
}

export const api = {
  history: () => call("GET", "/api/history"),
  send: (text, eventId) => call("POST", "/api/messages", { text, event_id: eventId }),
  stop: (id) => call("POST", `/api/turns/${id}/stop`),
  regenerate: (id) => call("POST", `/api/turns/${id}/regenerate`),
  choose: (id, entryId) => call("POST", `/api/turns/${id}/choices/${entryId}`),
  feedback: (id, rating, comment) => call("POST", `/api/turns/${id}/feedback`, { rating, comment }),
  why: (id) => call("GET", `/api/turns/${id}/why`),
  turn: (id) => call("GET", `/api/turns/${id}`),
  handoff: (after) => call("GET", `/api/handoff?after=${after}`),
  reset: () => call("POST", "/api/reset"),
};
