/* A preset fills the fields of its metric. The server does the same for a browser without scripts. */
(() => {
  "use strict";

  const FIXED = ["kind", "per", "better"];

  function presets() {
    const holder = document.getElementById("metric-presets");
    return holder ? JSON.parse(holder.textContent) : {};
  }

  function write(field, value) {
    field.value = value;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }

  function fill(select, preset, former) {
    const prefix = select.name.replace(/preset$/, "");
    for (const [name, value] of Object.entries(preset)) {
      const field = document.querySelector(`[name="${prefix}${name}"]`);
      if (!field) {
        continue;
      }
      // What a person wrote stays; what another preset wrote does not.
      const isOurs = field.value === "" || (former && field.value === former[name]);
      if (FIXED.includes(name) || name === "source" || name === "quantile" || isOurs) {
        write(field, value);
      }
    }
  }

  // A row that was just added is open.
  document.addEventListener("formset:added", (event) => {
    const title = event.detail.formsetName === "metrics" && event.target.querySelector("h3");
    if (title) {
      // The theme's own script learns of the row right after this event.
      setTimeout(() => title.click());
    }
  });

  document.addEventListener("change", (event) => {
    const select = event.target;
    if (!(select instanceof HTMLSelectElement) || !select.name.startsWith("metrics-") || !select.name.endsWith("-preset")) {
      return;
    }
    const all = presets();
    if (all[select.value]) {
      fill(select, all[select.value], all[select.dataset.former]);
      select.dataset.former = select.value;
    }
  });
})();
