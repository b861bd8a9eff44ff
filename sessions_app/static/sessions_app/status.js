// The line below the conversation and the words for screen readers.

import { count, money } from "./format.js";

const byId = (id) => document.getElementById(id);

/** Context, usage and cost; banners for a lost connection and for trouble. */
export function drawStatus(state, view) {
  byId("usage").textContent = usageText(state);
  const banner = byId("banner");
  const text = bannerText(view);
  if (banner.textContent !== text) banner.textContent = text;
  banner.dataset.level = view.failure || view.problem ? "error" : "info";
}

function bannerText(view) {
  if (view.failure) return FAILURES[view.failure.code] ?? view.failure.message;
  if (view.problem) return view.problem;
  if (view.waiting) return "Connection lost. Reconnecting… The answer goes on meanwhile.";
  return view.loading ? "Loading…" : "";
}

const FAILURES = {
  session_not_found: "This conversation does not exist, or it is not yours.",
  session_expired: "This conversation has expired; its messages are gone.",
};

function usageText({ context, answer, total }) {
  const parts = [];
  if (context) {
    const share = context.used_pct ?? (100 * context.input_tokens) / context.window;
    parts.push(`Context ${Math.round(share)}% of ${count(context.window)}`);
  }
  if (answer) parts.push(`Answer ${sum(answer)}`);
  if (total) parts.push(`Session ${sum(total)}`);
  return parts.join("  ·  ");
}

const sum = ({ usage, costMicros }) => {
  const tokens = `${count(usage.total)} tokens`;
  return costMicros === undefined ? tokens : `${tokens}, ${money(costMicros)}`;
};

/** Say finished things once, politely; streamed text is not read out piece by piece. */
export function announce(state, frame) {
  const words = wordsFor(state, frame);
  if (words !== null) byId("announcer").textContent = words;
}

function wordsFor(state, { event, data }) {
  switch (event) {
    case "tool_call_start":
      return data.internal ? null : `Working: ${data.running_label ?? data.name ?? data.tool_name}`;
    case "confirmation_required":
      return `Your approval is needed: ${data.action}`;
    case "ask_user":
    case "ask_choice":
      return `The assistant asks: ${data.question ?? data.questions?.[0]?.question ?? ""}`;
    case "error":
      return `Error: ${data.message}`;
    case "done": {
      const last = state.messages.findLast((message) => message.type === "assistant_text");
      return data.reason === "awaiting_confirmation" ? null : `Answer: ${last?.text ?? "finished"}`;
    }
    default:
      return null;
  }
}
