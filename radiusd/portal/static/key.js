/* Security keys and passkeys (Web Authentication). A form with data-ask has the options
   of one ceremony and is hidden: it appears where the browser can do it, and sends
   what the key answered. Browsers that cannot need not understand this file. */
(() => {
  "use strict";
  if (!window.PublicKeyCredential || !navigator.credentials) return;

  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const named = (list) => (list || []).map((d) => ({ ...d, id: bytes(d.id) }));

  const ask = {
    create: (o) => navigator.credentials.create({
      publicKey: {
        ...o, challenge: bytes(o.challenge), user: { ...o.user, id: bytes(o.user.id) }, excludeCredentials: named(o.excludeCredentials),
      },
    }),
    get: (o) => navigator.credentials.get({
      publicKey: { ...o, challenge: bytes(o.challenge), allowCredentials: named(o.allowCredentials) },
    }),
  };

  const answer = (c) => {
    const response = {};
    for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (c.response[part]) response[part] = text(c.response[part]);
    }
    if (c.response.getTransports) response.transports = c.response.getTransports();
    // No extension was asked for; what a password manager adds by itself stays here.
    return { id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: {}, response };
  };

  for (const box of document.querySelectorAll(".key")) {
    const form = box.querySelector("form[data-ask]");
    const say = form.querySelector("[role=status]");
    box.querySelector(".key-without").hidden = true;
    form.hidden = false;
    let busy = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (busy) return;
      busy = true;
      say.textContent = say.dataset.wait;
      ask[form.dataset.ask](JSON.parse(form.dataset.options)).then((c) => {
        form.elements.response.value = JSON.stringify(answer(c));
        form.submit();
      }).catch((e) => {
        busy = false;
        // Browsers tell a page nothing else, on purpose (W3C Web Authentication §14.5.1).
        say.textContent = e.name === "InvalidStateError" ? say.dataset.known : say.dataset.failed;
      });
    });
  }
})();
