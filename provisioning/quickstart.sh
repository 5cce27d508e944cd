#!/usr/bin/env bash
# Sets up Interlock on this machine and runs the demo: guard with a simulated board, collector, paper venue,
# and the core replaying twenty years of real daily prices. Run it again and it starts in seconds.
#
#   bash provisioning/quickstart.sh              set up and run; Ctrl-C stops everything in order
#   bash provisioning/quickstart.sh --reset      first move the old state aside (a log is never deleted)
#   bash provisioning/quickstart.sh --speed max --unattended --exit-when-finished
#
# Everything else is handed to `interlock up` (see: interlock up --help).
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }

reset=""
arguments=()
for argument in "$@"; do
    case $argument in
    -h | --help) usage; exit 0 ;;
    --reset) reset=--reset ;;
    *) arguments+=("$argument") ;;
    esac
done

# shellcheck source=provisioning/lib.sh
. "$ROOT/provisioning/lib.sh"
ensure_venv ""
interlock=$VENV/bin/interlock
state=()
[ -n "${INTERLOCK_STATE:-}" ] && state=(--state "$INTERLOCK_STATE")

"$interlock" init ${reset:+"$reset"} "${state[@]}"
say "starting the demo"
exec "$interlock" up "${state[@]}" "${arguments[@]}"
