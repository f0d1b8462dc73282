// Tells a screen reader what is new: whole sentences while an answer streams, never single tokens.

const region = document.getElementById("announcer");
const SENTENCES = /[\s\S]*(?:[.!?…](?=\s)|[。！？\n])/;

let said = 0;

/** Start over with a new answer. */
export function begin() {
  said = 0;
}

/** Announce what has become whole sentences since the last time; all of it when the answer has ended. */
export function announce(text, ended = false) {
  const fresh = text.slice(said);
  const sentences = ended ? fresh : (SENTENCES.exec(fresh)?.[0] ?? "");
  if (!sentences.trim()) return;
  said += sentences.length;
  region.textContent = sentences.trim();
}

/** Announce one thing that happened. */
export function announceNow(text) {
  region.textContent = text;
}
