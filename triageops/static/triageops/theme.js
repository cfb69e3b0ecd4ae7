/* For pages outside the admin: the theme that was chosen there, else the system's. */
(() => {
  "use strict";
  let chosen = "auto";
  try {
    chosen = JSON.parse(localStorage.getItem("_x_adminTheme")) || "auto";
  } catch {
    /* Storage is switched off: the system decides. */
  }
  const isDark = chosen === "dark" || (chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.classList.toggle("dark", isDark);
})();
