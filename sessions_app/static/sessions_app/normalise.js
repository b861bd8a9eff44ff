// Turns what the API sends into the one shape the page works with.
// Law: unknown keys survive; nothing here throws on odd data.

const SETTLED = { ok: "success", success: "success", running: "running" };

/** A tool call of `GET /sessions/{id}` or of a `tool_call_start` frame. */
export function toolCall(raw) {
  return {
    id: raw.toolId ?? raw.tool_id ?? raw.id,
    name: raw.toolName ?? raw.tool_name ?? raw.name ?? "tool",
    args: raw.args ?? raw.parameters ?? {},
    status: SETTLED[raw.status] ?? raw.status ?? (raw.result != null ? "success" : "running"),
    result: raw.result ?? null,
    content: raw.content ?? null,
    error: raw.error ?? null,
    durationMs: raw.duration_ms ?? raw.durationMs ?? null,
    runningLabel: raw.running_label ?? raw.runningLabel ?? null,
    completedLabel: raw.completed_label ?? raw.completedLabel ?? null,
    internal: raw.internal ?? false,
    lines: [],
    agents: agentsOf(raw),
  };
}

/** Sub-agents of a stored call, theirs behind them: `{id, name, steps}`. */
export function agentsOf(raw) {
  const told = raw.subagent;
  if (told == null) return [];
  const calls = told.toolCalls ?? [];
  const steps = calls.map((call) => {
    const { id, name, status, error, result } = toolCall({ ...call, subagent: null });
    return { kind: "tool", id, name, status, result: error ?? result ?? "" };
  });
  const own = { id: told.agentId, name: told.agentName ?? told.agentId, steps };
  return [own, ...calls.flatMap(agentsOf)];
}

export function widgetBlock(raw) {
  return {
    type: "widget",
    widgetType: raw.widgetType ?? raw.widget_type ?? raw.widget ?? raw.type,
    data: raw.data ?? {},
  };
}

/** A message: `{id, type, text, timestamp, runId, toolCalls, blocks}`; `blocks` in reading order. */
export function message(raw) {
  const toolCalls = (raw.toolCalls ?? raw.tool_calls ?? []).map(toolCall);
  return {
    ...raw,
    type: raw.type ?? (raw.role === "user" ? "user" : "assistant_text"),
    text: raw.text ?? "",
    toolCalls,
    blocks: blocksOf(raw, toolCalls),
  };
}

function blocksOf(raw, toolCalls) {
  const blocks = (raw.contentBlocks ?? []).map((block) =>
    block.type === "widget" ? widgetBlock({ ...block, type: undefined }) : block,
  );
  const has = (type) => blocks.some((block) => block.type === type);
  if (raw.text && !has("text")) blocks.unshift({ type: "text", text: raw.text });
  const placed = new Set(blocks.flatMap((block) => block.callIds ?? []));
  const loose = toolCalls.map((call) => call.id).filter((id) => !placed.has(id));
  if (loose.length > 0) blocks.push({ type: "tool_calls", callIds: loose });
  if (!has("widget")) blocks.push(...(raw.widgets ?? []).map(widgetBlock));
  if (!has("image")) {
    blocks.push(...(raw.images ?? []).map((image) => ({ ...image, type: "image" })));
  }
  return blocks;
}

/** An open question to a person: `{id, kind, callId, …its data}`. */
export function interaction(raw, kind = null) {
  const data = { ...raw, ...(raw.request ?? raw.payload ?? {}) };
  const guess = data.questions ? "ask_user" : data.options ? "ask_choice" : "confirmation";
  const named = kind ?? raw.kind ?? raw.type ?? guess;
  return {
    ...data,
    id: raw.interactionId ?? raw.interaction_id ?? raw.correlation_id ?? raw.ask_id ?? raw.id,
    kind: named === "confirmation_required" || named === "confirm" ? "confirmation" : named,
    callId: data.call_id ?? data.tool_id ?? data.callId ?? data.preview_id ?? null,
  };
}

/** Token counts as `{total, input, output}`; null when the server said nothing. */
export function usage(raw) {
  if (raw == null) return null;
  if (typeof raw === "number") return { total: raw };
  const input = raw.input_tokens ?? raw.input ?? 0;
  const output = raw.output_tokens ?? raw.output ?? 0;
  return { total: raw.total_tokens ?? raw.total ?? input + output, input, output };
}

/** Micro-dollars; null when a price is unknown, undefined when nothing was said. */
export function costMicros(raw) {
  if (raw === undefined || typeof raw === "number") return raw;
  return raw === null ? null : (raw.estimatedCostMicros ?? null);
}
