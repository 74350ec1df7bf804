# Sourced by scripts/demo, scripts/test and .ci/*: finds a Python, adds missing Debian packages,
# and makes virtual environments. Everything here may run again: what is in place is left alone.
# Packages come from wherever pip and apt of this machine are set up to look.
#
# Environment: PYTHON  the interpreter to use (3.11 or newer); else the first usable one on PATH
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

say() { printf '%s\n' "== $*" >&2; }

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif ! command -v sudo >/dev/null 2>&1; then
        return 1
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@" # nobody is there to type a password
    fi
}

# apt_install PACKAGE...
apt_install() {
    command -v apt-get >/dev/null 2>&1 || die \
        "This needs the Debian package(s) $*, and there is no apt-get here." \
        "Install their equivalent by hand and run the same command again."
    say "installing Debian package(s): $*"
    as_root apt-get update -qq >&2 || say "apt-get update failed; going on with the lists at hand"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >&2 || die \
        "apt-get could not install $* (no network, or neither root nor sudo?)." \
        "Install that by hand and run the same command again:  apt-get install $*"
}

# need_program PROGRAM PACKAGE: installs PACKAGE unless PROGRAM is on PATH
need_program() {
    command -v "$1" >/dev/null 2>&1 || apt_install "$2"
}

# What the voice agent speaks with, and so what the tests need too.
need_debian_packages() {
    need_program espeak-ng espeak-ng
}

# What else the tests need: a browser, and something that runs JavaScript without one.
need_test_packages() {
    need_debian_packages
    need_program chromium chromium
    need_program node nodejs
}

# python_is_new_enough PYTHON, python_makes_venvs PYTHON: asked by running it, since a name on PATH
# may be a version manager's stub for an interpreter that isn't selected
python_is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

python_makes_venvs() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

# find_python: prints the path of the interpreter to use
find_python() {
    local candidate fallback=""
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        python_is_new_enough "$candidate" || continue
        if python_makes_venvs "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
        fallback="${fallback:-$candidate}"
    done
    [ -n "$fallback" ] || die \
        "No Python 3.11 or newer found (looked for: ${PYTHON:-python3.11 python3.12 python3.13 python3})." \
        "Install one, or name it:  PYTHON=/path/to/python3.12 $0"
    # Debian splits venv off from its Python.
    apt_install "$("$fallback" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    python_makes_venvs "$fallback" || die "$fallback can't make virtual environments."
    "$fallback" -c 'import sys; print(sys.executable)'
}

# newest_python: prints the path of the newest interpreter on this machine, also those of a version
# manager that aren't selected
newest_python() {
    local candidate
    for candidate in python3 python3.{11..19} "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3; do
        python_is_new_enough "$candidate" && python_makes_venvs "$candidate" &&
            "$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3], sys.executable)'
    done | sort -t. -k1,1n -k2,2n -k3,3n | tail -n 1 | cut -d' ' -f2-
}

# ensure_venv FOLDER EXTRAS: a virtual environment with this package (editable) and its EXTRAS.
# The stamp inside tells what it was made from, and is written last: an interrupted set-up starts anew.
ensure_venv() {
    local folder="$1" extras="$2" python stamp
    python="$(find_python)" || exit 1
    stamp="$(cksum <"$ROOT/pyproject.toml") [$extras] $python $("$python" -V) $ROOT"
    if [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    say "setting up ${folder#"$ROOT"/} with $("$python" -V) (a minute or so, once)"
    "$python" -m venv --clear "$folder" || die "$python could not make a virtual environment."
    "$folder/bin/python" -m pip install -qq --disable-pip-version-check \
        --editable "${ROOT}[$extras]" >&2 || die \
        "pip could not install ten-trio[$extras]; its message is above." \
        "It looks where your own pip configuration says (see: pip config list)." \
        "With no network, point it at a folder of wheels:  PIP_FIND_LINKS=FOLDER PIP_NO_INDEX=1 $0"
    printf '%s\n' "$stamp" >"$folder/stamp"
}
