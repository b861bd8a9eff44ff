// Widgets with many items: timeline, board, scores, entity list, map of zones.

import { h } from "../dom.js";
import { moment } from "../format.js";
import { entityCard } from "./cards.js";
import { badge, bar, chips, heading, paragraph, toneOf } from "./parts.js";
import { Reader } from "./reader.js";
import { facts } from "./values.js";

export function timeline(data) {
  const items = data.records("events").map((item) => {
    const event = new Reader(item);
    const at = event.text("timestamp");
    const severity = event.text("severity");
    const aside = [event.text("type"), event.text("device")].filter((part) => part !== null);
    return h(
      "li",
      { dataset: { tone: toneOf(severity) } },
      at === null ? null : h("time", { datetime: at }, moment(at)),
      h("span", {}, event.text("label") ?? "Event"),
      aside.length > 0 ? h("span", { class: "quiet" }, aside.join(" · ")) : null,
      badge(severity),
      facts(event.rest()),
    );
  });
  return [heading(data.text("label") ?? data.text("title"), null), h("ol", { class: "timeline" }, items)];
}

export function statusBoard(data) {
  const items = data.records("items").map((raw) => {
    const item = new Reader(raw);
    const severity = item.text("severity");
    const updated = item.text("updated_at");
    const id = item.text("id");
    return h(
      "li",
      { dataset: { tone: toneOf(severity) } },
      h("div", { class: "row" }, h("b", {}, item.text("label") ?? id ?? "Item"), badge(item.text("status")), badge(severity, "Severity")),
      paragraph(item.text("description")),
      h("p", { class: "quiet" }, [id, updated && `updated ${moment(updated)}`].filter(Boolean).join(" · ")),
      facts(item.rest()),
    );
  });
  return [heading(data.text("title"), null), h("ul", { class: "board" }, items)];
}

export function scoreBreakdown(data) {
  const total = data.number("total_score");
  const most = data.number("max_score");
  const factors = data.records("factors");
  const largest = Math.max(1, ...factors.map((item) => Math.abs(Number(item.value)) || 0));
  const rows = factors.map((raw) => {
    const item = new Reader(raw);
    const value = item.number("value");
    const top = item.number("max");
    return h(
      "li",
      {},
      h("div", { class: "row" }, h("span", {}, item.text("name") ?? "Factor"), h("span", {}, value === null ? "–" : top === null ? String(value) : `${value} / ${top}`)),
      value === null ? null : bar(value, top ?? largest),
      paragraph(item.text("description")),
      facts(item.rest()),
    );
  });
  const sum = total === null ? null : h("span", { class: "total" }, most === null ? String(total) : `${total} / ${most}`);
  return [
    heading(data.text("label") ?? data.text("title") ?? "Score", null, sum),
    total === null || most === null ? null : bar(total, most),
    h("ul", { class: "factors" }, rows),
  ];
}

const entity = (raw) => {
  const reader = new Reader(raw);
  return h("li", { class: "entity" }, entityCard(reader), facts(reader.rest()));
};

export function entityList(data) {
  const sort = data.text("sort");
  const most = data.number("max_display") ?? Infinity;
  const found = data.records("devices");
  const all = found.length > 0 ? found : data.records("items");
  const sorted = sort === null ? all : all.toSorted(bySort(sort));
  const first = sorted.slice(0, most);
  const more = sorted.slice(most);
  return [
    heading(data.text("title"), null, h("span", { class: "quiet" }, `${all.length} in all`)),
    h("ul", { class: "entities" }, first.map(entity)),
    more.length === 0
      ? null
      : h("details", {}, h("summary", {}, `Show ${more.length} more`), h("ul", { class: "entities" }, more.map(entity))),
  ];
}

/** `score`, `-last_seen`, `suspicion_score desc`: whatever names a key of the entities. */
function bySort(sort) {
  const [name, direction] = sort.replace(/^[-+]/, "").split(/[\s:]+/);
  const step = sort.startsWith("-") || direction === "desc" ? -1 : 1;
  return (left, right) =>
    step * String(left[name] ?? "").localeCompare(String(right[name] ?? ""), undefined, { numeric: true });
}

export function scopeMap(data) {
  return [
    heading(data.text("label") ?? data.text("title") ?? "Map", null),
    chips(data.texts("highlight_zones"), "Zones"),
    chips(data.texts("highlight_devices"), "Devices"),
    data.flag("show_all_devices") ? h("p", { class: "quiet" }, "All devices are shown") : null,
  ];
}
