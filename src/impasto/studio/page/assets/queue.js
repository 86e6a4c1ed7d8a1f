// How far each of several photos is.

const list = $("ol");

function show() {
  const value = props.value ?? {};
  list.replaceChildren(...(value.rows ?? []).map((row) => {
    const item = document.createElement("li");
    item.dataset.state = row.state;
    const name = document.createElement("span");
    name.textContent = row.name;
    const told = document.createElement("span");
    told.textContent = row.told;
    item.append(name, told);
    return item;
  }));
  $(".status").textContent = value.status ?? "";
  $(".problem").textContent = value.problem ?? "";
  save(value.saved);
}

watch("value", show);
show();
