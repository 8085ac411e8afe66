#!/bin/sh
# Makes .venv and puts exactly the locked releases into it (every file's hash is checked), then this checkout itself.
# PYTHON names the interpreter (3.11 or later).  Run it from the top of the checkout; `make install` does.
set -eu
python=${PYTHON:-python3}

fail() {
    printf 'filterd: %s\n' "$@" >&2
    exit 2
}

command -v "$python" >/dev/null 2>&1 ||
    fail "$python is not here. Install Python 3.11 or later (Debian, Ubuntu: apt-get install python3), or name one:" \
        "make PYTHON=/path/to/python3.12"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or later is needed, $python is $version. Name a newer one: make PYTHON=/path/to/python3.12"

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then # Debian packs them apart
    package=python$version-venv
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        fail "Python's venv module is missing. Install it, then try again:" "sudo apt-get install $package"
    fi
    echo "Installing $package ..."
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$package" >/dev/null </dev/null
fi

have=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
if [ "$have" != "$version" ]; then
    echo "Making .venv with Python $version ..."
    "$python" -m venv --clear .venv
fi

pip() { .venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check "$@"; }
echo "Installing the locked releases (about 60, 100 MB; a minute or two) ..."
pip --require-hashes -r requirements/build.txt
pip --require-hashes --no-build-isolation -r requirements/dev.txt
pip --no-deps --no-build-isolation -e .
