const $ = (selector) => element.querySelector(selector);
/** Where the page finds a file of the server's. */
const file = (path) => {
  const { root, api_prefix: prefix = "/gradio_api" } = window.gradio_config;
  return `${root}${prefix}/file=${path.split("/").map(encodeURIComponent).join("/")}`;
};
/** Hand a file of the server's to the browser as a download, once. */
let savedLast = 0;
const save = (saved) => {
  if (!saved || saved.n <= savedLast) return;
  savedLast = saved.n;
  const link = document.createElement("a");
  link.href = file(saved.file);
  link.download = saved.name;
  link.click();
};
/** Send a file to the server; undefined if that fails, and the picture's part of the page says why, or `tell` does. */
const sayAbove = (why) => document.dispatchEvent(new CustomEvent("studio-problem", { detail: why }));
const sent = async (picture, tell = sayAbove) => {
  try {
    return (await upload(picture)).path;
  } catch (error) {
    tell(`${picture.name || "The picture"} could not be sent to the server: ${error.message}`);
    return undefined;
  }
};
/** The files in what was dropped, those of folders among them, by their names. */
const filesOf = async (dropped) => {
  const entries = [...dropped.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...dropped.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) return void found.push(await new Promise((take, fail) => entry.file(take, fail)));
    const reader = entry.createReader();
    for (let some; (some = await new Promise((take, fail) => reader.readEntries(take, fail))).length;) {
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return found.filter((one) => !one.name.startsWith(".")).sort((a, b) => a.name.localeCompare(b.name));
};
/** Take files that are dropped onto a part of the page. */
const droppedOn = (part, take) => {
  const brings = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  for (const kind of ["dragenter", "dragover"]) {
    part.addEventListener(kind, (event) => {
      if (!brings(event)) return;
      event.preventDefault();
      part.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) part.addEventListener(kind, () => part.classList.remove("over"));
  part.addEventListener("drop", async (event) => {
    event.preventDefault();
    take(await filesOf(event.dataTransfer));
  });
};
