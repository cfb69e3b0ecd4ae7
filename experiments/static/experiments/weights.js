/* Live sum of the weights and a button that shares equally. The server checks the same without it. */
(() => {
  "use strict";

  const WHOLE = 10000;

  function inputs(prefix) {
    return [...document.querySelectorAll(`input[name^="${prefix}-"][name$="-weight_bp"]`)].filter((input) => {
      if (input.name.includes("__prefix__")) {
        return false;
      }
      const removed = document.querySelector(`input[name="${input.name.replace("weight_bp", "DELETE")}"]`);
      return !(removed && removed.checked);
    });
  }

  const basisPoints = (input) => Math.round(Number(input.value) * 100);
  const percent = (points) => `${points / 100} %`;

  function hasText(input) {
    const key = document.querySelector(`input[name="${input.name.replace("weight_bp", "key")}"]`);
    return input.value.trim() !== "" || (key && key.value.trim() !== "");
  }

  function show(box) {
    const all = inputs(box.dataset.weights).filter(hasText);
    const output = box.querySelector("[data-weights-sum]");
    if (all.every((input) => input.value.trim() === "")) {
      output.textContent = "";
      output.className = "";
      return;
    }
    const sum = all.reduce((total, input) => total + basisPoints(input), 0);
    const rest = WHOLE - sum;
    output.textContent =
      rest === 0
        ? "Sum: 100 %."
        : `Sum: ${percent(sum)}; ${rest > 0 ? `${percent(rest)} to add` : `${percent(-rest)} too much`}.`;
    output.className = rest === 0 ? "" : "to-text-look";
  }

  function shareEqually(box) {
    let all = inputs(box.dataset.weights).filter(hasText);
    if (all.length === 0) {
      all = inputs(box.dataset.weights);
    }
    const share = Math.floor(WHOLE / all.length);
    const rest = WHOLE - share * all.length;
    all.forEach((input, position) => {
      input.value = String((share + (position < rest ? 1 : 0)) / 100);
      input.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const box of document.querySelectorAll("[data-weights]")) {
      const button = box.querySelector("[data-weights-equal]");
      button.hidden = false;
      button.addEventListener("click", () => shareEqually(box));
      for (const happening of ["input", "change", "formset:added", "formset:removed"]) {
        document.addEventListener(happening, () => show(box));
      }
      show(box);
    }
  });
})();
