// Keeps the overview up to date while somebody looks at it. The page is complete without this file.
"use strict";

{
  const stamp = document.getElementById("refreshed");
  const announcer = document.getElementById("announcer");

  // What somebody has unfolded stays so; where the focus is, nothing moves.
  function replace(part, fresh) {
    if (part.contains(document.activeElement)) return;
    for (const details of part.querySelectorAll("details[open][id]")) {
      const same = fresh.querySelector(`#${details.id}`);
      if (same) same.open = true;
    }
    part.replaceWith(document.adoptNode(fresh));
  }

  // Only a change is said aloud, not every look.
  function announce(text) {
    if (announcer.textContent !== text) announcer.textContent = text;
  }

  async function refresh() {
    const answer = await fetch(window.location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const freshStamp = page.getElementById("refreshed");
    if (!answer.ok || !freshStamp) throw new Error("not the overview");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (fresh) replace(part, fresh);
    }
    stamp.textContent = freshStamp.textContent;
    stamp.classList.remove("erp-stale");
    announce(page.getElementById("announcer").textContent);
  }

  async function look() {
    if (document.hidden) return;
    try {
      await refresh();
    } catch {
      stamp.textContent = stamp.dataset.stale;
      stamp.classList.add("erp-stale");
    }
  }

  if (announcer) {
    setInterval(look, Number(stamp.dataset.every) * 1000);
    document.addEventListener("visibilitychange", look);
  }
}
