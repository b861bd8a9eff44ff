// Widgets with one subject: info card, metric, alert, entity, document preview.

import { button, h } from "../dom.js";
import { markdown } from "../markdown.js";
import { moment } from "../format.js";
import { badge, bar, chips, heading, paragraph } from "./parts.js";
import { facts, fieldList } from "./values.js";
import { Reader } from "./reader.js";

export function infoCard(data, page) {
  const actions = data.records("actions").map((item) => {
    const action = new Reader(item);
    const label = action.text("label");
    const message = action.text("message") ?? label ?? "";
    const control = button(label ?? message, { onclick: () => page.send(message), title: message });
    return [control, facts(action.rest())];
  });
  return [
    heading(data.text("title"), data.text("subtitle"), badge(data.text("status"), "Status")),
    paragraph(data.text("description")),
    fieldList(data.records("fields")),
    chips(data.texts("tags")),
    actions.length > 0 ? h("div", { class: "actions" }, actions) : null,
  ];
}

const TRENDS = { up: "↑ rising", down: "↓ falling", flat: "→ steady" };

export function metric(data) {
  const trend = data.text("trend");
  const before = data.text("previous_value");
  const unit = data.text("unit");
  const trendText = trend === null ? null : (TRENDS[trend] ?? trend);
  return [
    h("p", { class: "label" }, data.text("label") ?? "Metric"),
    h(
      "p",
      { class: "figure" },
      data.text("value") ?? "–",
      unit === null ? null : h("span", { class: "unit" }, ` ${unit}`),
    ),
    trendText || before !== null
      ? h(
          "p",
          { class: "trend" },
          trendText && h("span", { dataset: { trend } }, trendText),
          before === null ? null : h("span", { class: "quiet" }, ` before: ${before}`),
        )
      : null,
    paragraph(data.text("description")),
  ];
}

export function alertCard(data) {
  const id = data.text("id");
  const zone = data.text("zone");
  const at = data.text("detected_at");
  const place = [zone, at === null ? null : moment(at), id].filter((part) => part !== null);
  return [
    heading(data.text("title") ?? data.text("type") ?? "Alert", place.join(" · "), badge(data.text("severity"))),
    paragraph(data.text("description")),
    chips(data.texts("involved_devices"), "Involved"),
    chips(data.texts("protocols_involved"), "Protocols"),
  ];
}

/** One entity. Device monitoring is the reference's domain; any entity with fields fits. */
export function entityCard(data) {
  const zone = data.text("zone_name") ?? data.text("zone");
  const mac = data.text("mac");
  const maker = data.text("manufacturer");
  const title = data.text("title") ?? maker ?? mac;
  const parts = [data.text("subtitle"), title === mac ? null : mac, title === maker ? null : maker, zone];
  const score = data.number("suspicion_score");
  const factors = Object.entries(data.record("score_factors"));
  const known = [
    ["Zone id", data.text("zone")],
    ["Dwell time", withUnit(data.number("dwell_time_minutes"), "min")],
    ["Signal", withUnit(data.number("signal_strength_dbm"), "dBm")],
    ["First seen", dated(data.text("first_seen"))],
    ["Last seen", dated(data.text("last_seen"))],
  ];
  const states = [badge(data.text("status")), badge(data.text("tag_status"))];
  return [
    heading(title, parts.filter((part) => part !== null).join(" · ") || null, ...states),
    score === null ? null : h("p", { class: "score" }, "Suspicion ", h("b", {}, String(score)), bar(score, score > 1 ? 100 : 1)),
    paragraph(data.text("description")),
    facts(known.filter(([, value]) => value !== null)),
    fieldList(data.records("fields")),
    factors.length > 0 ? h("div", {}, h("p", { class: "label" }, "Score factors"), facts(factors)) : null,
    chips(data.texts("protocols"), "Protocols"),
    chips(data.texts("tags")),
  ];
}

const withUnit = (value, unit) => (value === null ? null : `${value} ${unit}`);
const dated = (value) => (value === null ? null : moment(value));

export function documentPreview(data, page) {
  const kind = data.text("resource_type") ?? "document";
  const action = data.text("action");
  const id = data.text("preview_id");
  const body = data.text("body");
  const said = h("p", { class: "said", role: "status" });
  const approve = async () => {
    control.disabled = true;
    const refusal = await page.act({ action: "approved", resource_type: kind, preview_id: id });
    said.textContent = refusal ?? "Approved.";
    control.disabled = refusal === null;
  };
  const control = button("Approve", { onclick: approve });
  return [
    heading(data.text("title"), data.text("category"), badge(kind), badge(action)),
    body === null ? null : h("div", { class: "paper" }, markdown(body)),
    facts([["Proposal", data.text("proposal_id")]].filter(([, value]) => value !== null)),
    id === null ? null : h("div", { class: "actions" }, control, said),
  ];
}
