# Sourced by .ci/run and .ci/full: named, timed stages; the first that fails ends the run.
# shellcheck shell=bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup.sh"
cd "$ROOT"

TIMES=""

# stage NAME COMMAND...
stage() {
    local name="$1" status=0 started=$SECONDS took
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    "$@" || status=$?
    took="$name $((SECONDS - started)) s"
    if [ "$status" -ne 0 ]; then
        printf '\n=== FAILED with status %s: %s\n' "$status" "$took"
        exit "$status"
    fi
    printf -- '--- %s\n' "$took"
    TIMES+="  $took"$'\n'
}

finished() {
    printf '\n=== all stages passed in %s s\n%s' "$SECONDS" "$TIMES"
}
