// Folds of tool calls: start, progress, result, and what sub-agents do inside a call.

import { patch, writing } from "./messages.js";
import * as normalise from "./normalise.js";

function started(state, data, frame) {
  const open = writing(state, data, frame);
  const call = normalise.toolCall({ ...data, status: "running" });
  return patch(open, open.current, (item) => {
    const last = item.blocks.at(-1);
    const grouped = last?.type === "tool_calls";
    const block = { type: "tool_calls", callIds: [...(grouped ? last.callIds : []), call.id] };
    return {
      ...item,
      toolCalls: [...item.toolCalls, call],
      blocks: [...(grouped ? item.blocks.slice(0, -1) : item.blocks), block],
    };
  });
}

/** Change one call, wherever its message stands; an unknown id changes nothing. */
function patchCall(state, id, change) {
  const owner = state.messages.findLast((item) => item.toolCalls?.some((call) => call.id === id));
  if (!owner) return state;
  return patch(state, owner.id, (item) => ({
    ...item,
    toolCalls: item.toolCalls.map((call) => (call.id === id ? change(call) : call)),
  }));
}

/** Id of the call of the conversation inside which a sub-agent's call stands. */
function outermost(state, id) {
  const calls = state.messages.flatMap((item) => item.toolCalls ?? []);
  const holds = (call) =>
    call.agents.some((agent) => agent.steps.some((step) => step.kind === "tool" && step.id === id));
  return calls.find((call) => call.id === id)?.id ?? calls.findLast(holds)?.id ?? id;
}

const idOf = (data) => data.id ?? data.tool_id;

function ended(state, data) {
  const id = idOf(data);
  const failed = data.status ? data.status !== "success" : data.error != null;
  const next = patchCall(state, id, (call) => ({
    ...call,
    status: failed ? "error" : "success",
    result: data.result ?? call.result,
    content: data.content ?? null,
    error: data.error ?? null,
    durationMs: data.duration_ms ?? null,
  }));
  return { ...next, interactions: next.interactions.filter((item) => item.callId !== id) };
}

const addLine = (line) => (call) => ({ ...call, lines: [...call.lines, line] });

function logged(state, data) {
  const running = (call) => call.name === data.tool_name && call.status === "running";
  const calls = state.messages.flatMap((item) => item.toolCalls ?? []);
  const id = idOf(data) ?? calls.findLast(running)?.id;
  return patchCall(state, id, addLine(data.message));
}

function relabelled(state, data) {
  return patchCall(state, idOf(data), (call) => ({
    ...call,
    runningLabel: data.running_label ?? call.runningLabel,
    completedLabel: data.completed_label ?? call.completedLabel,
  }));
}

/** Steps of a child agent: streamed text is joined, a result closes the line of its call. */
function childSteps(steps, event) {
  const last = steps.at(-1);
  const said = event.delta ?? event.content ?? event.text ?? "";
  switch (event.type) {
    case "text_delta":
    case "thought":
      if (last?.kind !== "text") return [...steps, { kind: "text", text: said }];
      return [...steps.slice(0, -1), { ...last, text: last.text + said }];
    case "tool_call_start": {
      const id = event.id ?? event.tool_id;
      return [...steps, { kind: "tool", id, name: event.name ?? event.tool_name, status: "running" }];
    }
    case "tool_call_result":
    case "tool_call_end": {
      const id = event.id ?? event.tool_id;
      const mine = (step) => step.kind === "tool" && step.status === "running";
      const at = steps.findLastIndex((step) => mine(step) && (id == null || step.id === id));
      const status = event.status === "error" || event.error ? "error" : "success";
      const result = event.error ?? event.result ?? "";
      return at < 0 ? steps : steps.with(at, { ...steps[at], status, result });
    }
    case "error":
      return [...steps, { kind: "error", text: event.message ?? event.error ?? said }];
    case "run_resumed":
      return last?.kind === "text" ? steps.slice(0, -1) : steps; // it is said again
    case "done":
    case "complete":
    case "init":
    case "context_usage":
      return steps;
    default:
      return [...steps, { kind: "other", name: event.type, data: event }];
  }
}

function reported(state, data) {
  const { event_type: type, tool_name: name, text, error, result, ...rest } = data;
  const event = data.event ?? { ...rest, type, name, text, error, result };
  const id = data.agentId ?? data.agent_name ?? "agent";
  const settled = event.type === "tool_call_result" || event.type === "tool_call_end";
  const asked = settled ? idOf(event) : null;
  const open = state.interactions.filter((item) => asked === null || item.callId !== asked);
  const next = open.length === state.interactions.length ? state : { ...state, interactions: open };
  return patchCall(next, outermost(state, data.parent_tool_id), (call) => {
    const known = call.agents.find((agent) => agent.id === id);
    const agent = known ?? { id, name: data.agent_name ?? id, steps: [] };
    const told = { ...agent, steps: childSteps(agent.steps, event) };
    const agents = call.agents.map((item) => (item.id === id ? told : item));
    return { ...call, agents: known ? agents : [...call.agents, told] };
  });
}

export const TOOL_FOLDS = {
  tool_call_start: started,
  tool_call_result: ended,
  tool_call_progress: (state, data) => patchCall(state, idOf(data), addLine(data.data)),
  tool_log: logged,
  tool_label_update: relabelled,
  subagent_event: reported,
};
