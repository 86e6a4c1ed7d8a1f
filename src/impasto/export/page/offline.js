// Use without a network, and the headers that threads need: both by the service worker.

const RELOADED = "impasto-reloaded";
const PATIENCE = 4000; // ms to wait for the service worker, once

/**
 * Install the service worker; true where the page is about to be loaded anew by it.
 *
 * A server that sends no headers of isolation gives one thread. The worker adds them, but only to a page that it
 * loaded itself: so the first visit loads the page twice, before anything large was fetched, if it still may.
 */
export async function settle(mayReload) {
  if (!("serviceWorker" in navigator)) return false;
  try {
    await navigator.serviceWorker.register("sw.js");
  } catch {
    return false; // no secure address, or a private window
  }
  if (navigator.serviceWorker.controller === null) await controlled();
  if (self.crossOriginIsolated || navigator.serviceWorker.controller === null) {
    sessionStorage.removeItem(RELOADED);
    return false;
  }
  if (sessionStorage.getItem(RELOADED) || !mayReload()) return false;
  sessionStorage.setItem(RELOADED, "yes");
  location.reload();
  return true;
}

function controlled() {
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
    setTimeout(resolve, PATIENCE);
  });
}

/** Fetch what was not needed yet, so that it is there without a network; true where all is kept. */
export async function keepAll(files) {
  if (!navigator.serviceWorker?.controller) return false;
  try {
    for (const file of files) {
      const answer = await fetch(file);
      if (!answer.ok) return false;
      await answer.body?.pipeTo(new WritableStream());
    }
  } catch {
    return false;
  }
  return true;
}
