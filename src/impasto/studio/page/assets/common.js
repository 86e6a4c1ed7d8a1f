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
  part.addEventListener("drop", (event) => {
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
};
