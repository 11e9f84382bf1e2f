// The code stands behind the hash sign of the link: browsers send that part to nobody.
"use strict";

const form = document.querySelector("form[data-invitation]");
const code = decodeURIComponent(location.hash.slice(1));
if (form && code && !document.querySelector(".errornote")) {
  history.replaceState(null, "", location.pathname);
  form.elements.code.value = code;
  form.requestSubmit();
}
