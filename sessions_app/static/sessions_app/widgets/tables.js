// Widgets that are tables: data table and comparison.

import { button, h } from "../dom.js";
import { words } from "../format.js";
import { heading } from "./parts.js";
import { isRecord } from "./reader.js";
import { table } from "./values.js";

/** Both forms: column names with rows of cells, and `{key, label}` columns with rows of objects. */
export function dataTable(data) {
  const title = data.text("title");
  const sortable = data.flag("sortable");
  const rows = data.list("rows").map((row) => (Array.isArray(row) || isRecord(row) ? row : [row]));
  const given = data.list("columns").map((column, at) =>
    isRecord(column)
      ? { key: column.key ?? column.label ?? at, label: String(column.label ?? words(column.key)) }
      : { key: String(column), label: String(column) },
  );
  const columns = [...given];
  const width = Math.max(0, ...rows.filter(Array.isArray).map((row) => row.length));
  for (let at = columns.length; at < width; at += 1) columns.push({ key: at, label: "" });
  const known = new Set(columns.map((column) => column.key));
  for (const key of rows.filter(isRecord).flatMap(Object.keys)) {
    if (!known.has(key)) columns.push({ key, label: words(key) });
    known.add(key);
  }
  const cells = rows.map((row) =>
    columns.map((column, at) => (Array.isArray(row) ? row[at] : row[column.key])),
  );
  const place = h("div");
  drawTable(place, { columns, cells, title, sortable, order: null });
  return [heading(title, null), place];
}

function drawTable(place, { columns, cells, title, sortable, order }) {
  const rows = order === null ? cells : cells.toSorted(byColumn(order));
  const heads = columns.map(({ label }, at) => {
    if (!sortable) return label;
    const down = order?.at === at && order.step === 1;
    const next = { at, step: down ? -1 : 1 };
    const redraw = () => {
      drawTable(place, { columns, cells, title, sortable, order: next });
      place.querySelectorAll("th button")[at].focus();
    };
    const sign = order?.at === at ? (order.step === 1 ? " ↑" : " ↓") : "";
    return button(label, { class: "sort", onclick: redraw }, label + sign);
  });
  const node = table(heads, rows, { label: title ?? "Table" });
  if (order !== null) {
    const direction = order.step === 1 ? "ascending" : "descending";
    node.querySelectorAll("th")[order.at].setAttribute("aria-sort", direction);
  }
  place.replaceChildren(node);
}

const byColumn = ({ at, step }) => (left, right) =>
  step * String(left[at] ?? "").localeCompare(String(right[at] ?? ""), undefined, { numeric: true });

/** Entities side by side: a row for each key, marked where they differ. */
export function comparison(data) {
  const items = data.records("items");
  const highlight = data.flag("highlight_differences");
  const flat = items.map((item) => {
    const { fields, ...rest } = item;
    const pairs = Array.isArray(fields) ? fields.map((field) => [field.label, field.value]) : [];
    return { ...rest, ...Object.fromEntries(pairs) };
  });
  const name = (item, at) => item.title ?? item.manufacturer ?? item.mac ?? `Item ${at + 1}`;
  const keys = [...new Set(flat.flatMap(Object.keys))].filter((key) => key !== "title");
  const node = table(["", ...flat.map(name)], keys.map((key) => [words(key), ...flat.map((item) => item[key])]), { label: "Comparison" });
  keys.forEach((key, at) => {
    const values = new Set(flat.map((item) => JSON.stringify(item[key])));
    if (highlight && values.size > 1) node.querySelectorAll("tbody tr")[at].classList.add("differs");
  });
  return [
    heading(data.text("title"), highlight ? "Rows that differ are marked" : null),
    items.length > 0 ? node : null,
  ];
}
