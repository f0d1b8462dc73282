// Markdown to elements that can do no harm: raw HTML is text, and what is made is purified before it is shown.

import { say } from "./texts.js";

const { markdownit, DOMPurify } = window;

const parser = markdownit({ html: false, linkify: true, breaks: true }).disable("image");
parser.validateLink = (address) => /^(https?:|mailto:)/i.test(address.trim());

const PURE = {
  ALLOWED_TAGS: [
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "blockquote",
    "ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td",
  ],
  ALLOWED_ATTR: ["href", "title", "start", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** `text` rendered, as a fragment to be inserted. */
export function render(text) {
  const fragment = DOMPurify.sanitize(parser.render(text), PURE);
  for (const link of fragment.querySelectorAll("a")) guard(link);
  for (const block of fragment.querySelectorAll("pre")) block.replaceWith(frame(block));
  for (const table of fragment.querySelectorAll("table")) table.replaceWith(scroller(table));
  return fragment;
}

function guard(link) {
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
}

/** A code block with its language and a button that copies it. */
function frame(block) {
  const language = /language-([\w+#.-]{1,20})/.exec(block.querySelector("code")?.className ?? "")?.[1] ?? "";
  const figure = document.createElement("figure");
  figure.className = "code";
  const caption = document.createElement("figcaption");
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.do = "copy-code";
  button.textContent = say("web_copy");
  caption.append(Object.assign(document.createElement("span"), { textContent: language }), button);
  const inner = block.cloneNode(true);
  inner.querySelector("code")?.removeAttribute("class");
  inner.tabIndex = 0; // so that the keyboard can scroll it
  figure.append(caption, inner);
  return figure;
}

function scroller(table) {
  const box = document.createElement("div");
  box.className = "table";
  box.append(table.cloneNode(true));
  return box;
}
