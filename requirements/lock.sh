#!/bin/sh
# Makes the lock files again from pyproject.toml: all platforms, Python 3.11 and later, hashes, no index address.
# Needs uv (pip install uv). Run it from the top of the checkout.
# run.txt is what the container has, with the driver of PostgreSQL: an image without it could not be one of two nodes.
set -eu
compile() {
    uv pip compile -q --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@"
}
compile pyproject.toml --extra postgresql -o requirements/run.txt
compile pyproject.toml --extra postgresql --group dev -o requirements/dev.txt
compile --group build -o requirements/build.txt
