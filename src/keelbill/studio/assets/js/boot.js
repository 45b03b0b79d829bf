// Sets theme and language before the first paint, so that nothing flashes, and asks the server for what the studio needs
// first while its modules are still on their way. Runs before everything else.
(function () {
  try {
    var kept = JSON.parse(localStorage.getItem("keelbill.preferences") || "{}");
    if (kept.theme === "light" || kept.theme === "dark") document.documentElement.dataset.theme = kept.theme;
    if (kept.language) document.documentElement.lang = kept.language;
  } catch (_) {
    // Storage may be forbidden; the system's theme is then used.
  }

  // api.js takes each of these answers once, in place of the same request of its own.
  function ask(address) {
    return fetch(address, { credentials: "same-origin" });
  }
  var early = {};
  early["/api/session"] = ask("/api/session");
  early["/api/options"] = ask("/api/options");
  if (location.pathname === "/gallery" && !location.search) {
    early["/api/gallery?limit=60"] = early["/api/session"].then(function (answer) {
      if (answer.ok) return ask("/api/gallery?limit=60");
      delete early["/api/gallery?limit=60"]; // who signs in on this page must not get the answer to a stranger
      return answer.clone();
    });
  }
  Object.keys(early).forEach(function (address) {
    early[address].catch(function () {}); // told where it is awaited
  });
  window.keelbillEarly = early;
})();
