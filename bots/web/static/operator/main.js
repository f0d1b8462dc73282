// The operators' page: signs in, shows the section of the address, and follows links without loading anew.

import { announceNow } from "../announcer.js";
import { say } from "../texts.js";
import { api } from "./api.js";
import * as collection from "./collection.js";
import * as collections from "./collections.js";
import { h, link } from "./dom.js";
import * as entry from "./entry.js";
import * as gaps from "./gaps.js";
import * as handoff from "./handoff.js";
import * as handoffs from "./handoffs.js";
import * as importing from "./importing.js";
import * as risk from "./risk.js";
import * as settings from "./settings.js";
import { signInForm } from "./signing_in.js";
import * as trying from "./trying.js";

const view = document.getElementById("view");
const nav = document.getElementById("sections");
const signOut = document.getElementById("sign-out");

/** What stands in the navigation: an address, its words, and the sections whose pages belong to it. */
const SECTIONS = [
  ["/operator", say("operator_collections"), [collections, collection, entry, importing, risk]],
  ["/operator/try", say("operator_try"), [trying]],
  ["/operator/gaps", say("operator_gaps"), [gaps]],
  ["/operator/handoffs", say("operator_handoffs"), [handoffs, handoff]],
  ["/operator/settings", say("operator_settings"), [settings]],
];

/** Addresses and what shows them: `show(parameters, query)` returns elements, the first of them with the heading. */
const ROUTES = [
  [/^\/operator\/?$/, collections],
  [/^\/operator\/collections\/(\d+)$/, collection],
  [/^\/operator\/collections\/(\d+)\/entry$/, entry],
  [/^\/operator\/collections\/(\d+)\/import$/, importing],
  [/^\/operator\/collections\/(\d+)\/risk$/, risk],
  [/^\/operator\/try$/, trying],
  [/^\/operator\/gaps$/, gaps],
  [/^\/operator\/handoffs$/, handoffs],
  [/^\/operator\/handoffs\/(\d+)$/, handoff],
  [/^\/operator\/settings$/, settings],
];

let shown = 0;
let news = "";

/** Go to an address within these pages; `told` is what was just done, to be said there. */
function go(path, told = "") {
  news = told;
  history.pushState(null, "", path);
  show();
}

async function show() {
  const mine = ++shown;
  delete document.body.dataset.ready;
  view.setAttribute("aria-busy", "true");
  const [section, found] = ROUTES.map(([pattern, each]) => [each, pattern.exec(location.pathname)]).find(
    ([, match]) => match,
  ) ?? [null, null];
  drawSections(section);
  try {
    const parts = section
      ? await section.show(found.slice(1), new URLSearchParams(location.search), go)
      : [h("h2", {}, say("operator_no_such_page"))];
    if (mine !== shown) return;
    put(parts);
  } catch (error) {
    if (mine !== shown || error.code === "sign_in") return;
    put([h("h2", {}, say("operator_failed")), h("p", { class: "failure", role: "alert" }, error.message)]);
  }
}

function put(parts) {
  view.replaceChildren(...parts);
  view.removeAttribute("aria-busy");
  const heading = view.querySelector("h2");
  heading.tabIndex = -1;
  document.title = `${heading.textContent} · Pajama`;
  if (shown > 1) heading.focus();
  if (news) {
    heading.parentElement.after(h("p", { class: "note" }, news));
    announceNow(news);
    news = "";
  }
  document.body.dataset.ready = "true";
}

function drawSections(current) {
  nav.hidden = signOut.hidden = false;
  nav.replaceChildren(
    ...SECTIONS.map(([path, words, pages]) =>
      link(path, words, { "aria-current": pages.includes(current) ? "page" : null }),
    ),
  );
}

function askToSignIn(sentence = "") {
  shown += 1;
  nav.hidden = signOut.hidden = true;
  put([signInForm(show, sentence)]);
  view.querySelector("input").focus();
}

async function start() {
  const code = location.hash.slice(1);
  if (code) history.replaceState(null, "", location.pathname + location.search); // it is worth nothing from now on
  try {
    if (code) await api.signIn({ code });
    else await api.session();
  } catch (error) {
    const known = await api.session().then(() => true, () => false); // an old link of somebody who is signed in
    if (!known) return askToSignIn(code || error.code !== "sign_in" ? error.message : "");
  }
  await show();
}

document.addEventListener("click", (event) => {
  const followed = event.target.closest("a[href^='/operator']:not([href*='/api/'])");
  if (!followed || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(followed.getAttribute("href"));
});
window.addEventListener("popstate", show);
window.addEventListener("signed-out", () => askToSignIn(say("operator_signed_out")));
signOut.addEventListener("click", async () => {
  await api.signOut().catch(() => {});
  askToSignIn();
  announceNow(say("operator_signed_out"));
});
document.getElementById("language").addEventListener("change", (event) => {
  document.cookie = `pajama_language=${event.target.value}; path=/; max-age=31536000; samesite=lax`;
  location.reload();
});

start();
