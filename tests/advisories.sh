#!/usr/bin/env bash
# Holds the dependencies against RustSec's list of known faults. Needs a network, and cargo-deny
# (`cargo install --locked cargo-deny`): for releases, and for a CI that can reach github.com.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo deny --workspace check advisories
