#!/usr/bin/env bash
# A listener of Gradio with trigger_mode="always_last" is called a second time once it has answered, for what happened
# meanwhile. One would expect that call to carry the data of the last event, as the mode's name says. It carries those of
# the first: of three events told as 1, 2 and 3 while a listener is busy, it hears 1 and 1 again. The values of components
# that it takes as inputs are those of now, so that nothing is noticed with sliders; what an event itself tells (a custom
# event of gr.HTML with `trigger(name, data)`) is lost. gradio 6.31.0, in Chromium.
# What we do: the studio's page tells of one brushed mask at a time and then of what came meanwhile
# (studio/page/assets/easel.js), with trigger_mode="multiple".
#
# Needs python3 with venv; takes Chromium from the path, or lets Playwright install it. Prints what the listener hears.
# Fails if it hears the last event.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q gradio==6.31.0 playwright
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
[[ -n $browser ]] || venv/bin/playwright install chromium >/dev/null
BROWSER_PATH=$browser GRADIO_ANALYTICS_ENABLED=False venv/bin/python - <<'PYTHON'
import os
import time

import gradio as gr
from playwright.sync_api import sync_playwright

heard = {"always_last": [], "multiple": []}


def listener(mode):
    def hear(event: gr.EventData, slider: float):
        heard[mode].append((event._data["number"], slider))
        time.sleep(1)

    return hear


with gr.Blocks() as page:
    slider = gr.Slider(0, 10, value=0, step=1)
    for mode in heard:
        part = gr.HTML(
            value=f"<button id='{mode}'>{mode}</button>",
            js_on_load="element.addEventListener('click', () => trigger('told', { number: ++window.number }));",
        )
        part.told(listener(mode), [slider], [], queue=False, trigger_mode=mode)

_, address, _ = page.launch(prevent_thread_lock=True, quiet=True)
with sync_playwright() as client:
    browser = client.chromium.launch(executable_path=os.environ["BROWSER_PATH"] or None, args=["--no-sandbox"])
    tab = browser.new_page()
    tab.goto(address)
    for mode in heard:
        tab.wait_for_selector(f"#{mode}")
        tab.wait_for_timeout(1000)
        tab.evaluate("window.number = 0")
        for value in (1, 2, 3):
            tab.locator("input[type=number]").first.fill(str(value))
            tab.locator("input[type=number]").first.blur()
            tab.evaluate(f"document.getElementById('{mode}').click()")
            tab.wait_for_timeout(150)
        tab.wait_for_timeout(4000)
    browser.close()
print(f"gradio {gr.__version__}: (event's number, slider's value) of three events while the listener is busy")
for mode, events in heard.items():
    print(f"  {mode}: {events}")
assert [number for number, _ in heard["always_last"]] == [1, 1], "the last event's data come now"
assert [number for number, _ in heard["multiple"]] == [1, 2, 3]
print("the second call of always_last has the first event's data")
PYTHON
