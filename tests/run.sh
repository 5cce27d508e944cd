#!/usr/bin/env bash
# Sets up what the tests need and runs them. `bash tests/run.sh --help` lists the lanes.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
cd "$ROOT"

usage() {
    cat <<'TEXT'
bash tests/run.sh [LANE] [pytest arguments]

    (none)       types, style and every test that takes seconds; what CI runs (under 10 minutes)
    --fast       types, style, rules, unit and property tests only
    --long       also what takes minutes: Python 3.13, a bare Debian in a chroot (needs root), soak runs,
                 and another risk engine beside ours (needs the extra `peer`); says what it skips
    --coverage   is every branch of risk/, orders/ and safety/ taken? The fast tests that reach them, measured;
                 prints what is missing by file:line, exit 1 below 100 % (some 4 minutes)
    --mutation   small faults in risk/, orders/ and safety/, one at a time: do the tests notice? (INTERLOCK_SHARE:
                 percent of all of them, default 3, some 20 minutes)
    --vm         a virtual machine with a real kernel, GPIO lines, watchdog and power cuts (README says what
                 it needs); skips, saying why, where it cannot run

Example: bash tests/run.sh -k kill_switch
TEXT
}

lane=default
case "${1:-}" in
--help | -h) usage; exit 0 ;;
--fast | --long | --vm | --coverage | --mutation) lane=${1#--}; shift ;;
esac

# shellcheck source=provisioning/lib.sh
. provisioning/lib.sh
ensure_system
ensure_venv -test
PATH="$VENV/bin:$PATH"
export PATH PYTHONDONTWRITEBYTECODE=1

say "style and types"
ruff check --quiet .
mypy --no-error-summary --cache-dir .mypy_cache

say "tests"
# Several files at a time: whole appliances mostly wait (an arm press alone takes three seconds).
workers=$(($(nproc) > 3 ? 4 : 3))
# Files in their order, so that the long ones (faults, flow) are not left for the end, one beside idle workers.
pytest_here() {
    python -m pytest -n "${INTERLOCK_TEST_WORKERS:-$workers}" --dist loadfile --no-loadscope-reorder "$@"
}
case $lane in
fast) pytest_here tests/rules tests/unit tests/property "$@" ;;
default) pytest_here -m "not long and not vm" -rs "$@" ;; # what was skipped, and why
coverage) exec python -m tests.coverage "$@" ;;
mutation) exec python -m tests.mutation --share "${INTERLOCK_SHARE:-3}" "$@" ;;
vm) INTERLOCK_VM=1 exec python -m pytest tests/vm -rs -s "$@" ;;
long)
    pytest_here -m "not vm" -rs "$@"
    exec bash tests/long.sh
    ;;
esac
