// One event stream for the page: resumes where it left off, backs off with jitter, says what state it is in.
import { clockSet, page } from "./page.js";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15000;
const SILENCE_MS = 30000; // the server speaks at least every 20 s
const EVENTS = ["board", "signal", "outcome"];

export class Stream extends EventTarget {
  #source = null;
  #lastEventId = "";
  #delay = FIRST_DELAY_MS;
  #timer = 0;
  #silence = 0;
  state = "connecting"; // connecting | open | reconnecting | refused | signed-out

  start() {
    addEventListener("online", () => this.#connect());
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && this.#connect());
    this.#connect();
  }

  #say(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  #close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = null;
  }

  #connect() {
    this.#close();
    const resume = this.#lastEventId ? `?lastEventId=${encodeURIComponent(this.#lastEventId)}` : "";
    const source = new EventSource(page.events + resume);
    this.#source = source;
    const hear = (name, act) =>
      source.addEventListener(name, (event) => {
        if (event.lastEventId && event.lastEventId !== "error") this.#lastEventId = event.lastEventId;
        this.#watch();
        act(event);
      });
    hear("stream-open", () => this.#opened());
    hear("stream-reset", () => this.dispatchEvent(new Event("reset")));
    hear("stream-renew", () => this.#connect());
    hear("stream-error", () => this.#retry());
    hear("keep-alive", (event) => event.data && clockSet(JSON.parse(event.data).now_ms));
    for (const name of EVENTS) {
      hear(name, (event) => this.dispatchEvent(new CustomEvent(name, { detail: JSON.parse(event.data) })));
    }
    source.onerror = () => this.#retry();
    this.#watch();
  }

  #opened() {
    this.#delay = FIRST_DELAY_MS;
    this.#say("open");
    this.dispatchEvent(new Event("reset")); // whatever was missed while away is in the snapshot
  }

  #watch() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#retry(), SILENCE_MS);
  }

  async #retry() {
    this.#close();
    this.#say("reconnecting");
    const wait = this.#delay * (0.5 + Math.random());
    this.#delay = Math.min(2 * this.#delay, LONGEST_DELAY_MS);
    this.#timer = setTimeout(() => this.#connect(), wait);
    const status = await this.#ask();
    if (this.#source) return; // connected again in the meantime
    if (status === 403) {
      this.#close();
      this.#say("signed-out");
    } else if (status === 429) {
      this.#say("refused");
    }
  }

  // An event source does not tell why it was refused; the same question without a body does.
  async #ask() {
    try {
      return (await fetch(page.events, { method: "HEAD", cache: "no-store" })).status;
    } catch {
      return 0; // no answer at all: the next try tells
    }
  }
}
