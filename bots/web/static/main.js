// The page: puts the conversation, the composer, the streams and the dialogs together.

import { announce, announceNow, begin } from "./announcer.js";
import { api } from "./api.js";
import { toClipboard } from "./clipboard.js";
import { composer } from "./composer.js";
import { askComment, showWhy } from "./dialogs.js";
import { save } from "./files.js";
import { render } from "./markdown.js";
import { follow } from "./stream.js";
import { talk } from "./talk.js";
import { say } from "./texts.js";
import { TurnElement } from "./turn.js";

const list = document.getElementById("turns");
const greeting = document.getElementById("greeting");
const notice = document.getElementById("notice");
const NEAR_END_PX = 120;
const COPIED_MS = 1500;

const turns = new Map(); // by turn id, oldest first
const streams = new Map(); // what stops following, by turn id
let unsent = { text: null, eventId: null };

// Conversation

function add(turn) {
  const element = turns.get(turn.turn_id) ?? new TurnElement(turn.text);
  if (!turns.has(turn.turn_id)) place(element.root, turn.seq);
  turns.set(turn.turn_id, element);
  element.show(turn);
  if (element.open) watch(element);
  refresh();
  return element;
}

/** Put `element` where it belongs among all that was said. */
function place(element, seq) {
  element.dataset.seq = seq;
  const next = [...list.children].reverse().find((each) => Number(each.dataset.seq) <= seq)?.nextElementSibling;
  if (next === undefined) list.prepend(element);
  else list.insertBefore(element, next);
}

function clear() {
  for (const close of streams.values()) close();
  streams.clear();
  turns.clear();
  talk.clear();
  list.replaceChildren();
  refresh();
}

function refresh() {
  greeting.hidden = turns.size + talk.size > 0;
  composer.answering = firstOpen() !== undefined;
}

function firstOpen() {
  return [...turns.values()].find((turn) => turn.open);
}

function atEnd() {
  const page = document.scrollingElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < NEAR_END_PX;
}

function toEnd() {
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
}

/** Say something that is no answer: a refusal, which may be tried again, or what a command replied. */
function tell(text, { reply = false, retry = null } = {}) {
  notice.classList.toggle("reply", reply);
  notice.replaceChildren(reply ? render(text) : text);
  if (retry) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: say("web_retry") });
    button.addEventListener("click", retry);
    notice.append(button);
  }
  if (text) notice.scrollIntoView({ block: "nearest" });
}

// Following an answer

function watch(element) {
  if (streams.has(element.id)) return;
  let drawn = 0;
  let newest = "";
  begin();

  function draw() {
    drawn = 0;
    const follows = atEnd();
    element.write(newest);
    if (follows) toEnd();
  }

  const close = follow(element.id, {
    onState: ({ state, status }) => element.mark(state, element.answer && state === "running" ? "" : status),
    onText: (text) => {
      newest = text;
      drawn ||= requestAnimationFrame(draw);
      announce(text);
    },
    onEnd: (turn) => {
      cancelAnimationFrame(drawn);
      streams.delete(element.id);
      const follows = atEnd();
      element.show(turn);
      announce(turn.failure ? turn.failure.message : element.spoken, true);
      refresh();
      if (follows) toEnd();
      if (turn.finding?.outcome === "abstain") attempt(() => talk.look()); // maybe a human was called
    },
    onLost: (lost) => {
      if (element.open) element.mark(element.state, lost ? say("web_lost") : "");
    },
    onGone: () => attempt(load),
  });
  streams.set(element.id, close);
}

// What a person does

async function send(text) {
  if (unsent.text !== text) unsent = { text, eventId: newEventId() };
  composer.sending = true;
  try {
    const taken = await api.send(text, unsent.eventId);
    unsent = { text: null, eventId: null };
    composer.clear();
    tell("");
    await attempt(() => carryOut(taken));
  } catch (error) {
    tell(error.message, { retry: () => send(text) });
  } finally {
    composer.sending = false;
  }
}

/** Show what the server made of a message: a Turn, or what a command did. */
async function carryOut({ turn, reply, passed_on: passedOn, why, document: file, forgotten }) {
  if (turn) {
    add(turn);
    talk.asked();
    toEnd();
  }
  if (passedOn) {
    await talk.look();
    return toEnd();
  }
  if (why) await showWhy(why);
  if (file) {
    save(file);
    tell(say("web_saved", { name: file.name }), { reply: true });
  }
  if (forgotten) clear();
  if (reply) {
    await load(); // a command may have changed anything
    if (reply !== talk.sentence) tell(reply, { reply: true });
  }
}

/** Do something that may be refused, and say so where it is. */
async function attempt(action) {
  try {
    await action();
    return true;
  } catch (error) {
    tell(error.message);
    return false;
  }
}

function newEventId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const actions = {
  copy: (turn, button) => copy(turn.answer, button),
  "copy-code": (turn, button) => copy(button.closest("figure").querySelector("code").textContent, button),
  why: (turn) => attempt(() => showWhy(turn.id)),
  regenerate: (turn) =>
    attempt(async () => {
      const { turn: again } = await api.regenerate(turn.id);
      turn.write("");
      add(again);
    }),
  choose: (turn, button) =>
    attempt(async () => {
      const { turn: asked } = await api.choose(turn.id, button.dataset.entry);
      add(asked);
      toEnd();
    }),
  up: (turn) => attempt(() => rate(turn, turn.rating === "up" ? null : "up")),
  down: (turn) => {
    if (turn.rating === "down") return attempt(() => rate(turn, null));
    return askComment((comment) => rate(turn, "down", comment));
  },
};

async function rate(turn, rating, comment = "") {
  await api.feedback(turn.id, rating, comment);
  turn.rate(rating);
  if (rating === "down") await talk.look(); // maybe a human was called
}

async function copy(text, button) {
  if (!(await toClipboard(text))) return;
  button.classList.add("copied");
  announceNow(say("web_copied"));
  setTimeout(() => button.classList.remove("copied"), COPIED_MS);
}

list.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-do]");
  const root = event.target.closest("[data-turn]");
  if (button && root) actions[button.dataset.do](turns.get(Number(root.dataset.turn)), button);
});

greeting.addEventListener("click", (event) => {
  if (event.target.closest("button")) send(event.target.closest("button").textContent);
});

document.getElementById("new").addEventListener("click", () =>
  attempt(async () => {
    await api.reset();
    clear();
    tell("");
    composer.focus();
  }),
);

document.getElementById("language").addEventListener("change", (event) => {
  document.cookie = `pajama_language=${event.target.value}; path=/; max-age=31536000; samesite=lax`;
  location.reload();
});

talk.connect((element, seq) => {
  const follows = atEnd();
  place(element, seq);
  refresh();
  if (follows) toEnd();
});

composer.connect(send, () => attempt(() => firstOpen() && api.stop(firstOpen().id)));

/** Show the conversation as the server has it. */
async function load() {
  const { turns: past } = await api.history();
  const kept = new Set(past.map((turn) => turn.turn_id));
  if ([...turns.keys()].some((id) => !kept.has(id))) clear();
  past.forEach(add);
  await talk.look({ whole: true });
  refresh();
}

async function start() {
  try {
    await load();
    tell("");
    toEnd();
    document.body.dataset.ready = "true";
  } catch (error) {
    tell(error.message, { retry: start });
  }
}

start();
