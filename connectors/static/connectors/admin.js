// Conveniences only: every page works without this file.
"use strict";

// A field that applies only to some values of another one (data-when) is out of sight while it does not. It is disabled
// as well, so that it is left empty. One that the server complains about stays.
function followConditions(form) {
  const valueOf = (name) => form.elements[name] && form.elements[name].value;
  for (const field of form.querySelectorAll("[data-when]")) {
    const row = field.closest(".form-row");
    const conditions = Object.entries(JSON.parse(field.dataset.when));
    const applies = conditions.every(([name, allowed]) => allowed.includes(valueOf(name)));
    const isShown = applies || row.classList.contains("errors");
    row.hidden = !isShown;
    field.disabled = !isShown;
  }
}

document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.querySelectorAll("form")) {
    if (form.querySelector("[data-when]")) {
      followConditions(form);
      form.addEventListener("change", () => followConditions(form));
    }
  }
  for (const input of document.querySelectorAll("[data-select]")) {
    input.addEventListener("focus", () => input.select());
  }
  // A test takes seconds: say so, and do not let it be started twice.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (button && /\/test\/$/.test(button.getAttribute("formaction") || "")) {
      setTimeout(() => { button.disabled = true; button.textContent = "Testing…"; });
    }
  });
});
