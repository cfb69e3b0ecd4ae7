/* When what a page waits for has come, the page is fetched anew: other buttons and pictures belong to it then. */
(() => {
  "use strict";

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.querySelector("[data-live][data-until-finished]");
    if (!root) {
      return;
    }
    new MutationObserver((_, observer) => {
      if (root.querySelector("[data-finished]")) {
        observer.disconnect();
        location.reload();
      }
    }).observe(root, { childList: true, subtree: true });
  });
})();
