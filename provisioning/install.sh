#!/usr/bin/env bash
# Installs the appliance on a 64-bit Raspberry Pi OS or Debian with systemd: program in /opt/interlock, state in
# /var/lib/interlock, one user, units for guard, core, cancel-only, alerts, collector, paper venue. Needs root.
# Says its plan first, does only what is missing, and can be run again.
#
#   sudo bash provisioning/install.sh --plan                 say what would be done
#   sudo bash provisioning/install.sh                        do it
#   sudo bash provisioning/install.sh --board simulated      a machine without the GPIO lines
#   sudo bash provisioning/install.sh --wheels DIR           without a network: install these wheels only
#   sudo bash provisioning/install.sh --no-start             enable the units, start them at the next boot
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
OPT=/opt/interlock
STATE=/var/lib/interlock
RUNTIME=/run/interlock
UNITS=/etc/systemd/system
BOXED="interlock-guard interlock-cancel-only interlock-paper-venue interlock-collector interlock-alerts interlock-core"

usage() { sed -n '2,11s/^# \{0,1\}//p' "$0"; }

plan="" start=yes wheels="" board=""
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --plan) plan=yes ;;
    --no-start) start="" ;;
    --wheels) wheels=${2:?--wheels needs a directory}; shift ;;
    --board) board=${2:?--board needs gpiozero or simulated}; shift ;;
    *) echo "interlock: unknown argument $1. See --help." >&2; exit 2 ;;
    esac
    shift
done

# shellcheck source=provisioning/lib.sh
. "$ROOT/provisioning/lib.sh"
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$ROOT/appliance/__init__.py")
release=$OPT/releases/$version
[ -n "$board" ] || { [ -e /dev/gpiochip0 ] && board=gpiozero || board=simulated; }
case $board in gpiozero | simulated) ;; *) fail "unknown board $board" "it is gpiozero or simulated" "--board gpiozero" 2 ;; esac
[ "$(id -u)" = 0 ] || fail "this needs root" "it writes to $OPT, $STATE and $UNITS" "sudo bash provisioning/install.sh" 77
[ -d /run/systemd/system ] || fail "systemd does not run here" "the appliance is a set of its units" "bash provisioning/quickstart.sh" 69

if [ -n "$wheels" ]; then from="the wheels in $wheels"; else from="the hashed lock"; fi
cat >&2 <<TEXT
plan for this machine:
  program   $release from $from, $OPT/current points to it
  user      interlock (no login), groups interlock and gpio
  state     $STATE, made once by \`interlock init\`, never replaced
  board     $board (only for a state that is made now)
  watchdog  the hardware one, 10 s
  units     $BOXED, interlock.target$([ -n "$start" ] && echo ", started" || echo ", from the next boot on")
TEXT
[ -z "$plan" ] || exit 0

install_program() {
    local stamp
    stamp=$( (cat "$ROOT/provisioning/requirements.lock" "$ROOT/pyproject.toml"; find "$ROOT/appliance" "$ROOT/hardware" \
        -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 cat) | sha256sum | cut -c1-16)
    if [ ! -e "$release/.complete-$stamp" ]; then
        say "installing $release"
        rm -rf "$release"
        mkdir -p "$OPT/releases"
        # The distribution's lgpio is seen where it has one; everything else comes from the lock.
        local system=""
        "$PYTHON" -c 'import lgpio' 2>/dev/null && system=--system-site-packages
        "$PYTHON" -m venv $system "$release" || fail "the virtual environment could not be made" "see above" "df -h $OPT" 73
        local pip="$release/bin/python -m pip --disable-pip-version-check --no-input --quiet install --no-deps"
        if [ -n "$wheels" ]; then
            $pip --no-index "$wheels"/*.whl
        else
            $pip --require-hashes -r "$ROOT/provisioning/build.lock" &&
                $pip --require-hashes --no-build-isolation -r "$ROOT/provisioning/requirements.lock" &&
                $pip --no-build-isolation "$ROOT"
        fi || fail "the program could not be installed" "pip failed, see above" "run it again with a network, or with --wheels"
        install -m 644 "$ROOT/README.md" "$release/README.md"
        "$release/bin/python" -m compileall -q "$release/lib" || true
        touch "$release/.complete-$stamp"
    fi
    if [ "$board" = gpiozero ] && ! (cd /tmp && "$release/bin/python" -c 'import lgpio' 2>/dev/null); then
        fail "the pin driver lgpio is missing" "gpiozero needs it for the kernels of today" "apt-get install python3-lgpio, then run this again" 69
    fi
    ln -sfn "releases/$version" "$OPT/current.new"
    mv -T "$OPT/current.new" "$OPT/current"
    sync -f "$OPT"
}

install_system() {
    install -D -m 644 "$ROOT/systemd/interlock.sysusers.conf" /usr/lib/sysusers.d/interlock.conf
    install -D -m 644 "$ROOT/systemd/interlock.tmpfiles.conf" /usr/lib/tmpfiles.d/interlock.conf
    install -D -m 644 "$ROOT/systemd/60-interlock-gpio.rules" /usr/lib/udev/rules.d/60-interlock-gpio.rules
    systemd-sysusers /usr/lib/sysusers.d/interlock.conf
    systemd-tmpfiles --create /usr/lib/tmpfiles.d/interlock.conf
    udevadm control --reload && udevadm trigger --subsystem-match=gpio
    # A hung kernel or a hung PID 1 ends in a reset; the Pi's watchdog takes 15 s at the most.
    install -d -m 755 /etc/systemd/system.conf.d
    printf '[Manager]\nRuntimeWatchdogSec=10\n' >/etc/systemd/system.conf.d/interlock.conf
    local unit
    for unit in "$ROOT"/systemd/*.service "$ROOT"/systemd/*.target; do
        install -m 644 "$unit" "$UNITS/$(basename "$unit")"
    done
}

install_state() {
    runuser -u interlock -- "$OPT/current/bin/interlock" init --board "$board" --state "$STATE" --runtime "$RUNTIME"
    ln -sfn "$OPT/current/bin/interlock" /usr/local/bin/interlock
}

enable_units() {
    systemctl daemon-reexec
    # shellcheck disable=SC2086
    systemctl enable --quiet $BOXED interlock.target
    [ -n "$start" ] || return 0
    say "starting"
    systemctl start interlock.target
    # shellcheck disable=SC2086
    systemctl start $BOXED || fail "a unit did not start" "see below" "journalctl -u 'interlock-*' -n 50"
    runuser -u interlock -- "$OPT/current/bin/interlock" status --state "$STATE" --runtime "$RUNTIME" || true
}

[ -n "$wheels" ] || ensure_system
install_program
install_system
install_state
enable_units
say "installed; the arm key opens the gate, not this script"
