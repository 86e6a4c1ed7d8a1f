// Several photos: what there is, and how far each is.

let seen = -1;

async function add(files) {
  const come = [];
  const failed = [];
  for (const [place, photo] of files.entries()) {
    $(".status").textContent = `Sending ${place + 1} of ${files.length} …`;
    const path = await sent(photo, (why) => failed.push(why));
    if (path) come.push({ path, name: photo.name });
  }
  if (come.length) trigger("bring", { files: come, problem: failed.join(" ") });
  else [$(".status").textContent, $(".problem").textContent] = ["", failed.join(" ")];
}

function show() {
  const value = props.value ?? {};
  if ((value.n ?? 0) <= seen) return;
  seen = value.n ?? 0;
  const rows = value.rows ?? [];
  $("ol").replaceChildren(...rows.map((row) => {
    const item = document.createElement("li");
    item.dataset.state = row.state;
    const name = document.createElement("span");
    name.textContent = row.name;
    const told = document.createElement("span");
    told.textContent = row.told;
    item.append(name, told);
    return item;
  }));
  $(".begin").disabled = value.running || rows.length === 0;
  $(".clear").disabled = value.running || rows.length === 0;
  $(".stop").hidden = !value.running;
  $(".status").textContent = value.status ?? "";
  $(".problem").textContent = value.problem ?? "";
  save(value.saved);
}

for (const [button, input] of [[".choose", ".file"], [".choose-folder", ".folder"]]) {
  $(button).addEventListener("click", () => $(input).click());
  $(input).addEventListener("change", (event) => {
    add([...event.target.files].filter((one) => !one.name.startsWith(".")));
    event.target.value = "";
  });
}
droppedOn($(".empty"), add);
for (const act of ["begin", "stop", "clear"]) $(`.${act}`).addEventListener("click", () => trigger(act, {}));

watch("value", show);
show();
