# Sourced by provisioning/quickstart.sh and tests/run.sh: system packages and the virtual environment.
# Says what it does before it does it, and does nothing twice.
#
#   INTERLOCK_PYTHON   interpreter to build the environment with (default: python3)
#   INTERLOCK_VENV     where the environment lies (default: .venv in the checkout)

PACKAGES="python3 python3-venv python3-dev gcc libsystemd-dev pkg-config"
PYTHON=${INTERLOCK_PYTHON:-python3}
VENV=${INTERLOCK_VENV:-$ROOT/.venv}

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

fail() { # what, why, do
    printf 'interlock: %s. %s. DO: %s\n' "$1" "$2" "$3" >&2
    exit "${4:-1}"
}

python_is_usable() {
    "$PYTHON" - <<'PY' >/dev/null 2>&1
import sys, sysconfig, pathlib, venv, ensurepip
assert sys.version_info >= (3, 11)
assert (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists()
PY
}

# systemd-python and RPi.GPIO have no wheels: they are compiled, which needs the headers.
system_is_ready() {
    command -v gcc >/dev/null && pkg-config --exists libsystemd 2>/dev/null && python_is_usable
}

ensure_system() {
    system_is_ready && return
    command -v apt-get >/dev/null ||
        fail "system packages are missing" "this is no Debian, so they cannot be installed from here" \
            "install the equivalents of: $PACKAGES" 69
    local as_root=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null && sudo -n true 2>/dev/null && as_root=sudo ||
            fail "system packages are missing" "installing them needs root" "sudo apt-get install $PACKAGES" 77
    fi
    say "installing system packages (60 MB, about 20 s): $PACKAGES"
    # shellcheck disable=SC2086
    $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $PACKAGES >/dev/null ||
        fail "system packages could not be installed" "apt-get failed, see above" "apt-get install $PACKAGES" 69
    system_is_ready ||
        fail "the system is still not ready" "$PYTHON is not Python 3.11 or newer, or its headers are missing" \
            "INTERLOCK_PYTHON=/path/to/python3 with headers" 69
}

# One environment for running and testing; a stamp of interpreter and locks tells whether it is complete.
# An interrupted build leaves no stamp and is built again from nothing.
ensure_venv() { # "" or "-test"
    local locks="$ROOT/provisioning/build.lock $ROOT/provisioning/requirements$1.lock"
    local stamp
    command -v "$PYTHON" >/dev/null || ensure_system # the stamp names the interpreter: it must be there
    # shellcheck disable=SC2086
    stamp=$( (readlink -f "$(command -v "$PYTHON")"; "$PYTHON" -VV; cat $locks "$ROOT/pyproject.toml") | sha256sum | cut -c1-16)
    [ -e "$VENV/.complete-$stamp" ] && return
    # The test environment contains everything the plain one has.
    [ -z "$1" ] && [ -e "$VENV/.complete-test" ] && [ "$(cat "$VENV/.complete-test")" = "$(plain_stamp)" ] && return
    ensure_system
    say "building the virtual environment in ${VENV#"$ROOT"/} (about 30 s, needs the network once)"
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV" || fail "the virtual environment could not be made" "see above" "rm -rf $VENV" 73
    local pip="$VENV/bin/python -m pip --disable-pip-version-check --no-input install --require-hashes --no-deps"
    # The compiled packages build with the locked setuptools, not with whatever an index serves today.
    $pip --quiet -r "$ROOT/provisioning/build.lock" &&
        $pip --quiet --no-build-isolation --progress-bar on -r "$ROOT/provisioning/requirements$1.lock" &&
        "$VENV/bin/python" -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation -e "$ROOT" ||
        fail "the virtual environment could not be filled" "pip failed, see above" "check the network and run it again" 69
    [ -n "$1" ] && plain_stamp >"$VENV/.complete-test"
    touch "$VENV/.complete-$stamp"
}

plain_stamp() {
    (readlink -f "$(command -v "$PYTHON")"; "$PYTHON" -VV; cat "$ROOT/provisioning/build.lock" \
        "$ROOT/provisioning/requirements.lock" "$ROOT/pyproject.toml") | sha256sum | cut -c1-16
}
