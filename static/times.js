// Shows the times of a page in the reader's own time zone. Without script they are in the shop's, which is named.
(function () {
  "use strict";
  var shopZone = document.currentScript.dataset.timeZone;
  var day = { day: "numeric", month: "short", year: "numeric" };
  var clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" };
  var SHAPES = { clock: clock, datetime: Object.assign({}, day, clock) };

  function refine() {
    document.querySelectorAll("time[data-time]").forEach(function (element) {
      var when = new Date(element.dateTime), shape = SHAPES[element.dataset.time];
      element.removeAttribute("data-time"); // once
      if (shape && !isNaN(when)) element.textContent = when.toLocaleString(document.documentElement.lang, shape);
    });
  }

  function start() {
    var now = new Date(); // one for both, or a second that ends between them makes a difference
    if (now.toLocaleString("en") === now.toLocaleString("en", { timeZone: shopZone })) return;
    refine();
    // The page of an order is replaced piece by piece.
    new MutationObserver(refine).observe(document.body, { childList: true, subtree: true });
  }

  if (document.readyState === "loading") document.addEventListener("readystatechange", start, { once: true });
  else start();
})();
