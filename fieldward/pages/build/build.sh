#!/bin/sh
# Builds the query page into ../static from the locked packages. With --check, builds and fails if that changed
# a committed file.
set -eu
cd "$(dirname "$0")"
npm ci --no-audit --no-fund
npm run --silent build
if [ "${1:-}" = "--check" ]; then
    git diff --exit-code --stat -- ../static
fi
