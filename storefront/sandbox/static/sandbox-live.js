// Keeps the live part of a page fresh when htmx cannot be loaded: same addresses, same rhythm.
(function () {
  "use strict";
  var busy = false;

  async function refresh() {
    var part = document.querySelector("[hx-get][hx-trigger^='every']");
    if (busy || window.htmx || !part || document.hidden) return;
    busy = true;
    try {
      var answer = await fetch(part.getAttribute("hx-get"), { cache: "no-store", headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      var box = document.createElement("template");
      box.innerHTML = await answer.text();
      var fresh = box.content.getElementById(part.id);
      var held = part.contains(document.activeElement) ? document.activeElement.id : "";
      if (!fresh || window.htmx) return;
      part.replaceWith(fresh);
      if (held && document.getElementById(held)) document.getElementById(held).focus({ preventScroll: true });
    } catch (problem) {
      // The sandbox is away; the next look may find it again.
    } finally {
      busy = false;
    }
  }

  function showCopyButtons() {
    if (!navigator.clipboard) return;
    document.querySelectorAll("button.copy[hidden]").forEach(function (button) { button.hidden = false; });
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest ? event.target.closest("button.copy") : null;
    if (!button) return;
    navigator.clipboard.writeText(button.dataset.copy).then(function () { button.firstChild.data = "Copied"; });
  });
  new MutationObserver(showCopyButtons).observe(document.documentElement, { childList: true, subtree: true });
  showCopyButtons();

  setInterval(refresh, 2000);
  document.addEventListener("visibilitychange", refresh);
})();
