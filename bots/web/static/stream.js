// Follows one Turn's answer. Knows the event protocol; the text it hands out is always the whole text so far.

import { api } from "./api.js";

const RETRY_MS = [500, 1000, 2000, 4000];

/**
 * Follow the Turn until it ends.
 *
 * `onState({state, status})`, `onText(text)` with the whole text so far, `onEnd(turn)`, `onLost(failed)` when the
 * connection is lost and again when it is back, `onGone()` when there is no such Turn any more. Returns a function that
 * stops following.
 */
export function follow(turnId, { onState, onText, onEnd, onLost, onGone }) {
  let source = null;
  let timer = null;
  let tries = 0;
  const characters = []; // code points, since offsets count those
  let fence = 0;

  function onDelta(event) {
    const delta = JSON.parse(event.data);
    if (delta.fence < fence) return;
    fence = delta.fence;
    characters.length = Math.min(characters.length, delta.offset);
    for (const character of delta.text) characters.push(character);
    onText(characters.join(""));
  }

  function open() {
    source = new EventSource(`/api/turns/${turnId}/events`);
    source.addEventListener("open", () => {
      tries = 0;
      onLost(false);
    });
    source.addEventListener("state", (event) => onState(JSON.parse(event.data)));
    source.addEventListener("text", onDelta);
    source.addEventListener("end", (event) => {
      close();
      onEnd(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
      onLost(true);
      if (source.readyState === EventSource.CLOSED) retry(); // else the browser does by itself, with Last-Event-ID
    });
  }

  /** After a refusal: try again later, unless the Turn is no longer there. */
  async function retry() {
    const gone = await api.turn(turnId).then(
      () => false,
      (error) => error.status === 404,
    );
    if (gone) onGone();
    else timer = setTimeout(open, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]);
  }

  function close() {
    clearTimeout(timer);
    source?.close();
  }

  open();
  return close;
}
