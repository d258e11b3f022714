// Keeps a live page honest when htmx cannot be loaded: reads the same hx-get and hx-trigger
// and asks by itself, until there is nothing more to ask or htmx turns up after all.
// With or without htmx it also tells the live region what has changed.
(function () {
  "use strict";
  var live = "[data-announce]";
  var root = function () { return document.querySelector(live); };
  var busy = false;

  function later(seconds) {
    setTimeout(ask, seconds * 1000);
  }

  function delay() {
    var found = /delay:\s*(\d+(?:\.\d+)?)s/.exec(root().getAttribute("hx-trigger") || "");
    return found ? Math.max(1, Number(found[1])) : 15;
  }

  function over() {
    return Boolean(window.htmx) || !root() || !root().hasAttribute("hx-get");
  }

  async function ask() {
    if (busy || over()) return;
    busy = true;
    var wait = 15;
    var giveUp = new AbortController();
    var timer = setTimeout(function () { giveUp.abort(); }, 20000);
    try {
      var answer = await fetch(root().getAttribute("hx-get"), {
        credentials: "same-origin", cache: "no-store", signal: giveUp.signal
      });
      if (!answer.ok) throw new Error(String(answer.status));
      var box = document.createElement("template");
      box.innerHTML = await answer.text();
      var fresh = box.content.querySelector(live);
      if (!fresh) throw new Error("no order in the answer");
      if (over()) return;
      var held = root().contains(document.activeElement) ? document.activeElement.id : "";
      root().replaceWith(fresh);
      if (held && document.getElementById(held)) document.getElementById(held).focus({ preventScroll: true });
      wait = delay();
    } catch (problem) {
      wait = 15;
    } finally {
      clearTimeout(timer);
      busy = false;
    }
    if (!over()) later(wait);
  }

  function start() {
    if (!root()) return;
    var said = root().dataset.announce;
    new MutationObserver(function () {
      var text = root() && root().dataset.announce;
      if (!text || text === said) return;
      said = text;
      document.getElementById("order-live").textContent = text;
    }).observe(root().parentNode, { childList: true });
    later(2.5);
  }

  // Not DOMContentLoaded: a deferred htmx that hangs holds that back.
  if (document.readyState === "loading") document.addEventListener("readystatechange", start, { once: true });
  else start();
})();
