// Any JSON value as something readable: text, list of facts, table. The fallback of all widgets.

import { h } from "../dom.js";
import { words } from "../format.js";
import { isRecord } from "./reader.js";

const DEEP = 4; // below this, JSON is clearer than tables in tables

/** A value in running text or a table cell. */
export function show(value, depth = 0) {
  if (value === null || value === undefined || value === "") return h("span", { class: "none" }, "–");
  if (value === true) return "Yes";
  if (value === false) return "No";
  if (typeof value === "string" && /^https?:\/\/\S+$/i.test(value)) return link(value);
  if (typeof value !== "object") return String(value);
  if (depth >= DEEP) return h("code", {}, JSON.stringify(value));
  if (isRecord(value)) return facts(Object.entries(value), depth + 1);
  if (value.length === 0) return h("span", { class: "none" }, "none");
  if (value.every(isRecord)) return recordTable(value, depth + 1);
  if (value.some((item) => item !== null && typeof item === "object")) {
    return h("ul", { class: "plain" }, value.map((item) => h("li", {}, show(item, depth + 1))));
  }
  return value.join(", ");
}

const link = (href) => h("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, href);

/** Label and value, one pair a line; null when there is nothing. */
export function facts(pairs, depth = 0) {
  if (pairs.length === 0) return null;
  return h(
    "dl",
    { class: "facts" },
    pairs.map(([key, value]) =>
      h("div", {}, h("dt", {}, words(key)), h("dd", {}, show(value, depth))),
    ),
  );
}

/** `fields[{label, value}]` with whatever else each field carries. */
export function fieldList(fields) {
  return facts(
    fields.map((field, index) => {
      const { label, name, value, ...more } = field;
      const extra = Object.keys(more).length > 0;
      return [label ?? name ?? `Field ${index + 1}`, extra ? { value, ...more } : value];
    }),
  );
}

function recordTable(records, depth) {
  const keys = [...new Set(records.flatMap(Object.keys))];
  return table(
    keys.map((key) => words(key)),
    records.map((record) => keys.map((key) => record[key])),
    { depth },
  );
}

const isNumeric = (value) =>
  typeof value === "number" ||
  (typeof value === "string" && /^[-+]?[$€£]?\s?\d[\d.,]*\s?(%|[a-z]{1,3})?$/i.test(value));

/** A table that scrolls by itself; a column of numbers stands right. `heads` are texts or nodes. */
export function table(heads, rows, { depth = 0, label = "Table", caption = null } = {}) {
  const right = heads.map(
    (_, at) => rows.length > 0 && rows.every((row) => row[at] == null || isNumeric(row[at])),
  );
  const side = (at) => (right[at] ? "number" : null);
  const body = rows.map((row) =>
    h("tr", {}, heads.map((_, at) => h("td", { class: side(at) }, show(row[at], depth)))),
  );
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      {},
      caption && h("caption", {}, caption),
      h("thead", {}, h("tr", {}, heads.map((head, at) => h("th", { scope: "col", class: side(at) }, head)))),
      h("tbody", {}, body),
    ),
  );
}
