// Markdown of untrusted origin as elements.
// Law: markup in the text is shown, not obeyed; links open apart and cannot reach back; no image
// is fetched from elsewhere, because its address could carry what the model has read.

import { copy, h, iconButton } from "./dom.js";
import { Marked } from "./vendor/marked/marked.esm.js";
import DOMPurify from "./vendor/dompurify/purify.es.mjs";

const TAGS = (
  "p br strong em del code pre a ul ol li blockquote h1 h2 h3 h4 h5 h6 hr " +
  "table thead tbody tr th td input img"
).split(" ");
const RULES = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["href", "title", "class", "align", "start", "type", "checked", "disabled", "src", "alt"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|tel:|#|\/(?!\/)|data:image\/(?:png|jpeg|gif|webp);base64,)/i,
  ADD_URI_SAFE_ATTR: ["align", "start", "type", "checked", "disabled"], // no addresses
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const INLINE_IMAGE = /^data:image\/(?:png|jpeg|gif|webp);base64,/i;

const escape = (text) =>
  text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const marked = new Marked({
  gfm: true,
  breaks: false,
  renderer: {
    html: ({ text }) => (/^<br\s*\/?>$/i.test(text.trim()) ? "<br>" : escape(text)),
    image({ href, text }) {
      if (INLINE_IMAGE.test(href)) return `<img src="${escape(href)}" alt="${escape(text)}">`;
      return `<a href="${escape(href)}">Image: ${escape(text || href)}</a>`;
    },
  },
});

const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "IMG" && !INLINE_IMAGE.test(node.getAttribute("src") ?? "")) node.remove();
  if (node.tagName === "INPUT") {
    if (node.getAttribute("type") !== "checkbox") node.remove();
    node.setAttribute("disabled", "");
  }
  if (node.tagName !== "A") return;
  if (!node.hasAttribute("href")) return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow");
  node.setAttribute("title", node.getAttribute("href"));
});

function draw(tokens) {
  const fragment = purify.sanitize(marked.parser(tokens), RULES);
  for (const table of fragment.querySelectorAll("table")) {
    const scroller = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" });
    table.replaceWith(scroller);
    scroller.append(table);
  }
  for (const code of fragment.querySelectorAll("pre")) {
    const language = /language-([\w+#-]+)/.exec(code.firstElementChild?.className ?? "")?.[1] ?? "";
    const tool = iconButton("Copy code", "copy", { onclick: () => copy(code.textContent, tool) });
    const head = h("div", { class: "code-head" }, h("span", {}, language), tool);
    code.setAttribute("tabindex", "0");
    const box = h("div", { class: "code" });
    code.replaceWith(box);
    box.append(head, code);
  }
  return fragment;
}

/** A growing text: only the blocks of Markdown that changed are drawn again. */
export class MarkdownView {
  node = h("div", { class: "markdown" });
  #text = null;
  #links = "";
  #parts = []; // [{raw, node}]

  update(text) {
    if (text === this.#text) return;
    this.#text = text;
    const tokens = marked.lexer(text);
    const links = JSON.stringify(tokens.links);
    if (links !== this.#links) this.#cut(0); // a late [name]: url changes earlier blocks
    this.#links = links;
    const shown = tokens.filter((token) => token.type !== "space" && token.type !== "def");
    let same = 0;
    while (same < shown.length && this.#parts[same]?.raw === shown[same].raw) same += 1;
    this.#cut(same);
    for (const token of shown.slice(same)) {
      const one = Object.assign([token], { links: tokens.links });
      const node = h("div", { class: "md-block" }, draw(one));
      this.#parts.push({ raw: token.raw, node });
      this.node.append(node);
    }
  }

  #cut(length) {
    for (const part of this.#parts.splice(length)) part.node.remove();
  }
}

export function markdown(text) {
  const view = new MarkdownView();
  view.update(String(text));
  return view.node;
}
