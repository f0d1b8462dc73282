// Keeps a view true for as long as it is shown.

import { api } from "./api.js";

const RETRY_MS = 5000;

/** Call `look`, one at a time, whenever something may have changed, until `element` is taken off the page. */
export function whileShown(element, look) {
  let source = null;
  let looking = false;
  let again = false;

  async function run() {
    if (!element.isConnected) return source.close();
    again = looking;
    if (looking) return;
    looking = true;
    await look().catch(() => {}); // the next time
    looking = false;
    if (again) await run();
  }

  function open() {
    if (!element.isConnected) return;
    source = new EventSource(api.looksPath);
    source.addEventListener("look", run);
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return; // the browser comes back by itself
      run();
      setTimeout(open, RETRY_MS);
    });
  }

  setTimeout(open); // once it is on the page
}
