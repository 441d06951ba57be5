// Draws the figure it is given, in the colours of the theme, and lengthens it as scores come in.
import { percentText, signedBpsText } from "./format.js";
import { page, word } from "./page.js";

const PRICE = 0;
const PROBABILITY = 1;
const SIGNALS = 2;
const EXTEND_MS = 1000;
const SLACK = 1.1; // the line may outgrow its time range by so much before it is asked for anew
const RETRY_MS = 5000;
const RESULTS = { tp: "var(--up)", sl: "var(--down)", timeout: "var(--warning)" };

export class Chart {
  #plot = document.getElementById("plot");
  #cover = document.getElementById("chart-cover");
  #figure = null;
  #waiting = [];
  #last = 0;
  #drawn = Promise.resolve();
  #asked = 0;
  symbol = this.#plot.dataset.symbol;
  minutes = Number(this.#plot.dataset.minutes);

  start() {
    setInterval(() => this.#extend(), EXTEND_MS);
    document.addEventListener("surge:theme", () => this.#figure && this.#draw());
    document.addEventListener("visibilitychange", () => !document.hidden && this.#figure && this.#draw());
    new ResizeObserver(() => this.#plot.data && Plotly.Plots.resize(this.#plot)).observe(this.#plot);
    this.load();
  }

  show(symbol, minutes = this.minutes) {
    if (symbol === this.symbol && minutes === this.minutes && this.#figure) return;
    this.symbol = symbol;
    this.minutes = minutes;
    this.#waiting = [];
    this.#figure = null;
    this.load();
  }

  async load() {
    const asked = ++this.#asked;
    if (!this.symbol) return this.#say("");
    if (!this.#figure) this.#say("chart_loading");
    const answer = await this.#fetchFigure();
    if (asked !== this.#asked) return; // another coin was chosen meanwhile
    if (answer === null) {
      this.#say("chart_error");
      setTimeout(() => asked === this.#asked && this.load(), RETRY_MS);
      return;
    }
    this.#figure = answer.figure;
    this.#last = this.#figure.data[PRICE].x.at(-1) ?? 0;
    this.#say(answer.points ? null : "chart_empty");
    await this.#draw();
  }

  // One score of the chosen coin, from the stream.
  take(row) {
    if (row.symbol !== this.symbol || !this.#figure || row.price === null) return;
    this.#waiting.push({ x: Math.floor(Number(row.tick_ns) / 1e6), price: row.price, p: row.p });
  }

  mark(signal) {
    if (signal.symbol !== this.symbol || !this.#figure) return;
    const x = Math.floor(Number(signal.decided_ns.slice(0, -6)));
    const marks = this.#figure.data[SIGNALS];
    if (marks.x.includes(x)) return;
    marks.x.push(x);
    marks.y.push(Number(signal.price));
    marks.text.push(`${signal.tier} ${percentText(signal.p_tp)} · ${signedBpsText(signal.utility_bps)} bps`);
    marks.marker.color.push(RESULTS[signal.outcome?.result] ?? "var(--accent-text)");
    this.#draw();
  }

  async #fetchFigure() {
    const address = page.chart.replace("SYMBOL", encodeURIComponent(this.symbol));
    try {
      const answer = await fetch(`${address}?minutes=${this.minutes}`, { cache: "no-store" });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }

  #say(name) {
    this.#cover.hidden = name === null;
    if (name !== null) this.#cover.firstElementChild.textContent = name ? word(name) : "";
  }

  #draw() {
    const { data, layout } = themed(this.#figure, getComputedStyle(document.documentElement));
    const config = { displayModeBar: false, responsive: false, showTips: false };
    if (matchMedia("(hover: none)").matches) layout.dragmode = false; // a finger scrolls the page
    this.#drawn = this.#drawn.then(() => Plotly.react(this.#plot, data, layout, config));
    return this.#drawn;
  }

  #extend() {
    const fresh = this.#waiting.filter((point) => point.x > this.#last).sort((a, b) => a.x - b.x);
    this.#waiting = [];
    if (!fresh.length || !this.#figure || document.hidden) return this.#keep(fresh);
    this.#keep(fresh);
    const x = fresh.map((point) => point.x);
    const more = { x: [x, x], y: [fresh.map((point) => point.price), fresh.map((point) => point.p)] };
    this.#say(null);
    this.#drawn = this.#drawn.then(() => Plotly.extendTraces(this.#plot, more, [PRICE, PROBABILITY]));
    const [line] = this.#figure.data;
    if (this.#last - line.x[0] > SLACK * this.minutes * 60000) this.load();
  }

  // The figure itself grows too, so that a change of theme redraws everything.
  #keep(points) {
    if (!this.#figure) return;
    for (const { x, price, p } of points) {
      const [line, probability] = this.#figure.data;
      line.x.push(x);
      line.y.push(price);
      probability.x.push(x);
      probability.y.push(p);
      this.#last = x;
    }
  }
}

// The figure names colours as CSS variables; Plotly wants their values.
export function themed(value, style) {
  if (typeof value === "string") {
    const name = /^var\((--[\w-]+)\)$/.exec(value);
    return name ? style.getPropertyValue(name[1]).trim() : value;
  }
  if (Array.isArray(value)) return value.map((item) => (typeof item === "number" ? item : themed(item, style)));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, style)]));
  }
  return value;
}
