// Pieces that several widgets share.

import { h } from "../dom.js";
import { words } from "../format.js";

const TONES = {
  ok: "good", success: "good", low: "good", normal: "good", trusted: "good", resolved: "good", up: "good",
  info: "info", medium: "warn", warning: "warn", unknown: "info", degraded: "warn",
  high: "high", critical: "bad", error: "bad", down: "bad", hostile: "bad",
};

export const toneOf = (value) => TONES[String(value).toLowerCase()] ?? "plain";

/** A state in words and colour; null for no state. */
export function badge(value, label = null) {
  if (value === null) return null;
  return h("span", { class: "badge", dataset: { tone: toneOf(value) }, title: label }, words(value));
}

export function chips(values, label = null) {
  if (values.length === 0) return null;
  const list = h("ul", { class: "chips", "aria-label": label }, values.map((value) => h("li", {}, value)));
  return label ? h("div", { class: "labelled" }, h("span", { class: "label" }, label), list) : list;
}

export function heading(title, subtitle, ...aside) {
  if (title === null && subtitle === null && aside.every((node) => node === null)) return null;
  return h(
    "header",
    { class: "widget-head" },
    h(
      "div",
      {},
      title !== null && title !== "" ? h("h3", {}, title) : null,
      subtitle !== null ? h("p", { class: "quiet" }, subtitle) : null,
    ),
    aside,
  );
}

/** A share of a maximum as a bar, in words for those who do not see it. */
export function bar(value, most, tone = "accent") {
  const share = most > 0 ? Math.max(0, Math.min(1, value / most)) : 0;
  const fill = h("span", { class: "bar-fill", dataset: { tone } });
  fill.style.width = `${(share * 100).toFixed(1)}%`;
  return h("span", { class: "bar", role: "img", "aria-label": `${value} of ${most}` }, fill);
}

export const paragraph = (text) => (text === null ? null : h("p", {}, text));
