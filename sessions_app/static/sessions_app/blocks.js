// The blocks of a message: text, reasoning, tool calls, widgets, notes, images, proposals.
// A view has a `node` and an `update(block, message)`; it is kept while the block's type stays.

import { arrange, h } from "./dom.js";
import { count } from "./format.js";
import { markdown, MarkdownView } from "./markdown.js";
import { pictureOf, ToolCallView } from "./toolcall.js";
import { drawWidget } from "./widgets/index.js";
import { show } from "./widgets/values.js";

class Reasoning {
  #text = new MarkdownView();
  node = h("details", { class: "reasoning" }, h("summary", {}, "Reasoning"), this.#text.node);

  update(block) {
    this.#text.update(block.text ?? "");
  }
}

class PlainText {
  node = h("p", { class: "plain-text" });

  update(block) {
    this.node.textContent = block.text ?? "";
  }
}

class ToolCalls {
  node = h("div", { class: "tools" });
  #views = new Map();

  update(block, message) {
    const shown = [];
    for (const id of block.callIds ?? []) {
      const call = message.toolCalls.find((item) => item.id === id);
      if (!call) continue;
      if (!this.#views.has(id)) this.#views.set(id, new ToolCallView());
      this.#views.get(id).update(call);
      shown.push(this.#views.get(id).node);
    }
    arrange(this.node, shown);
    this.node.hidden = shown.every((node) => node.hidden);
  }
}

/** A block that is drawn once from its data and again only when the data are others. */
class Drawn {
  node = h("div", { class: "block" });
  #block = null;

  constructor(draw) {
    this.draw = draw;
  }

  update(block) {
    if (block === this.#block) return;
    this.#block = block;
    this.node.replaceChildren(this.draw(block));
  }
}

function noteOf(block) {
  const { sizes } = block;
  const text = sizes?.tokensBefore
    ? `${block.text} ${count(sizes.tokensBefore)} → ${count(sizes.tokensAfter)} tokens`
    : block.text;
  return h(
    "div",
    { class: "note", dataset: { level: block.level ?? "info" } },
    h("p", {}, text),
    block.detail ? markdown(block.detail) : null,
  );
}

function proposalOf({ proposal }) {
  const { title, reasoning, content, scope, ...rest } = proposal ?? {};
  delete rest.id;
  return h(
    "section",
    { class: "widget", "aria-label": "Knowledge proposal" },
    h("p", { class: "label" }, `Proposed knowledge${scope ? ` (${scope})` : ""}`),
    h("h3", {}, title ?? "Untitled"),
    reasoning ? h("p", { class: "quiet" }, reasoning) : null,
    content ? h("div", { class: "paper" }, markdown(content)) : null,
    Object.keys(rest).length > 0 ? show(rest) : null,
  );
}

function unknownOf({ type, ...rest }) {
  return h("section", { class: "widget" }, h("p", { class: "label" }, String(type)), show(rest));
}

function viewFor(type, role, page) {
  if (type === "text") return role === "user" ? new PlainText() : new TextBlock();
  if (type === "thinking") return new Reasoning();
  if (type === "tool_calls") return new ToolCalls();
  if (type === "widget") return new Drawn((block) => drawWidget(block.widgetType, block.data, page));
  if (type === "note") return new Drawn(noteOf);
  if (type === "image") return new Drawn(pictureOf);
  if (type === "proposal") return new Drawn(proposalOf);
  return new Drawn(unknownOf);
}

class TextBlock {
  #view = new MarkdownView();
  node = this.#view.node;

  update(block) {
    this.#view.update(block.text ?? "");
  }
}

/** The body of one message. */
export class BlockList {
  node = h("div", { class: "blocks" });
  #views = []; // [{type, view}]

  constructor(role, page) {
    this.role = role;
    this.page = page;
  }

  update(message) {
    message.blocks.forEach((block, at) => {
      if (this.#views[at]?.type !== block.type) {
        this.#views[at] = { type: block.type, view: viewFor(block.type, this.role, this.page) };
      }
      this.#views[at].view.update(block, message);
    });
    this.#views.length = message.blocks.length;
    arrange(this.node, this.#views.map(({ view }) => view.node));
  }
}
