#!/usr/bin/env bash
# What takes minutes (`bash tests/run.sh --long`): the README's two commands on a bare Debian 12 (Python 3.11)
# and a bare Debian 13 (Python 3.13), each in a fresh chroot of a clean copy of this checkout.
#
# Needs root, mmdebstrap and a Debian mirror; says so and skips where one is missing. A development machine
# that already has compilers and headers hides what a fresh one lacks: this does not.
#
#   bash tests/long.sh [bookworm|trixie] ...     default: both
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)

skip() { printf 'SKIPPED the bare-Debian lane: %s\n' "$*" >&2; exit 0; }
[ "$(id -u)" = 0 ] || skip "needs root for a chroot"
command -v mmdebstrap >/dev/null || skip "needs the Debian package mmdebstrap"

work=$(mktemp -d)
mounted=()
cleanup() {
    for ((index = ${#mounted[@]} - 1; index >= 0; index--)); do umount -l "${mounted[index]}" || true; done
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT

bind() { # path, chroot, options
    mkdir -p "$2$1"
    mount --bind "$1" "$2$1" || skip "this machine does not allow bind mounts"
    mounted+=("$2$1")
}

# The chroot installs from wherever pip on this machine is configured to look: its configuration files, the
# local folders they name, and the certificate (beside the system's, which a fresh install writes itself).
give_pip() { # chroot
    local word path
    for word in $(python3 -m pip config list 2>/dev/null | cut -d= -f2- | tr -d "'") ${PIP_FIND_LINKS:-}; do
        path=${word#file://}
        [ "$path" = "$word" ] || path=$(dirname "$path")
        if [ -d "$path" ] && ! mountpoint -q "$1$path"; then bind "$path" "$1"; fi
    done
    for path in /etc/pip.conf "$HOME/.config/pip/pip.conf" /etc/resolv.conf /etc/hosts; do
        if [ -f "$path" ]; then install -D -m 644 "$path" "$1$path"; fi
    done
    install -D -m 644 "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" "$1/srv/ca.pem"
}

run_in() { # suite
    local root=$work/$1
    printf '\n==> a bare %s\n' "$1"
    mmdebstrap --quiet --variant=minbase "$1" "$root" || skip "no Debian mirror can be reached"
    bind /proc "$root"
    bind /dev "$root"
    bind /sys "$root"
    give_pip "$root"
    mkdir -p "$root/srv/interlock"
    git -C "$ROOT" ls-files -z --cached --others --exclude-standard |
        tar -C "$ROOT" --null -T - -c --ignore-failed-read 2>/dev/null | tar -C "$root/srv/interlock" -x
    if [ -d "$ROOT/../shared" ]; then bind "$(cd "$ROOT/../shared" && pwd)" "$root"; fi
    local enter=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
        "INTERLOCK_SHARED=$(cd "$ROOT/.." && pwd)/shared" PIP_CERT=/srv/ca.pem "PIP_FIND_LINKS=${PIP_FIND_LINKS:-}"
        chroot "$root" bash -c)
    "${enter[@]}" '! command -v python3 && ! command -v gcc' || { echo "not bare" >&2; exit 1; }
    printf '==> %s: quick start from nothing\n' "$1"
    time "${enter[@]}" 'cd /srv/interlock && bash provisioning/quickstart.sh --speed max --unattended --exit-when-finished'
    printf '==> %s: quick start again\n' "$1"
    time "${enter[@]}" 'cd /srv/interlock && bash provisioning/quickstart.sh --reset --speed max --unattended --exit-when-finished'
    "${enter[@]}" 'cd /srv/interlock && .venv/bin/interlock verify'
    printf '==> %s: tests from nothing\n' "$1"
    time "${enter[@]}" 'cd /srv/interlock && rm -rf .venv && bash tests/run.sh'
}

for suite in "${@:-bookworm trixie}"; do
    for each in $suite; do run_in "$each"; done
done
echo "both commands work on a bare Debian"
