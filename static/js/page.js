// What the server told this page: addresses, limits, words.
export const page = JSON.parse(document.getElementById("page-settings").textContent);

export function word(name, values = {}) {
  return (page.words[name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}

// The server's clock, so that ages are true on a computer whose own clock is wrong.
let ahead = page.now_ms - Date.now();

export function clockSet(serverMs) {
  ahead = serverMs - Date.now();
}

export function serverNow() {
  return Date.now() + ahead;
}
