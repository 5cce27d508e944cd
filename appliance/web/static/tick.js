// A clock for app.js that keeps going while the page is hidden.
"use strict";
setInterval(() => postMessage(0), 250);
