// Watches tests of connections while they run. Without this file a test is waited for, and shown when it has ended.
"use strict";

{
  const announcer = document.getElementById("announcer");
  const words = (name) => name.replaceAll("_", " ");

  function mould(selector) {
    return document.querySelector(selector).content.firstElementChild.cloneNode(true);
  }

  // -- A test that runs ----------------------------------------------------------------------------------------------

  class Watch {
    constructor(section) {
      this.section = section;
      this.panel = section.querySelector("[data-panel]") || section.firstElementChild;
      this.before = [...this.panel.childNodes];
      this.plan = (section.dataset.plan || "").split(" ").filter(Boolean);
      this.view = mould("#running-test");
      this.steps = this.view.querySelector(".erp-steps");
      this.cancelButton = this.view.querySelector("[data-cancel]");
      this.cancelButton.addEventListener("click", () => this.cancel());
      section.hidden = false;
      this.panel.replaceChildren(this.view);
      this.sayNext();
      section.scrollIntoView({ block: "nearest" });
    }

    test({ id }) {
      this.address = `${announcer.dataset.tests}${id}/`;
      this.cancelButton.disabled = false;
    }

    step(step) {
      const row = mould(`template[data-step="${step.status}"]`);
      const put = (selector, text) => {
        const place = row.querySelector(selector);
        if (!place) return;
        if (text) place.textContent = text;
        else (place.closest("p") || place).remove();
      };
      put("strong", words(step.name));
      put(".erp-step-detail", step.detail);
      put(".erp-step-code", step.code);
      put(".erp-hint span", step.hint);
      put(".erp-took span", String(step.latency_ms));
      this.steps.append(row);
      this.plan = this.plan.filter((name) => name !== step.name);
      this.sayNext();
    }

    sayNext() {
      this.view.querySelector("[data-next]").textContent = this.plan.length ? `${words(this.plan[0])} …` : "";
    }

    async cancel() {
      this.cancelButton.disabled = true;
      this.cancelButton.textContent = "Cancelling…";
      const body = new FormData();
      body.append("csrfmiddlewaretoken", document.querySelector("[name=csrfmiddlewaretoken]").value);
      await fetch(`${this.address}cancel/`, { method: "POST", body, redirect: "manual" });
    }

    // Another answer than a stream of events.
    refuse(text) {
      this.panel.replaceChildren(...this.before);
      const note = document.createElement("p");
      note.className = "errornote";
      note.textContent = text;
      this.panel.prepend(note);
      announcer.textContent = text;
    }

    async result(report) {
      const failed = report.steps.find((step) => step.status === "failed");
      announcer.textContent = failed ? `Failed: ${failed.detail} ${failed.hint}` : "The test passed.";
      if (this.section.id === "tried") {
        const page = await load(`${this.address}change/`);
        this.panel.replaceChildren(document.adoptNode(page.getElementById("report")));
        offerToFill(this.panel);
      } else {
        await refresh();
      }
    }
  }

  const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
  const look = (address) => fetch(address, { headers: { Accept: "text/event-stream" } });

  // A stream may end before the test does: where many watch, or the line is cut.
  async function watch(section, answer) {
    const view = new Watch(section);
    try {
      for (let left = 60; left; left -= 1) {
        if (await read(await answer, view)) return;
        if (!view.address) break;
        await pause(2);
        view.steps.replaceChildren();
        answer = look(`${view.address}events/`);
      }
      throw new Error("no report");
    } catch {
      view.refuse("The test goes on, but this page lost sight of it. Reload the page.");
    }
  }

  // Server-sent events (WHATWG HTML, section 9.2), of which each has one line of data here. Returns whether the report
  // was among them.
  async function read(answer, view) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let ended = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const [, name, data] = block.match(/^event: (\w+)\ndata: (.*)$/) || [];
        if (!name) continue;
        ended = ended || name === "result";
        await view[name](JSON.parse(data));
      }
    }
    return ended;
  }

  // -- The page after a test -----------------------------------------------------------------------------------------

  async function load(address) {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error("no page");
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  }

  // What is typed stays: only the parts that a test changes are taken from the fresh page.
  async function refresh() {
    const page = await load(window.location.pathname);
    const focused = document.activeElement.closest(".erp-running") ? "test-button" : document.activeElement.id;
    for (const part of document.querySelectorAll("[data-part]")) {
      const fresh = page.getElementById(part.id);
      const isTypedIn = [...part.querySelectorAll("input[type=password], textarea")].some((input) => input.value);
      if (!fresh || isTypedIn) continue;
      for (const details of part.querySelectorAll("details[open][id]")) {
        const same = fresh.querySelector(`#${details.id}`);
        if (same) same.open = true;
      }
      part.replaceWith(document.adoptNode(fresh));
    }
    prepare();
    if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
  }

  // -- Forms ---------------------------------------------------------------------------------------------------------

  // A fingerprint that was shown goes into the form that is open.
  function offerToFill(panel) {
    for (const button of panel.querySelectorAll("[data-fill]")) {
      const field = document.getElementById(button.dataset.fill);
      if (!field) continue;
      button.parentElement.hidden = false;
      button.addEventListener("click", () => {
        field.value = button.dataset.value;
        field.focus();
      });
    }
  }

  // This page watches: tests that other verbs start need not be waited for.
  function prepare() {
    for (const field of document.querySelectorAll("input[name=live]")) field.disabled = false;
    offerToFill(document);
  }

  async function start(form, button) {
    const section = document.getElementById(button.dataset.live);
    const answer = await fetch(button.formAction, {
      method: "POST",
      body: new FormData(form, button),
      headers: { Accept: "text/event-stream" },
    });
    const kind = answer.headers.get("Content-Type") || "";
    if (kind.startsWith("text/event-stream")) {
      await watch(section, answer);
    } else if (kind.startsWith("application/json")) {
      new Watch(section).refuse((await answer.json()).detail);
    } else {
      // A form with faults, or nobody is signed in any more: let the browser show what the server has to say.
      delete button.dataset.live;
      form.requestSubmit(button);
    }
  }

  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button) return;
    if (button.dataset.live) {
      event.preventDefault();
      event.stopPropagation();
      if (button.getAttribute("aria-disabled") === "true") return;
      button.setAttribute("aria-disabled", "true");
      start(event.target, button).finally(() => button.removeAttribute("aria-disabled"));
    } else if (button.dataset.busy) {
      setTimeout(() => { button.disabled = true; button.textContent = button.dataset.busy; });
    }
  }, true);

  prepare();
  const running = document.querySelector("[data-follow]");
  if (running) watch(running, look(running.dataset.follow));
}
