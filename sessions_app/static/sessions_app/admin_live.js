// Admin pages of conversations follow the event bus: lists are read again in place, a page of one
// session offers to be loaded again, a run's timeline is read again event by event while it is live.
// The dashboard's figures and results of evals are read again now and then. A hidden tab follows
// nothing, and reads its page again when somebody looks at it.

const SOON = 700; // one reading for many changes
const LATER = 3000; // figures of everything
const KINDS = [
  "session_created", "session_updated", "session_deleted", "run_started", "run_finished",
  "interaction_opened", "interaction_closed", "alert_raised",
  "automation_triggered", "automation_completed", "automation_failed", "automation_started",
  "automation_stopped", "delivery_succeeded", "delivery_failed",
];
let source = null;
let wasHidden = false;
let timer = null;
let log = null; // the live run's own events

/** Whether this is the page of what an event is about; addresses of the admin quote `_`. */
function isShown({ sessionId, runId }) {
  const quoted = [sessionId, runId].map((id) => id?.replaceAll("_", "_5F"));
  return quoted.some((id) => id && location.pathname.includes(`/${id}/`));
}

function offerReload() {
  if (document.getElementById("ag-changed")) return;
  const link = document.createElement("a");
  link.href = location.href;
  link.textContent = "load it again";
  link.className = "ag-link";
  const line = document.createElement("p");
  line.id = "ag-changed";
  line.className = "ag-note";
  line.setAttribute("role", "status");
  line.append("This has changed since it was loaded: ", link, ".");
  document.getElementById("content")?.prepend(line);
}

/** Replace these parts of the page by what the server says now; opened details stay open. */
async function readAgain(...ids) {
  timer = null;
  const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return null;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const id of ids) {
    const [old, fresh] = [document.getElementById(id), page.getElementById(id)];
    if (!old || !fresh || old.contains(document.activeElement?.closest("form.ag-answer"))) continue;
    for (const { dataset } of old.querySelectorAll("details[open][data-key]")) {
      fresh.querySelector(`details[data-key="${CSS.escape(dataset.key)}"]`)?.setAttribute("open", "");
    }
    old.replaceWith(fresh);
  }
  followRun();
  return page;
}

/** The dashboard's charts and their tables as `page` has them; the canvases stay where they are. */
function redraw(page) {
  const [old, fresh] = [document, page].map((each) => each?.getElementById("ag-charts"));
  if (!old || !fresh) return;
  const [was, now] = [old, fresh].map((each) => [...each.querySelectorAll("canvas, table, .ag-note")]);
  if (was.some((part, place) => part.tagName !== now[place]?.tagName) || was.length !== now.length) {
    old.replaceWith(fresh); // the first cost there is
    renderCharts();
    return;
  }
  was.forEach((part, place) => {
    const chart = part.tagName === "CANVAS" && Chart.getChart(part);
    if (!chart) part.replaceWith(now[place]);
    else {
      chart.data = JSON.parse(now[place].dataset.value);
      chart.update("none");
    }
  });
}

/** A list, unless somebody is choosing rows of it. */
async function readListAgain() {
  timer = null;
  if (document.querySelector("#result_list input:checked")) return;
  const old = document.getElementById("result_list");
  const page = await readAgain("result_list");
  if (!page) return;
  // A list that was read again has moved here out of `page`. What stands around it, and the old
  // list where there is no new one, only loading changes: its first row, or none any more.
  if (old ? old.isConnected : page.getElementById("result_list")) location.reload();
}

const readRunAgain = () => readAgain("ag-timeline", "ag-head", "run_form", "ag-compare");

/** While the run on the page is live, each of its events is a reason to read it again. */
async function followRun() {
  const address = document.hidden ? null : document.getElementById("ag-timeline")?.dataset.follow;
  if (!address) log?.abort();
  if (!address || log) return;
  log = new AbortController();
  try {
    const answer = await fetch(address, { signal: log.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      if (read.value.includes("data:")) timer ??= setTimeout(readRunAgain, SOON);
    }
    // A stream ends now and then; what is read again follows from where it stands.
    if (answer.ok) timer ??= setTimeout(readRunAgain, LATER);
  } catch {
    // Closed by us, or lost: the bus tells of the run's end all the same.
  }
  log = null;
}

/** Results of evals come without events of their own: while some are open, they are read again. */
async function followEvals() {
  if (document.hidden || timer || !document.querySelector("#ag-evals[data-live]")) return;
  timer = setTimeout(async () => {
    await readAgain("ag-evals");
    followEvals();
  }, LATER);
}

const readFiguresAgain = async () => redraw(await readAgain("ag-figures", "ag-costs"));

/** How this page is read again, and how soon after an event; none: a person has to load it. */
function findReading() {
  if (document.getElementById("ag-figures")) return [readFiguresAgain, LATER];
  if (document.getElementById("ag-evals")) return null; // `followEvals` does
  if (document.getElementById("changelist-form")) return [readListAgain, SOON];
  if (document.querySelector("#ag-timeline, #ag-compare")) return [readRunAgain, SOON];
  return null;
}

/** What happened while the tab was hidden was told to nobody, up to where the stream stands again. */
function catchUp() {
  const reading = document.hidden ? null : findReading();
  if (reading) timer ??= setTimeout(reading[0], 0);
}

function see({ data }) {
  const event = JSON.parse(data);
  const reading = findReading();
  const ofAll = document.querySelector("#ag-figures, #changelist-form");
  if (!ofAll && !isShown(event)) return;
  if (reading) timer ??= setTimeout(...reading);
  else if (!document.getElementById("ag-evals")) offerReload();
}

function follow() {
  if (document.hidden) {
    source?.close();
    source = null;
  } else if (source === null) {
    // A page that was just loaded hears what has happened since it was made, too.
    const age = Math.ceil(performance.now() / 1000) + 1;
    source = new EventSource(wasHidden ? "/admin/events" : `/admin/events?age=${age}`);
    for (const kind of KINDS) source.addEventListener(kind, see);
    source.addEventListener("stream-reset", catchUp);
    if (wasHidden) source.addEventListener("stream-open", catchUp);
  }
}

document.addEventListener("visibilitychange", () => {
  wasHidden ||= document.hidden;
  follow();
  catchUp();
  followRun();
  followEvals();
});
follow();
addEventListener("DOMContentLoaded", followRun);
addEventListener("DOMContentLoaded", followEvals);
