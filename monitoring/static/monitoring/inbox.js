/* Keeps the inbox current: asks every few seconds whether anything changed, and swaps only the rows that did.

   Focus, choices and open details stay; a dialog lies outside of what is swapped. Nothing is asked while the tab is
   hidden; failures are said in words and slow the pace down. */
(() => {
  "use strict";

  const EVERY = 3_000;
  const SLOWEST = 60_000;
  const sources = new WeakMap();

  const keyed = (root) => [...root.children].filter((child) => child.dataset.key);

  function remember(root) {
    for (const child of keyed(root)) {
      sources.set(child, child.outerHTML);
      if ("rows" in child.dataset) {
        remember(child);
      }
    }
  }

  /* What a person did with a row before it was swapped. */
  function carryOver(before, after) {
    const chosen = new Set([...before.querySelectorAll("input:checked")].map((input) => input.value));
    after.querySelectorAll("input[type=checkbox]").forEach((input) => (input.checked = chosen.has(input.value)));
    const opened = [...before.querySelectorAll("details")].map((details) => details.open);
    after.querySelectorAll("details").forEach((details, at) => (details.open = opened[at] || false));
    if (before.classList.contains("in-arrived")) {
      after.classList.add("in-arrived");
    }
  }

  function ready(element) {
    window.triageops?.writeTimes(element);
    window.htmx?.process(element);
  }

  /* Makes the children of `root` those of `fresh`; how many rows are new. */
  function sync(root, fresh) {
    const known = new Map(keyed(root).map((child) => [child.dataset.key, child]));
    let arrived = 0;
    let place = root.firstElementChild;
    for (const next of keyed(fresh)) {
      const source = next.outerHTML;
      let child = known.get(next.dataset.key);
      known.delete(next.dataset.key);
      if (child && "rows" in child.dataset && "rows" in next.dataset) {
        arrived += sync(child, next);
      } else if (!child || sources.get(child) !== source) {
        if (child) {
          carryOver(child, next);
          if (place === child) {
            place = next;
          }
          child.replaceWith(next);
        } else {
          const isRow = "rows" in root.dataset;
          next.classList.toggle("in-arrived", isRow);
          arrived += isRow ? 1 : "rows" in next.dataset ? keyed(next).length : 0;
          root.insertBefore(next, place);
          if ("rows" in next.dataset) {
            remember(next);
            keyed(next).forEach((row) => row.classList.add("in-arrived"));
          }
        }
        child = next;
        sources.set(child, source);
        ready(child);
      }
      if (child === place) {
        place = place.nextElementSibling;
      } else {
        root.insertBefore(child, place);
      }
    }
    known.forEach((child) => child.remove());
    return arrived;
  }

  /* A way to find the same control again in a row that was swapped. */
  function pathOf(element) {
    const row = element?.closest("[data-key]");
    const name = element?.getAttribute("aria-label") || element?.textContent;
    return row ? { key: row.dataset.key, name } : null;
  }

  function focusAgain(root, focused, path) {
    if (!path || document.activeElement === focused) {
      return;
    }
    const row = root.querySelector(`[data-key="${CSS.escape(path.key)}"]`);
    const controls = [...(row?.querySelectorAll("a, button, input, select, summary") || [])];
    const same = focused.isConnected
      ? focused
      : controls.find((one) => (one.getAttribute("aria-label") || one.textContent) === path.name);
    same?.focus({ preventScroll: true });
  }

  function take(root, text) {
    const page = new DOMParser().parseFromString(`<body>${text}</body>`, "text/html");
    const focused = root.contains(document.activeElement) ? document.activeElement : null;
    const path = pathOf(focused);
    const fresh = document.adoptNode(page.body);
    const arrived = sync(root, fresh);
    focusAgain(root, focused, path);
    offerAll(root);
    countInMenu(root);
    return arrived;
  }

  /* The number beside the inbox in the menu. */
  function countInMenu(root) {
    const link = document.querySelector(`#nav-sidebar a[href="${location.pathname}"]`);
    const count = root.querySelector("[data-needing]")?.dataset.needing || "0";
    let badge = link?.querySelector(".to-count");
    if (link && !badge) {
      badge = document.createElement("span");
      badge.className = "to-badge to-harm to-count";
      link.append(badge);
    }
    if (badge) {
      badge.textContent = count;
      badge.hidden = count === "0";
    }
  }

  function offerAll(root) {
    root.querySelectorAll(".in-all").forEach((label) => (label.hidden = false));
  }

  function start(root) {
    const status = document.querySelector("[data-inbox-status]");
    let etag = root.dataset.etag;
    let wait = EVERY;
    let timer = null;
    let isRunning = false;

    function say(text, isLate) {
      status?.classList.toggle("to-late", isLate);
      if (status && status.textContent !== text) {
        status.textContent = text;
      }
    }

    async function refresh() {
      const answer = await fetch(root.dataset.inbox, {
        credentials: "same-origin",
        headers: { "If-None-Match": etag, "X-Requested-With": "inbox" },
      });
      if (answer.status === 304) {
        say("Live", false);
        return;
      }
      if (answer.redirected || !answer.ok) {
        throw new Error(answer.redirected ? "You were signed out." : `The server said ${answer.status}.`);
      }
      const arrived = take(root, await answer.text());
      etag = answer.headers.get("ETag") || "";
      say(arrived ? `Live: ${arrived === 1 ? "one more line" : `${arrived} more lines`} just now` : "Live", false);
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
        await refresh();
        wait = EVERY;
      } catch (error) {
        wait = Math.min(SLOWEST, wait * 2);
        say(`Not live: ${error.message} Next try in ${Math.round(wait / 1000)} s.`, true);
      }
      isRunning = false;
      plan();
    }

    remember(root);
    offerAll(root);
    root.addEventListener("change", (event) => {
      if (event.target.matches("[data-inbox-all]")) {
        const boxes = root.querySelectorAll(".in-list > li > .in-row-head > input[name=incident]");
        boxes.forEach((box) => (box.checked = event.target.checked));
      }
    });
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : run()));
    say("Live", false);
    plan();
  }

  document.querySelectorAll("[data-inbox]").forEach(start);
})();
