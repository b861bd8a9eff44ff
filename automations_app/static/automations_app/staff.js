// Pages of automations: the schedule read out as it is typed, copying, a run as it goes.

const form = document.querySelector("#automation-form");
const box = document.querySelector("[data-preview]");

const LINES = {
  tool_call_start: (event) => `\n→ ${event.running_label ?? event.tool_name}\n`,
  tool_call_result: (event) => `← ${event.status}\n`,
  text_delta: (event) => event.delta,
  notice: (event) => `\n${event.message}\n`,
  error: (event) => `\n${event.message}\n`,
};

function show(told) {
  box.replaceChildren();
  const line = document.createElement("p");
  line.textContent = told.error ?? `${told.reading}. Next in ${told.zone}:`;
  if (told.error) line.className = "au-danger";
  box.append(line);
  const list = document.createElement("ul");
  list.className = "au-lines";
  for (const time of told.times ?? []) {
    const item = document.createElement("li");
    item.textContent = time;
    list.append(item);
  }
  box.append(list);
}

let asked = 0;
async function preview() {
  const { schedule, timezone, trigger } = form.elements;
  if (trigger.value !== "cron" || !schedule.value.trim()) return box.replaceChildren();
  const mine = ++asked;
  const query = new URLSearchParams({ schedule: schedule.value, timezone: timezone.value });
  const answer = await fetch(`${box.dataset.preview}?${query}`);
  if (answer.ok && mine === asked) show(await answer.json());
}

// Fields that only one way of setting off has.
const OF = {
  cron: ["schedule", "timezone", "overlap", "catch_up"],
  webhook: ["mode", "auth_type", "auth_header", "auth_prefix", "auth_secret"],
};

function fit() {
  for (const [trigger, names] of Object.entries(OF)) {
    for (const name of names) {
      form.querySelector(`.au-field-${name}`).hidden = form.elements.trigger.value !== trigger;
    }
  }
  void preview();
}

if (form) {
  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(preview, 250);
  });
  form.elements.trigger.addEventListener("change", fit);
  fit();
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const done = await copy(document.getElementById(button.dataset.copy));
    document.querySelector("[data-copied]").textContent = done ? "Copied" : "Selected: copy it";
  });
}

// Browsers have a clipboard on https and localhost only; elsewhere the text is selected.
async function copy(place) {
  try {
    await navigator.clipboard.writeText(place.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(place);
    return document.execCommand("copy");
  }
}

const live = document.querySelector("[data-live]");
if (live) {
  const source = new EventSource(live.dataset.live);
  let shown = []; // numbers and words of events, so that `run_resumed` can discard some
  for (const [name, word] of Object.entries(LINES)) {
    source.addEventListener(name, (frame) => {
      if (!frame.data) return;
      const words = word(JSON.parse(frame.data));
      shown.push({ number: Number(frame.lastEventId), words });
      live.append(words);
    });
  }
  source.addEventListener("run_resumed", (frame) => {
    const last = JSON.parse(frame.data).discardFrom;
    shown = shown.filter((each) => each.number <= last);
    live.replaceChildren(...shown.map((each) => each.words));
  });
  // The row is settled a moment after the run's last event.
  source.addEventListener("done", () => {
    source.close();
    setTimeout(() => location.reload(), 700);
  });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
  };
}
