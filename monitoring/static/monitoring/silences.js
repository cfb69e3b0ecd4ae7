/* The form of a silence: the reader's own zone, and what it would hold back while it is written. All works without it. */
(() => {
  "use strict";

  document.addEventListener("DOMContentLoaded", () => {
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    for (const field of document.querySelectorAll("input[data-own-zone]")) {
      field.value = own || field.value;
    }
    for (const name of document.querySelectorAll("[data-own-zone-name]")) {
      name.textContent = own || name.textContent;
    }
    const form = document.querySelector("form[data-preview]");
    const place = form && form.querySelector("[data-preview-here]");
    const text = form && form.querySelector("[name=matchers]");
    if (!place || !text) {
      return;
    }
    let timer = 0;
    let latest = 0;
    text.addEventListener("input", () => {
      window.clearTimeout(timer);
      timer = window.setTimeout(async () => {
        const number = (latest += 1);
        const address = `${form.dataset.preview}?${new URLSearchParams({ matchers: text.value })}`;
        const answer = await fetch(address, { credentials: "same-origin" }).catch(() => null);
        if (answer && answer.ok && number === latest) {
          place.innerHTML = await answer.text();
        }
      }, 400);
    });
  });
})();
