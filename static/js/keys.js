// The board without a mouse: / searches, j and k walk the coins, t changes the colours, Escape leaves the search.
import { themeToggle } from "./frame.js";

export function keysStart({ board, search, choose }) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === search) {
      if (event.key === "Escape") {
        search.value = "";
        search.dispatchEvent(new Event("input"));
        search.blur();
      }
      return;
    }
    if (event.target.matches("input, textarea, select")) return;
    const act = { "/": () => search.focus(), t: themeToggle, j: () => walk(board, choose, 1), k: () => walk(board, choose, -1) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function walk(board, choose, by) {
  const line = board.step(by);
  if (!line) return;
  choose(line.dataset.symbol);
  line.scrollIntoView({ block: "nearest" });
}
