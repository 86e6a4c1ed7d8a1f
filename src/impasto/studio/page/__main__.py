"""The page alone, on 127.0.0.1: ``python -m impasto.studio.page [PORT]``."""

from __future__ import annotations

import sys

from impasto.errors import load_library
from impasto.studio.page import mount_page
from impasto.stylizer.engine import default_engine

if __name__ == "__main__":
    fastapi = load_library("fastapi", "studio", "the studio")
    uvicorn = load_library("uvicorn", "studio", "the studio")
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7860
    app = mount_page(fastapi.FastAPI(), default_engine())
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=3)
