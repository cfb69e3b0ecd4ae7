/* Keeps [data-live] current: fetches the same page's parts and swaps only those that changed.

   No flicker: plots keep their canvas, open details stay open, focus stays where it is. Nothing is fetched while the tab
   is hidden; failures are said in words and slow the pace down. */
(() => {
  "use strict";

  const EVERY = 10_000;
  const SLOWEST = 120_000;
  const seen = new Map();

  const parts = (root) => [...root.querySelectorAll("[data-part]")];

  function keepOpen(before, after) {
    const open = [...before.querySelectorAll("details")].map((details) => details.open);
    [...after.querySelectorAll("details")].forEach((details, at) => (details.open = open[at] || false));
  }

  /* The old canvas moves into the new figure, so that the plot never goes blank. */
  function keepCanvases(before, after) {
    for (const figure of after.querySelectorAll("figure[data-chart]")) {
      const old = document.getElementById(figure.id)?.querySelector(".to-chart-canvas");
      const fresh = figure.querySelector(".to-chart-canvas");
      if (old && before.contains(old)) {
        old.setAttribute("aria-label", fresh.getAttribute("aria-label"));
        fresh.replaceWith(old);
      }
    }
  }

  function swap(before, after) {
    const focused = before.contains(document.activeElement) ? document.activeElement : null;
    keepOpen(before, after);
    keepCanvases(before, after);
    before.replaceChildren(...after.childNodes);
    before.className = after.className;
    before.hidden = after.hidden;
    triageops.writeTimes(before);
    triageops.drawCharts(before);
    const same = focused?.isConnected ? focused : document.getElementById(focused?.id || "");
    same?.focus({ preventScroll: true });
  }

  function take(root, text) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const names = (of) => parts(of).map((part) => part.dataset.part).join();
    if (names(page) !== names(root)) {
      /* Other parts than before, as when the first response came in: the whole page's content is new. */
      swap(root, document.adoptNode(page.querySelector(".to-home")));
      return;
    }
    for (const fresh of parts(page)) {
      const name = fresh.dataset.part;
      const html = fresh.outerHTML;
      const old = root.querySelector(`[data-part="${name}"]`);
      if (old && seen.get(name) !== html) {
        swap(old, document.adoptNode(fresh));
        seen.set(name, html);
      }
    }
  }

  async function refresh(root) {
    const answer = await fetch(root.dataset.live, { credentials: "same-origin", headers: { "X-Requested-With": "live" } });
    if (answer.redirected || !answer.ok) {
      throw new Error(answer.redirected ? "You were signed out." : `The server said ${answer.status}.`);
    }
    take(root, await answer.text());
  }

  function start(root) {
    let wait = EVERY;
    let timer = null;
    let isRunning = false;
    parts(root).forEach((part) => seen.set(part.dataset.part, part.outerHTML));

    function say(text, isLate) {
      const status = document.querySelector("[data-live-status]");
      status?.classList.toggle("to-late", isLate);
      if (status && status.textContent !== text) {
        status.textContent = text;
      }
    }

    function plan() {
      clearTimeout(timer);
      timer = document.hidden ? null : setTimeout(run, wait);
    }

    async function run() {
      if (isRunning) {
        return;
      }
      isRunning = true;
      try {
        await refresh(root);
        wait = EVERY;
        say("Live", false);
      } catch (error) {
        wait = Math.min(SLOWEST, wait * 2);
        say(`Not live: ${error.message} Next try in ${Math.round(wait / 1000)} s.`, true);
      }
      isRunning = false;
      plan();
    }

    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : run()));
    say("Live", false);
    if (root.hasAttribute("data-live-now")) {
      run();
    } else {
      plan();
    }
  }

  /* After the other scripts: their first pass over the page must not count as a change. */
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-live]").forEach(start));
})();
