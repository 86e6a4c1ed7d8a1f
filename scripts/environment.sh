# Sourced by the scripts beside it: makes .venv in the project's folder and keeps it up to date.
# shellcheck shell=bash

set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
python=.venv/bin/python

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 2; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# An existing .venv is used as it is; a broken or an old one is for its owner to remove.
make_venv() {
    if [[ -e .venv ]]; then
        new_enough "$python" || fail ".venv has no working Python 3.11 or newer: remove .venv and run this again"
    else
        local candidate found=
        for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
            if new_enough "$candidate"; then found=$candidate; break; fi
        done
        [[ -n $found ]] || fail "no Python 3.11 or newer found: install one, or name it as in PYTHON=/path/to/python3.12 $0"
        say "Making .venv ($("$found" --version))"
        if ! "$found" -m venv .venv >&2; then
            rm -rf .venv
            fail "$found could not make .venv: its venv module is missing or broken (on Debian: apt install python3-venv)"
        fi
    fi
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null
}

# Hash of what an installation depends on: the place, the interpreter and the contents of the files named.
fingerprint() {
    "$python" - "$root" "$@" <<'PY'
import hashlib, pathlib, sys
digest = hashlib.sha256(f"{sys.argv[1]}\0{sys.version}".encode())
for name in sys.argv[2:]:
    top = pathlib.Path(name)
    for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"\0{path.as_posix()}\0{path.stat().st_size}\0".encode() + path.read_bytes())
print(digest.hexdigest())
PY
}

is_stamped() { [[ $(cat ".venv/$1" 2>/dev/null) == "$2" ]]; }

# Both stamps go before pip starts: an interrupted installation is never taken for a whole one, and
# the two kinds (a copy, or the sources in place) replace each other. Doubly quiet pip still tells errors.
install_as() { # STAMP FINGERPRINT PIP-ARGUMENTS...
    local stamp=$1 print=$2
    shift 2
    say "Installing impasto and its libraries (minutes the first time, seconds after a change) ..."
    rm -f .venv/installed-copy .venv/installed-in-place
    "$python" -m pip install --quiet --quiet -c constraints.txt "$@" </dev/null >&2
    printf '%s\n' "$print" >".venv/$stamp"
}

# For work on the sources: they are used where they lie, so only the metadata can make it stale.
install_in_place() {
    make_venv
    local print
    print=$(fingerprint pyproject.toml constraints.txt)
    is_stamped installed-in-place "$print" || install_as installed-in-place "$print" -e '.[dev]'
}

# For use: a copy, made again when the sources change; an installation in place serves as well.
install_copy() {
    make_venv
    local print
    print=$(fingerprint pyproject.toml constraints.txt)
    if is_stamped installed-in-place "$print"; then return; fi
    print=$(fingerprint pyproject.toml constraints.txt README.md LICENSE NOTICE src)
    is_stamped installed-copy "$print" || install_as installed-copy "$print" .
}

axe=axe-core@4.14.1

# What the tests of the pages need beside Python: a browser, and from npm a runtime and what checks accessibility. Without
# them those are skipped.
prepare_page_tests() {
    [[ -d tests/web ]] || return 0
    if ! { type -P chromium || type -P chromium-browser || type -P google-chrome; } >/dev/null; then
        if [[ $(id -u) == 0 ]] && type -P apt-get >/dev/null; then
            say "Installing Chromium for the tests of the page ..."
            { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } \
                </dev/null >/dev/null 2>&1 || say "Chromium could not be installed: the tests of the page are skipped"
        else
            say "No Chromium is here, and apt-get as root is needed to install it: the tests of the page are skipped"
        fi
    fi
    if [[ ! -f src/impasto/export/vendor/ort-wasm-simd-threaded.wasm.xz ]]; then
        scripts/vendor >/dev/null </dev/null || say "onnxruntime-web could not be had: the tests of the page are skipped"
    fi
    if [[ ! -f build/axe-core/axe.min.js ]]; then
        mkdir -p build/axe-core
        { npm pack --silent --pack-destination build/axe-core "$axe" &&
            tar -xzf build/axe-core/*.tgz -C build/axe-core --strip-components 1 package/axe.min.js; } \
            </dev/null >/dev/null 2>&1 || say "axe-core could not be had: the pages are not checked for accessibility"
    fi
}
