// The service worker: keeps the page for use without a network, and adds the headers that threads need.
//
// The page itself is kept when the worker is installed, what is large as it passes by for the first time. Files of the
// page are asked for anew where there is a network (a new version shows at once); what carries a version in
// `files.json` is taken from the store.

const STORE = "impasto-VERSION";
const PAGE = PAGE_FILES;
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Content-Security-Policy": "POLICY", // that of the page, which its workers would not have
};

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(STORE).then((store) => store.addAll(PAGE)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name.startsWith("impasto-") && name !== STORE) await caches.delete(name);
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = new URL(request.url);
  if (request.method !== "GET" || address.origin !== self.location.origin) return;
  if (!address.href.startsWith(self.registration.scope)) return;
  event.respondWith(answer(request));
});

/** From the store if it is there, else from the network and into the store; a new version comes with a new store. */
async function answer(request) {
  const store = await caches.open(STORE);
  const known = await store.match(request, { ignoreSearch: true });
  if (known) return isolated(known);
  const fresh = await fetch(request);
  if (fresh.ok && fresh.status === 200) await store.put(request, fresh.clone()).catch(() => undefined);
  return isolated(fresh);
}

/** The same answer, with the headers that let a page share memory between threads. */
function isolated(response) {
  if (response.status === 0 || response.type === "opaque") return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
