// The Surge Board: joins stream, table, chart and feed.
import { Chart } from "./chart.js";
import { Feed } from "./feed.js";
import { ageText, percentText, priceText, signedBpsText } from "./format.js";
import { keysStart } from "./keys.js";
import { LiveBoard } from "./live_board.js";
import { clockSet, page, serverNow, word } from "./page.js";
import { Stream } from "./stream.js";

const SNAPSHOT_MS = 30000;
const byId = (id) => document.getElementById(id);

const stream = new Stream();
const board = new LiveBoard();
const feed = new Feed();
const chart = new Chart();
let newestMs = 0;
let hasOpened = false;

async function snapshot() {
  try {
    const answer = await fetch(page.symbols, { cache: "no-store" });
    if (answer.status === 503) return banner("problem", true);
    if (!answer.ok) return;
    const told = await answer.json();
    clockSet(told.now_ms);
    banner("problem", false);
    board.replace(told.rows);
    for (const row of told.rows) note(row);
    ages();
  } catch {
    ages(); // offline: the stream tries again, and its next opening brings a snapshot
  }
}

function note(row) {
  newestMs = Math.max(newestMs, Number(row.tick_ns) / 1e6);
}

function banner(name, isShown) {
  document.querySelector(`[data-banner="${name}"]`).hidden = !isShown;
}

// The badge tells the age of the newest data on the page, and whether more can come.
function ages() {
  const age = newestMs ? serverNow() - newestMs : null;
  const isStale = age !== null && age > page.stale_after_ms;
  const [state, text] = {
    connecting: ["connecting", word("connecting")],
    reconnecting: ["reconnecting", navigator.onLine ? word("reconnecting") : word("offline")],
    refused: ["refused", word("refused")],
    "signed-out": ["refused", word("signed_out")],
    open: isStale ? ["stale", word("data_stale")] : ["live", word("live")],
  }[stream.state];
  byId("live-badge").dataset.state = state;
  byId("live-word").textContent = text;
  byId("live-age").textContent = age === null ? "" : ageText(age);
  banner("signed-out", stream.state === "signed-out");
  banner("refused", stream.state === "refused");
  banner("stale", isStale);
  counts();
}

function counts() {
  const n = Object.fromEntries(["live", "warming", "stale"].map((state) => [state, board.count(state)]));
  for (const [state, count] of Object.entries(n)) document.querySelector(`[data-count="${state}"]`).textContent = String(count);
  banner("warming", n.warming > 0 && n.live === 0 && n.stale < board.rows.size);
  const top = board.top();
  byId("top-symbol").textContent = top?.symbol ?? "–";
  byId("top-p").textContent = percentText(top?.p);
}

function now() {
  const row = board.rows.get(chart.symbol)?.row;
  if (!row) return;
  byId("now-price").textContent = priceText(row.price);
  byId("now-p").textContent = percentText(row.p);
  byId("now-utility").textContent = signedBpsText(row.utility_bps);
}

// The address says which coin and range are on screen; back and forward walk through them.
function choose(symbol, { minutes = chart.minutes, remember = true } = {}) {
  board.select(symbol);
  chart.show(symbol, minutes);
  byId("chart-title").textContent = symbol;
  document.title = document.title.replace(/^\S+ · (?=.* · )/, `${symbol} · `);
  now();
  for (const link of document.querySelectorAll("[data-minutes]:is(a)")) {
    link.href = `?symbol=${encodeURIComponent(symbol)}&minutes=${link.dataset.minutes}`;
    link.setAttribute("aria-current", String(Number(link.dataset.minutes) === minutes));
  }
  if (!remember) return;
  const address = new URL(location.href);
  address.searchParams.set("symbol", symbol);
  address.searchParams.set("minutes", String(minutes));
  if (address.href !== location.href) history.pushState(null, "", address);
}

function ranges() {
  for (const link of document.querySelectorAll("a[data-minutes]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      choose(chart.symbol, { minutes: Number(link.dataset.minutes) });
    });
  }
}

addEventListener("popstate", () => {
  const address = new URLSearchParams(location.search);
  const symbol = address.get("symbol") ?? board.first();
  if (symbol) choose(symbol, { minutes: Number(address.get("minutes") ?? 15), remember: false });
});

stream.addEventListener("state", ages);
stream.addEventListener("reset", () => {
  snapshot();
  feed.reload();
  if (hasOpened) chart.load(); // the first opening comes right after the chart was asked for
  hasOpened = true;
});
stream.addEventListener("board", ({ detail }) => {
  board.take(detail.rows);
  for (const row of detail.rows) {
    note(row);
    chart.take(row);
  }
});
stream.addEventListener("signal", ({ detail }) => {
  feed.arrived(detail);
  chart.mark(detail);
});
stream.addEventListener("outcome", ({ detail }) => {
  feed.settled(detail);
  if (feed.symbolOf(detail.public_id) === chart.symbol) chart.load(); // its mark changes colour
});
board.addEventListener("painted", now);
board.addEventListener("aged", ages);
board.addEventListener("choose", ({ detail }) => choose(detail));
feed.addEventListener("choose", ({ detail }) => choose(detail));
const search = byId("search");
search.addEventListener("input", () => board.filter(search.value));
keysStart({ board, search, choose });

ranges();
board.start();
chart.start();
stream.start();
setInterval(snapshot, SNAPSHOT_MS);
