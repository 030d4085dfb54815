#!/usr/bin/env bash
# Writes the source archive of the last commit into a folder, with all crates in it, so that it builds without a network:
#     tools/make_sdist.sh dist
set -euo pipefail
out=$(mkdir -p "${1:-dist}" && cd "${1:-dist}" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(command -v python || command -v python3)

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git archive HEAD | tar -x -C "$copy"
cd "$copy"
mkdir -p .cargo
# The crates that Cargo.lock names, for all systems, and where cargo finds them.
cargo vendor --locked --versioned-dirs vendor >.cargo/config.toml
"$python" -m maturin sdist --out "$out"
