"""Imported by every benchmark before torch is loaded: threads wait as they do in the programs that are measured."""

from impasto.core.threads import apply_wait_settings

apply_wait_settings()
