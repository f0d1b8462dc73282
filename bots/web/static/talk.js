// A hand-off as the visitor sees it: how it stands, and what humans say, live while it is open. Words are text, never markup.

import { announceNow } from "./announcer.js";
import { api } from "./api.js";
import { say } from "./texts.js";

const template = document.getElementById("line");
const banner = document.getElementById("handoff");
const RETRY_MS = 2000;

let put = () => {};
let source = null;
let timer = null;
let state = "";
let newest = 0; // the place, among all that was said, of the last line
const lines = new Map(); // by their places

export const talk = {
  /** Have `show(element, seq)` put a line where it belongs. */
  connect(show) {
    put = show;
  },

  get size() {
    return lines.size;
  },

  /** What stands in the banner. */
  get sentence() {
    return banner.querySelector(".sentence").textContent;
  },

  /** Show what is new, or with `whole` just what there is, and follow it while it is open. */
  async look({ whole = false } = {}) {
    const aloud = state !== "";
    const { handoff, said } = await api.handoff(whole ? 0 : newest);
    if (whole) keep(new Set(said.map((line) => line.seq)));
    for (const line of said) add(line, aloud);
    stand(handoff);
  },

  /** The assistant was asked something: what has ended is of no interest any more. */
  asked() {
    if (state === "released") stand(null);
  },

  /** Show nothing any more; the lines are taken away by whoever put them there. */
  clear() {
    lines.clear();
    newest = 0;
    stand(null);
  },
};

/** Take away the lines that are not there any more. */
function keep(there) {
  for (const [seq, element] of lines) {
    if (there.has(seq)) continue;
    element.remove();
    lines.delete(seq);
  }
}

function add(line, aloud) {
  if (lines.has(line.seq)) return;
  newest = Math.max(newest, line.seq);
  const element = template.content.firstElementChild.cloneNode(true);
  element.dataset.speaker = line.speaker;
  element.querySelector("h2").textContent = line.speaker === "staff" ? line.name : say("web_you");
  element.querySelector(".words").textContent = line.text;
  lines.set(line.seq, element);
  put(element, line.seq);
  if (aloud && line.speaker === "staff") announceNow(`${line.name}: ${line.text}`);
}

function stand(handoff) {
  state = handoff?.state ?? "";
  banner.dataset.state = state;
  banner.querySelector(".sentence").textContent = handoff?.sentence ?? ""; // a live region: it is read aloud
  if (["requested", "claimed"].includes(state)) follow();
  else close();
}

function follow() {
  if (source) return;
  source = new EventSource(`/api/handoff/events?after=${newest}`);
  source.addEventListener("open", () => lost(false));
  source.addEventListener("said", (event) => add(JSON.parse(event.data), true));
  source.addEventListener("state", (event) => stand(JSON.parse(event.data).handoff));
  source.addEventListener("error", () => {
    lost(true);
    if (source?.readyState === EventSource.CLOSED) retry(); // else the browser does by itself, with Last-Event-ID
  });
}

/** After a refusal: look again, later. */
function retry() {
  close();
  timer = setTimeout(() => talk.look().catch(retry), RETRY_MS);
}

function lost(is) {
  banner.querySelector(".lost").textContent = is ? say("web_lost") : "";
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = null;
  lost(false);
}
