// The sheet of a layer.

function show() {
  const value = props.value ?? {};
  $("img").hidden = !value.sheet;
  if (value.sheet) {
    $("img").src = file(value.sheet);
    $("img").alt = value.told;
  }
  $(".status").textContent = value.told ?? "";
  $(".problem").textContent = value.problem ?? "";
}

watch("value", show);
show();
