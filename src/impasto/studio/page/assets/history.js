// What was painted in this session.

const list = $("ul");

function button(text, label, act) {
  const found = document.createElement("button");
  found.type = "button";
  found.textContent = text;
  found.setAttribute("aria-label", label);
  found.addEventListener("click", act);
  return found;
}

function show() {
  const rows = props.value?.rows ?? [];
  $(".none").hidden = rows.length > 0;
  list.replaceChildren(...rows.map((row, place) => {
    const item = document.createElement("li");
    const image = document.createElement("img");
    image.src = file(row.thumbnail);
    image.alt = row.title;
    const text = document.createElement("p");
    const strong = document.createElement("strong");
    strong.textContent = row.title;
    text.append(strong, document.createElement("br"), row.told);
    const acts = document.createElement("p");
    acts.append(
      button("Use its settings", `Use the settings of ${row.title}`, () => trigger("use", { place })),
      ...Object.entries({ png: "PNG", jpeg: "JPEG", webp: "WebP", tiff: "TIFF" }).map(([format, name]) =>
        button(name, `Save ${row.title} as ${name}`, () => trigger("save", { place, format })),
      ),
    );
    item.append(image, text, acts);
    return item;
  }));
}

watch("value", show);
show();
