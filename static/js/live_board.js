// The table of coins: takes rows, shows them at most four times a second, keeps them in order and tells their age.
import { ageText, bpsText, direction, percentText, priceText, signedBpsText } from "./format.js";
import { page, serverNow, word } from "./page.js";

const PAINT_MS = 250;
const ORDER_MS = 2000;
const AGE_MS = 1000;
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export class LiveBoard extends EventTarget {
  #body = document.getElementById("rows");
  #template = document.getElementById("row-template").content.firstElementChild;
  #mark = Number.parseFloat(this.#template.querySelector(".p-mark")?.getAttribute("x") ?? "1000") / 100;
  #pending = new Map();
  #painting = false;
  #isHeld = false;
  #filter = "";
  rows = new Map(); // symbol -> { row, line, shownAt }
  selected = document.getElementById("plot").dataset.symbol;

  start() {
    for (const line of this.#body.rows) this.rows.set(line.dataset.symbol, { row: null, line });
    const table = this.#body.closest(".board-table");
    const hold = (held) => () => this.#hold(held);
    table.addEventListener("pointerenter", hold(true));
    table.addEventListener("pointerleave", hold(false));
    this.#body.addEventListener("click", (event) => this.#click(event));
    setInterval(() => this.#order(), ORDER_MS);
    setInterval(() => this.#ages(), AGE_MS);
  }

  // Rows that changed, from the stream.
  take(rows) {
    for (const row of rows) this.#pending.set(row.symbol, row);
    if (this.#painting) return;
    this.#painting = true;
    setTimeout(() => requestAnimationFrame(() => this.#paint()), PAINT_MS);
  }

  // All rows there are, from the snapshot.
  replace(rows) {
    const symbols = new Set(rows.map((row) => row.symbol));
    for (const [symbol, known] of this.rows) {
      if (!symbols.has(symbol)) {
        known.line.remove();
        this.rows.delete(symbol);
      }
    }
    for (const row of rows) this.#pending.set(row.symbol, row);
    this.#paint();
    this.#order(true);
  }

  filter(text) {
    this.#filter = text.trim().toUpperCase();
    let found = 0;
    for (const [symbol, { line }] of this.rows) {
      line.hidden = !symbol.toUpperCase().includes(this.#filter);
      found += line.hidden ? 0 : 1;
    }
    const blank = document.getElementById("search-blank");
    blank.hidden = found > 0 || this.rows.size === 0;
    blank.firstElementChild.textContent = word("no_match");
  }

  select(symbol) {
    this.selected = symbol;
    for (const [name, { line }] of this.rows) line.setAttribute("aria-selected", String(name === symbol));
  }

  step(by) {
    const lines = [...this.#body.rows].filter((line) => !line.hidden);
    if (!lines.length) return null;
    const at = lines.findIndex((line) => line.dataset.symbol === this.selected);
    return lines[Math.min(lines.length - 1, Math.max(0, at + by))];
  }

  first() {
    return this.#body.rows[0]?.dataset.symbol;
  }

  top() {
    let best = null;
    for (const { row } of this.rows.values()) {
      if (row && row.state === "live" && row.p !== null && (best === null || row.p > best.p)) best = row;
    }
    return best;
  }

  count(state) {
    let n = 0;
    for (const { line } of this.rows.values()) n += line.dataset.state === state ? 1 : 0;
    return n;
  }

  #click(event) {
    const line = event.target.closest("tr");
    if (!line || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    this.dispatchEvent(new CustomEvent("choose", { detail: line.dataset.symbol }));
  }

  #hold(held) {
    this.#isHeld = held;
    document.getElementById("board-note").textContent = held && matchMedia("(hover: hover)").matches ? word("order_paused") : "";
    if (!held) this.#order();
  }

  #paint() {
    this.#painting = false;
    const isShown = !document.hidden;
    for (const row of this.#pending.values()) this.#paintRow(row, isShown);
    const painted = [...this.#pending.values()];
    this.#pending.clear();
    document.getElementById("board-blank").hidden = this.rows.size > 0;
    this.dispatchEvent(new CustomEvent("painted", { detail: painted }));
  }

  #paintRow(row, isShown) {
    const known = this.rows.get(row.symbol) ?? this.#add(row.symbol);
    const before = known.row;
    known.row = row;
    known.at = serverNow() - (row.age_ms ?? 0);
    const cell = (name) => known.line.querySelector(`[data-cell="${name}"]`);
    known.line.dataset.p = row.p ?? "";
    put(cell("p"), percentText(row.p));
    known.line.querySelector(".p-fill").setAttribute("width", `${(100 * Math.min(1, Math.max(0, row.p ?? 0))).toFixed(1)}%`);
    known.line.toggleAttribute("data-hot", row.p !== null && row.p >= this.#mark);
    colour(put(cell("utility"), signedBpsText(row.utility_bps)), direction(row.utility_bps, true));
    put(cell("spread"), bpsText(row.spread_bps));
    colour(put(cell("change"), signedBpsText(row.change_60s_bps)), direction(row.change_60s_bps));
    put(cell("price"), priceText(row.price));
    if (isShown && before && before.price !== row.price) flash(cell("price"), row.price > before.price);
    showState(known.line, row.state, row.reason);
    put(cell("age"), ageText(row.age_ms));
  }

  #add(symbol) {
    const line = this.#template.cloneNode(true);
    const link = line.querySelector("th a");
    line.dataset.symbol = symbol;
    line.setAttribute("aria-selected", String(symbol === this.selected));
    const base = symbol.endsWith("USDT") && symbol !== "USDT" ? symbol.slice(0, -4) : symbol;
    link.querySelector("b").textContent = base;
    link.querySelector("span").textContent = symbol.slice(base.length);
    link.href = `?symbol=${encodeURIComponent(symbol)}`;
    link.title = symbol;
    line.hidden = !symbol.toUpperCase().includes(this.#filter);
    this.#body.append(line);
    const known = { row: null, line };
    this.rows.set(symbol, known);
    return known;
  }

  // Ages grow between messages, and a row that nobody renews turns stale by itself.
  #ages() {
    for (const { row, line, at } of this.rows.values()) {
      if (!row) continue;
      const age = serverNow() - at;
      put(line.querySelector('[data-cell="age"]'), ageText(age));
      if (age > page.stale_after_ms + (row.age_ms ?? 0)) showState(line, "stale", row.reason);
    }
    this.dispatchEvent(new Event("aged"));
  }

  // Most probable first; never while somebody points at a row or has the keyboard in the table.
  #order(always = false) {
    const isBusy = this.#isHeld || this.#body.contains(document.activeElement);
    if (!always && isBusy) return;
    const rank = ({ line }) => (line.dataset.p === "" ? 1 : -Number(line.dataset.p));
    const wanted = [...this.rows.values()].sort((a, b) => rank(a) - rank(b) || (a.line.dataset.symbol < b.line.dataset.symbol ? -1 : 1));
    wanted.forEach(({ line }, place) => {
      if (this.#body.rows[place] !== line) this.#body.insertBefore(line, this.#body.rows[place] ?? null);
    });
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
  return element;
}

function colour(element, name) {
  element.classList.toggle("up", name === "up");
  element.classList.toggle("down", name === "down");
}

function showState(line, state, reason) {
  line.dataset.state = state;
  const shown = put(line.querySelector('[data-cell="state"]'), word(`state_${state}`));
  shown.className = `state state-${state}`;
  shown.title = (reason ?? "").split(", ").filter(Boolean).map((gate) => page.words[`gate_${gate}`] ?? gate).join(", ");
}

function flash(element, isUp) {
  if (!CALM.matches) element.animate([{ color: `var(--${isUp ? "up" : "down"}-text)` }], 700);
}
