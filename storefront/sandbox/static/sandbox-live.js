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

  setInterval(refresh, 2000);
  document.addEventListener("visibilitychange", refresh);
})();
