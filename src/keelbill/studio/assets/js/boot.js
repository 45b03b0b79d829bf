// Sets theme and language before the first paint, so that nothing flashes. Runs before everything else; knows no page.
(function () {
  try {
    var kept = JSON.parse(localStorage.getItem("keelbill.preferences") || "{}");
    if (kept.theme === "light" || kept.theme === "dark") document.documentElement.dataset.theme = kept.theme;
    if (kept.language) document.documentElement.lang = kept.language;
  } catch (_) {
    // Storage may be forbidden; the system's theme is then used.
  }
})();
