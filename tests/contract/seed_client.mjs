// A browser-style client as the public documentation describes one, in words of our own.
// It is careless on purpose: the event's name is forgotten at the end of each read, so a frame
// that came in two pieces would lose its data. Prints one JSON line per thing it understood.
// Usage: node seed_client.mjs PORT AGENT MESSAGE [MESSAGE...]   (all in one session)

const [port, agentId, ...messages] = process.argv.slice(2);
const tell = (kind, value) => console.log(JSON.stringify([kind, value]));
const renderWidget = (type, data) => tell("widget", { type, data });

const onEvent = {
  text_delta: (data) => tell("text", data.delta),
  tool_call_start: (data) => tell("calling", data.name),
  tool_call_result: (data) => tell("result", data.id.length > 0),
  widget: (data) => renderWidget(data.type, data.data),
  error: (data) => tell("error", data.message),
  done: () => tell("done", true),
};

async function converse(message, sessionId) {
  const answer = await fetch(`http://localhost:${port}/chat/stream`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ message, sessionId, agentId }),
  });
  const decoder = new TextDecoder();
  let known = sessionId;
  let unread = "";
  for await (const piece of answer.body) {
    unread += decoder.decode(piece, { stream: true });
    const whole = unread.split("\n");
    unread = whole.pop();
    let name = null;
    for (const line of whole) {
      if (line.startsWith("event: ")) {
        name = line.slice("event: ".length);
      } else if (line.startsWith("data: ") && name) {
        const data = JSON.parse(line.slice("data: ".length));
        if (name === "init") known = data.sessionId;
        onEvent[name]?.(data);
        name = null;
      }
    }
  }
  return known;
}

let sessionId = null;
for (const message of messages) {
  const known = await converse(message, sessionId);
  tell("session", sessionId === null || sessionId === known);
  sessionId = known;
}
