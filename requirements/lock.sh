#!/bin/sh
# Makes the lock files again from pyproject.toml: all platforms, Python 3.11 and later, hashes, no index address.
# Needs uv (pip install uv). Run it from the top of the checkout.
set -eu
compile() {
    uv pip compile -q --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@"
}
compile pyproject.toml -o requirements/run.txt
compile pyproject.toml --group dev -o requirements/dev.txt
compile --group build -o requirements/build.txt
