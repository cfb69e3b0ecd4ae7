/* Small things on every page: times in the reader's zone, copy buttons. Everything works, plainer, without it. */
(() => {
  "use strict";

  const STEPS = [
    [60, 1, "second"],
    [3600, 60, "minute"],
    [86400, 3600, "hour"],
    [604800, 86400, "day"],
  ];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

  const pad = (value) => String(value).padStart(2, "0");

  function localTime(at) {
    const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
    return `${day} ${pad(at.getHours())}:${pad(at.getMinutes())}`;
  }

  const utcTime = (at) => `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;

  function relativeTime(at, now) {
    const seconds = (at - now) / 1000;
    for (const [limit, size, unit] of STEPS) {
      if (Math.abs(seconds) < limit) {
        return words.format(Math.trunc(seconds / size), unit);
      }
    }
    return localTime(at);
  }

  function writeTimes(root) {
    const now = new Date();
    for (const element of root.querySelectorAll("time[datetime]")) {
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) {
        continue;
      }
      const style = element.dataset.style;
      const text =
        style === "exact"
          ? localTime(at)
          : style === "clock"
            ? `${at.toDateString() === now.toDateString() ? "" : `${localTime(at).slice(5, 10)} `}${pad(at.getHours())}:${pad(at.getMinutes())}`
            : style === "due" && at <= now
              ? "due now"
              : relativeTime(at, now);
      if (element.textContent !== text) {
        element.textContent = text;
      }
      if (!element.title) {
        element.title = `${utcTime(at)} (here ${localTime(at)})`;
      }
    }
  }

  async function copyText(text) {
    if (navigator.clipboard && window.isSecureContext) {
      await navigator.clipboard.writeText(text);
      return;
    }
    const box = document.createElement("textarea");
    box.value = text;
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) {
      return;
    }
    event.preventDefault();
    const before = button.textContent;
    try {
      await copyText(document.getElementById(button.dataset.copy).textContent.trim());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy by hand";
    }
    setTimeout(() => (button.textContent = before), 2000);
  });

  window.triageops = Object.assign(window.triageops || {}, { writeTimes, localTime, utcTime });
  document.addEventListener("DOMContentLoaded", () => writeTimes(document));
  setInterval(() => document.hidden || writeTimes(document), 5000);
})();
