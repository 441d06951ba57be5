// The feed of signals: cards come from the server, ready in the reader's language; toasts say them aloud.
import { percentText, signedBpsText } from "./format.js";
import { page, word } from "./page.js";

const LONGEST_FEED = 40;
const TOAST_MS = 9000;
const TALLY_MS = 1500;

export class Feed extends EventTarget {
  #list = document.getElementById("feed");
  #toasts = document.getElementById("toasts");
  #tally = document.getElementById("tally");
  #counting = 0;

  async arrived(signal) {
    if (this.#find(signal.public_id)) return; // sent again after a lost connection
    this.#toast(signal);
    const card = await this.#fetchCard(signal.public_id);
    if (!card || this.#find(signal.public_id)) return;
    card.classList.add("signal-new");
    this.#list.prepend(card);
    this.#count();
    while (this.#list.children.length > LONGEST_FEED) this.#list.lastElementChild.remove();
    this.#blank();
  }

  async settled(outcome) {
    const old = this.#find(outcome.public_id);
    if (!old) return;
    const card = await this.#fetchCard(outcome.public_id);
    if (!card) return;
    card.querySelector("details").open = old.querySelector("details").open;
    old.replaceWith(card);
    this.#count();
  }

  // The figures of the day, asked for once however many signals come in a row.
  #count() {
    clearTimeout(this.#counting);
    this.#counting = setTimeout(async () => {
      const html = await fetchHtml(page.tally);
      if (html) this.#tally.replaceChildren(...html.body.children);
    }, TALLY_MS);
  }

  symbolOf(publicId) {
    return this.#find(publicId)?.dataset.symbol;
  }

  // After a gap: the whole list, with what is open left open.
  async reload() {
    const html = await fetchHtml(page.feed);
    if (html === null) return;
    this.#count();
    if (html.body.textContent.trim() === this.#list.textContent.trim()) return;
    const open = new Set([...this.#list.querySelectorAll("details[open]")].map((details) => details.parentElement.dataset.signal));
    const cards = [...html.querySelectorAll(".signal")];
    for (const card of cards) card.querySelector("details").open = open.has(card.dataset.signal);
    this.#list.replaceChildren(...cards);
    this.#blank();
  }

  #find(publicId) {
    return this.#list.querySelector(`[data-signal="${CSS.escape(publicId)}"]`);
  }

  #blank() {
    document.getElementById("feed-blank").hidden = this.#list.children.length > 0;
  }

  async #fetchCard(publicId) {
    const html = await fetchHtml(page.card.replace("00000000-0000-0000-0000-000000000000", publicId));
    return html?.querySelector(".signal") ?? null;
  }

  #toast(signal) {
    const toast = document.createElement("div");
    toast.className = "toast";
    const tier = element("span", `tier tier-${signal.tier}`, signal.tier);
    const link = element("a", "", signal.symbol);
    link.href = `?symbol=${encodeURIComponent(signal.symbol)}`;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      toast.remove();
      this.dispatchEvent(new CustomEvent("choose", { detail: signal.symbol }));
    });
    const close = element("button", "button-plain button-icon", "×");
    close.type = "button";
    close.setAttribute("aria-label", word("dismiss"));
    close.addEventListener("click", () => toast.remove());
    const values = { p: percentText(signal.p_tp), utility: signedBpsText(signal.utility_bps) };
    toast.append(tier, link, element("p", "number", word("toast", values)), close);
    this.#toasts.replaceChildren(toast); // the feed has the others
    fade(toast);
  }
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

// A toast stays as long as somebody points at it or has the keyboard on it.
function fade(toast) {
  setTimeout(() => {
    if (toast.matches(":hover") || toast.contains(document.activeElement)) fade(toast);
    else toast.remove();
  }, TOAST_MS);
}

async function fetchHtml(address) {
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok || answer.redirected) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return null; // offline: the next snapshot brings it
  }
}
