// Keeps the page of an order up to date, beside htmx and, where htmx cannot be loaded, instead of it:
// 1. It polls when no answer came in time: htmx is missing, the shop answered with an error, the connection broke.
// 2. It pauses in a hidden tab, and polls at once when the tab is visible again.
// 3. It writes what changed into the live region, once for each change.
// 4. It does not replace the fragment while a button of it is pressed: the click would be lost.
// 5. It shows "updates automatically", which is true only where this script runs.
// Address and delay are in the fragment (hx-get, hx-trigger); a fragment without them is the last one.
(function () {
  "use strict";
  var FRAGMENT = "[data-announce]";
  var HTMX_GRACE_S = 8; // how late htmx may be before we poll: longer than the shop takes to answer
  var MAX_DELAY_S = 15;
  var MAX_PRESS_S = 5;
  var REQUEST_TIMEOUT_S = 20;
  var requesting = false, failures = 0, timer, pressed = false, missed = false;

  function root() { return document.querySelector(FRAGMENT); }
  function isFinal() { return !root() || !root().hasAttribute("hx-get"); }

  function delay() {
    var found = /delay:\s*(\d+(?:\.\d+)?)s/.exec(root().getAttribute("hx-trigger") || "");
    return found ? Math.max(1, Number(found[1])) : MAX_DELAY_S;
  }

  function schedule() {
    clearTimeout(timer);
    if (isFinal()) return;
    var withHtmx = Boolean(window.htmx);
    var wait = failures ? Math.min(MAX_DELAY_S, delay() + 2 * failures) : delay() + (withHtmx ? HTMX_GRACE_S : 0);
    timer = setTimeout(function () {
      if (window.htmx && !withHtmx) schedule(); // it has loaded since
      else poll();
    }, wait * 1000);
  }

  async function poll() {
    if (requesting || isFinal() || document.hidden) return;
    requesting = true;
    var abort = new AbortController();
    var timeout = setTimeout(function () { abort.abort(); }, REQUEST_TIMEOUT_S * 1000);
    try {
      var response = await fetch(root().getAttribute("hx-get"), {
        credentials: "same-origin", cache: "no-store", signal: abort.signal
      });
      if (response.status === 401 || response.redirected) return location.reload(); // signed out: the page leads to sign-in
      if (!response.ok) throw new Error(String(response.status));
      var template = document.createElement("template");
      template.innerHTML = await response.text();
      var fresh = template.content.querySelector(FRAGMENT);
      if (!fresh) throw new Error("no fragment in the response");
      if (isFinal()) return;
      if (pressed) missed = true;
      else replace(fresh);
    } catch (error) {
      failures += 1;
    } finally {
      clearTimeout(timeout);
      requesting = false;
    }
    schedule();
  }

  function replace(fresh) {
    var focused = root().contains(document.activeElement) ? document.activeElement.id : "";
    root().replaceWith(fresh);
    if (focused && document.getElementById(focused)) document.getElementById(focused).focus({ preventScroll: true });
    if (window.htmx) window.htmx.process(fresh); // htmx continues from here
  }

  function showUpdates() {
    document.querySelectorAll("[data-auto]").forEach(function (text) { text.hidden = false; });
  }

  function press(event) {
    pressed = Boolean(root() && root().contains(event.target));
    if (pressed) setTimeout(release, MAX_PRESS_S * 1000);
  }

  function release() {
    if (missed) setTimeout(poll); // after the click that belongs to the press
    pressed = missed = false;
  }

  function beforeSwap(event) {
    if (!pressed || !root()) return;
    missed = true;
    event.preventDefault();
  }

  function beforeRequest(event) {
    if (document.hidden && event.target.matches && event.target.matches(FRAGMENT)) event.preventDefault();
  }

  function failed(event) {
    if (!event.target.matches || !event.target.matches(FRAGMENT)) return;
    failures += 1;
    schedule();
  }

  function start() {
    if (!root()) return;
    var announced = root().dataset.announce;
    showUpdates();
    new MutationObserver(function () {
      failures = 0;
      showUpdates();
      schedule();
      var text = root() && root().dataset.announce;
      if (!text || text === announced) return;
      announced = text;
      document.getElementById("order-live").textContent = text;
    }).observe(root().parentNode, { childList: true });
    // The same events, as htmx 2 and htmx 4 name them.
    ["htmx:beforeRequest", "htmx:before:request"].forEach(function (name) {
      document.addEventListener(name, beforeRequest);
    });
    ["htmx:beforeSwap", "htmx:before:swap"].forEach(function (name) {
      document.addEventListener(name, beforeSwap);
    });
    ["htmx:responseError", "htmx:sendError", "htmx:response:error", "htmx:error"].forEach(function (name) {
      document.addEventListener(name, failed);
    });
    document.addEventListener("pointerdown", press);
    document.addEventListener("pointerup", release);
    document.addEventListener("pointercancel", release);
    document.addEventListener("visibilitychange", function () { if (!document.hidden) poll(); });
    schedule();
  }

  // Not DOMContentLoaded: a deferred htmx that hangs delays that event.
  if (document.readyState === "loading") document.addEventListener("readystatechange", start, { once: true });
  else start();
})();
