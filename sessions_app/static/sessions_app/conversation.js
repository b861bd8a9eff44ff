// The open session: its state, the requests that change it, and the stream that follows it.
// Law: leaving, reloading or losing the connection never stops a run; only `stop` does.

import * as api from "./api.js";
import { emptyState, fold, fromLiveSession, fromSession } from "./fold.js";
import { keepReading } from "./stream.js";

const LIVE = new Set(["running", "waiting", "queued"]);

export class Conversation {
  #listeners = [];
  #visit = new AbortController(); // ends when another session is opened
  #follower = null;
  #posting = false;

  constructor() {
    this.state = emptyState();
    this.view = calm();
    document.addEventListener("visibilitychange", () => this.#arrange());
  }

  /** `listener(state, view, frame | null)` after every change. */
  listen(listener) {
    this.#listeners.push(listener);
  }

  get isLive() {
    return this.state.run !== null || this.#posting;
  }

  #tell(frame = null) {
    for (const listener of this.#listeners) listener(this.state, this.view, frame);
  }

  #show(changes) {
    this.view = { ...this.view, ...changes };
    this.#tell();
  }

  #leave() {
    this.#visit.abort();
    this.#follower?.abort();
    this.#visit = new AbortController();
    this.#follower = null;
    this.#posting = false;
    this.view = calm();
    return this.#visit.signal;
  }

  startNew() {
    this.#leave();
    this.state = emptyState();
    this.#tell();
  }

  async open(id) {
    const signal = this.#leave();
    this.state = emptyState(id);
    this.#show({ loading: true });
    try {
      const state = await this.#load(id, signal);
      if (signal.aborted) return;
      this.state = state;
      this.#show({ loading: false });
      this.#arrange();
    } catch (error) {
      if (!signal.aborted) this.#show({ loading: false, failure: error });
    }
  }

  async #load(id, signal) {
    const body = await api.readSession(id, signal);
    const session = body.session ?? body;
    const live = LIVE.has(session.status) || LIVE.has(session.run?.status);
    if (!live) return fromSession(body);
    const snapshot = await api.readState(id, (session.run?.firstSeq ?? 1) - 1, signal);
    const frames = (snapshot.events ?? []).map(asFrame);
    const state = fromLiveSession(body, frames);
    const parked = state.run && session.status === "waiting";
    return parked ? { ...state, run: { ...state.run, status: "waiting" } } : state;
  }

  /** Send what the person wrote. Resolves when its stream has ended, for whatever reason. */
  async send(text, images = []) {
    const signal = this.#visit.signal;
    this.state = { ...this.state, outgoing: { text, images, error: null } };
    this.#posting = true;
    this.view = { ...this.view, problem: null };
    this.#arrange();
    this.#tell();
    const body = { message: contentOf(text, images), sessionId: this.state.sessionId };
    if (text !== "" && images.length > 0) body.images = images.map(({ mimeType, data }) => ({ mimeType, data }));
    const key = freshKey();
    let began = false;
    try {
      await keepReading({
        open: () => api.startRun(body, key, signal),
        onFrame: (frame) => {
          began = true;
          this.#take(frame);
        },
        onWait: (wait) => this.#show({ waiting: wait !== null }),
        isOver: () => began, // from then on the log is followed
        signal,
      });
    } catch (error) {
      if (signal.aborted) return;
      this.state = { ...this.state, outgoing: { text, images, error } };
    }
    if (signal.aborted) return;
    this.#posting = false;
    this.#tell();
    this.#arrange();
  }

  retitle(title) {
    this.state = { ...this.state, title };
    this.#tell();
  }

  withdraw() {
    this.state = { ...this.state, outgoing: null };
    this.#tell();
  }

  #take(frame) {
    this.state = fold(this.state, frame);
    if (this.state.run === null && this.view.stopping) this.view.stopping = false;
    this.#tell(frame);
    if (this.state.stale) this.open(this.state.sessionId);
  }

  /** Follow the log whenever a run is live or somebody looks; one connection at the most. */
  #arrange() {
    const { sessionId, lastSeq } = this.state;
    const needed = sessionId !== null && lastSeq !== null && !this.#posting && !this.view.failure;
    const wanted = needed && (this.state.run !== null || !document.hidden);
    if (!wanted) {
      this.#follower?.abort();
      this.#follower = null;
    } else if (this.#follower === null) {
      this.#follow(sessionId);
    }
  }

  async #follow(id) {
    const follower = new AbortController();
    this.#follower = follower;
    try {
      await keepReading({
        open: (signal) => api.openEvents(id, this.state.lastSeq, signal),
        onFrame: (frame) => this.#take(frame),
        onWait: (wait) => this.#show({ waiting: wait !== null && this.state.run !== null }),
        isOver: () => false,
        signal: follower.signal,
      });
    } catch (error) {
      if (!follower.signal.aborted) this.#show({ failure: error, waiting: false });
    }
  }

  /** The one way to stop a run. Safe to call twice. */
  async stop() {
    if (this.state.run === null) return this.#posting ? this.#stopSending() : undefined;
    this.#show({ stopping: true, problem: null });
    try {
      await api.interrupt(this.state.sessionId);
    } catch (error) {
      this.#show({ stopping: false, problem: `Not stopped: ${error.message}` });
    }
  }

  #stopSending() {
    const { outgoing } = this.state;
    this.#leave();
    const error = new Error("Sending was stopped. The server had not confirmed the message.");
    this.state = { ...this.state, outgoing: outgoing && { ...outgoing, error } };
    this.#tell();
    this.#arrange();
  }

  /** Answer an open question; resolves to a sentence when the server refused. */
  async answer(interaction, answer) {
    const { sessionId } = this.state;
    try {
      await api.answerInteraction({ sessionId, interactionId: interaction.id, ...answer });
      return null;
    } catch (error) {
      return REFUSALS[error.status] ?? error.message;
    }
  }
}

/** What the page shows besides the log: requests on their way, and trouble with them. */
const calm = () => ({
  loading: false,
  waiting: false, // for a lost connection
  stopping: false,
  failure: null, // why the session cannot be shown or followed
  problem: null, // one sentence on the last request
});

/** Words as they are; pictures without words as content parts, because words may not be empty. */
function contentOf(text, images) {
  if (text !== "") return text;
  return images.map(({ mimeType, data }) => ({
    type: "image",
    source: { type: "base64", mediaType: mimeType, data },
  }));
}

const REFUSALS = {
  404: "This question is no longer open.",
  409: "This question has already been answered.",
  410: "The time to answer this question has run out.",
};

const asFrame = ({ seq, id, event, type, data, ...rest }) => ({
  seq: seq ?? Number(id),
  event: event ?? type,
  data: data ?? rest,
});

/** A key that no other request has; works on plain http too, unlike `randomUUID`. */
function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

