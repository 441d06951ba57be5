// The frame on every page: theme without reload, menu on narrow screens, clock.
const root = document.documentElement;

function themeForms() {
  for (const form of document.querySelectorAll('form[data-preference="theme"]')) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      await themeSet(form, event.submitter.value);
    });
  }
}

async function themeSet(form, theme) {
  root.dataset.theme = theme;
  document.dispatchEvent(new CustomEvent("surge:theme"));
  const fields = new FormData(form);
  fields.set("theme", theme);
  await fetch(form.action, { method: "POST", body: fields, headers: { Accept: "application/json" } });
}

export function themeToggle() {
  const form = document.querySelector('form[data-preference="theme"]');
  if (form) themeSet(form, root.dataset.theme === "light" ? "dark" : "light");
}

// The address may have changed since the page came: the language form must lead back to what is on screen.
function languageForms() {
  for (const form of document.querySelectorAll('form[data-preference="language"]')) {
    form.addEventListener("submit", () => {
      form.elements.next.value = location.pathname + location.search + location.hash;
    });
  }
}

function menu() {
  const button = document.querySelector(".menu-button");
  const sidebar = document.getElementById("sidebar");
  if (!button || !sidebar) return;
  const show = (open) => {
    sidebar.toggleAttribute("data-open", open);
    button.setAttribute("aria-expanded", String(open));
    if (open) sidebar.querySelector("a").focus();
  };
  button.addEventListener("click", (event) => {
    event.preventDefault();
    show(!sidebar.hasAttribute("data-open"));
  });
  document.addEventListener("click", (event) => {
    if (sidebar.hasAttribute("data-open") && !sidebar.contains(event.target) && !button.contains(event.target)) show(false);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && sidebar.hasAttribute("data-open")) {
      show(false);
      button.focus();
    }
  });
}

function clock() {
  const shown = document.querySelector("[data-clock]");
  if (!shown) return;
  const tick = () => {
    shown.textContent = `${new Date().toISOString().slice(11, 19)} UTC`;
    setTimeout(tick, 1000 - (Date.now() % 1000));
  };
  tick();
}

themeForms();
languageForms();
menu();
clock();
