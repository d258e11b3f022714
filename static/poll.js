// Looks after a live page, beside htmx and, where htmx cannot be loaded, instead of it. Four things:
// 1. It asks by itself when no answer came in time: htmx is missing, the shop stumbled, the line was dropped.
// 2. A tab that nobody sees rests; when it is seen again it asks at once.
// 3. It tells the live region what is new, when something is, and not at every look.
// 4. Nothing is put in another's place while somebody presses on it: the press would be lost.
// The address and the pace are in the fragment (hx-get, hx-trigger); a fragment without them is the last one.
(function () {
  "use strict";
  var LIVE = "[data-announce]";
  var GRACE = 8; // seconds htmx may be late before it is helped: longer than the shop's own patience
  var LONGEST = 15;
  var LONGEST_PRESS = 5;
  var busy = false, failures = 0, timer, pressed = false, missed = false;

  function root() { return document.querySelector(LIVE); }
  function over() { return !root() || !root().hasAttribute("hx-get"); }

  function pace() {
    var found = /delay:\s*(\d+(?:\.\d+)?)s/.exec(root().getAttribute("hx-trigger") || "");
    return found ? Math.max(1, Number(found[1])) : LONGEST;
  }

  function later() {
    clearTimeout(timer);
    if (over()) return;
    var helping = Boolean(window.htmx);
    var wait = failures ? Math.min(LONGEST, pace() + 2 * failures) : pace() + (helping ? GRACE : 0);
    timer = setTimeout(function () {
      if (window.htmx && !helping) later(); // it turned up after all
      else ask();
    }, wait * 1000);
  }

  async function ask() {
    if (busy || over() || document.hidden) return;
    busy = true;
    var giveUp = new AbortController();
    var patience = setTimeout(function () { giveUp.abort(); }, 20000);
    try {
      var answer = await fetch(root().getAttribute("hx-get"), {
        credentials: "same-origin", cache: "no-store", signal: giveUp.signal
      });
      if (answer.redirected) return location.reload(); // signed out: the page itself leads to the sign-in
      if (!answer.ok) throw new Error(String(answer.status));
      var box = document.createElement("template");
      box.innerHTML = await answer.text();
      var fresh = box.content.querySelector(LIVE);
      if (!fresh) throw new Error("nothing live in the answer");
      if (over()) return;
      if (pressed) missed = true;
      else show(fresh);
    } catch (problem) {
      failures += 1;
    } finally {
      clearTimeout(patience);
      busy = false;
    }
    later();
  }

  function show(fresh) {
    var held = root().contains(document.activeElement) ? document.activeElement.id : "";
    root().replaceWith(fresh);
    if (held && document.getElementById(held)) document.getElementById(held).focus({ preventScroll: true });
    if (window.htmx) window.htmx.process(fresh); // htmx goes on from here
  }

  function press(event) {
    pressed = Boolean(root() && root().contains(event.target));
    if (pressed) setTimeout(release, LONGEST_PRESS * 1000);
  }

  function release() {
    if (missed) setTimeout(ask); // after the click that belongs to the press
    pressed = missed = false;
  }

  function hold(event) {
    if (!pressed || !root()) return;
    missed = true;
    event.preventDefault();
  }

  function rest(event) {
    if (document.hidden && event.target.matches && event.target.matches(LIVE)) event.preventDefault();
  }

  function stumbled(event) {
    if (!event.target.matches || !event.target.matches(LIVE)) return;
    failures += 1;
    later();
  }

  function start() {
    if (!root()) return;
    var said = root().dataset.announce;
    new MutationObserver(function () {
      failures = 0;
      later();
      var text = root() && root().dataset.announce;
      if (!text || text === said) return;
      said = text;
      document.getElementById("order-live").textContent = text;
    }).observe(root().parentNode, { childList: true });
    // The same moments, as htmx 2 and htmx 4 name them.
    ["htmx:beforeRequest", "htmx:before:request"].forEach(function (name) {
      document.addEventListener(name, rest);
    });
    ["htmx:beforeSwap", "htmx:before:swap"].forEach(function (name) {
      document.addEventListener(name, hold);
    });
    ["htmx:responseError", "htmx:sendError", "htmx:response:error", "htmx:error"].forEach(function (name) {
      document.addEventListener(name, stumbled);
    });
    document.addEventListener("pointerdown", press);
    document.addEventListener("pointerup", release);
    document.addEventListener("pointercancel", release);
    document.addEventListener("visibilitychange", function () { if (!document.hidden) ask(); });
    later();
  }

  // Not DOMContentLoaded: a deferred htmx that hangs holds that back.
  if (document.readyState === "loading") document.addEventListener("readystatechange", start, { once: true });
  else start();
})();
