// How it is painted. A slider counts when it is let go, or at each step of a key.

const fields = [...element.querySelectorAll("[data-name]")];
const radios = [...element.querySelectorAll("[type=radio]")];
const group = `quality-${Math.random().toString(36).slice(2)}`;
for (const radio of radios) radio.name = group;

function tell(field) {
  if (field.type === "range") field.nextElementSibling.textContent = `${field.value} %`;
}

function put() {
  const value = props.value ?? {};
  for (const field of fields) {
    const found = value[field.dataset.name];
    if (field.type === "checkbox") field.checked = Boolean(found);
    else if (field.type === "range") {
      field.max = Math.max(field.max, found);
      field.min = Math.min(field.min, found);
      if (found % 5) field.step = "any";
      field.value = found;
    } else {
      const text = found === null || found === undefined ? "auto" : String(found);
      if (![...field.options].some((one) => one.value === text)) field.add(new Option(`${text} px`, text));
      field.value = text;
    }
    tell(field);
  }
  for (const radio of radios) radio.checked = radio.value === (value.quality ?? "draft");
}

function changed() {
  const value = { ...props.value };
  for (const field of fields) {
    if (field.type === "checkbox") value[field.dataset.name] = field.checked;
    else if (field.type === "range") value[field.dataset.name] = Number(field.value);
    else value[field.dataset.name] = field.value === "auto" ? null : Number(field.value);
  }
  value.quality = radios.find((radio) => radio.checked)?.value ?? "draft";
  props.value = value;
  trigger("choose", {});
}

for (const field of fields) {
  field.addEventListener("input", () => tell(field));
  field.addEventListener("change", changed);
}
for (const radio of radios) radio.addEventListener("change", changed);
$(".from").addEventListener("click", () => $(".file").click());
async function settingsOf(picture) {
  if (!picture) return;
  const path = await sent(picture);
  if (path) trigger("settings", { path, name: picture.name });
}

$(".file").addEventListener("change", (event) => {
  settingsOf(event.target.files[0]);
  event.target.value = "";
});
droppedOn($(".controls"), (files) => settingsOf(files[0]));

watch("value", put);
put();
