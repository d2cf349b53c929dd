# shellcheck shell=bash
# For the scripts that show one slide each on a projector: titles, tables, and promises that are
# checked. A script that sources this ends with 0 only if all it promised was seen; with 1 if
# something was not; with 77 if this machine does not let it try.
set -u
if [ $# -gt 0 ]; then
  printf 'usage: scripts/%s (no arguments; BIN=FOLDER: where the programs are, else target/debug)\n' "${0##*/}" >&2
  exit 2
fi
BIN=${BIN:-target/debug}
if [ -t 1 ]; then bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' off=$'\e[0m'; else bold='' green='' red='' off=''; fi

step=0
title() { step=$((step + 1)); printf '\n%s%d. %s%s\n' "$bold" "$step" "$*" "$off"; }
tell() { printf '   %s\n' "$@"; }
show() { sed 's/^/   | /'; }
held() { printf '   %sseen%s  %s\n' "$green" "$off" "$*"; }
fail() { printf '   %sNOT SEEN%s  %s\n' "$red" "$off" "$*"; exit 1; }
cannot() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 77; }

# Waits until a command succeeds; 20 seconds at most.
until_true() {
  local end=$((SECONDS + 20))
  until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.02; done
}
# A promise: check WHAT COMMAND...
check() { local what=$1; shift; if until_true "$@"; then held "$what"; else fail "$what"; fi; }

# A folder of our own; `mine` are processes that end with us.
dir=$(mktemp -d "${TMPDIR:-/tmp}/forklore-stage.XXXXXX") || exit 1
mine=()
cleanup() {
  local pid
  for pid in "${mine[@]}"; do kill -KILL "$pid" 2>/dev/null; done
  for pid in "${mine[@]}"; do wait "$pid" 2>/dev/null; done
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

need() { # COMMAND PACKAGE: a program of other people
  command -v "$1" >/dev/null || cannot "$1 is not here (Debian: $2)"
}
programs() { # our own, built
  local name
  for name; do [ -x "$BIN/$name" ] || cannot "$BIN/$name is not built: cargo build -p examples"; done
}
state_of() { sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null; } # S, T, Z ..., as ps shows it
in_state() { [ "$(state_of "$1")" = "$2" ]; }
children_of() { ps -o pid=,stat= --ppid "$1" | awk '$2 !~ /Z/ { print $1 }'; } # zombies left out
has_child() { [ -n "$(children_of "$1")" ]; }
child_of() { until_true has_child "$1" && children_of "$1"; }

# Runs the script anew in a network namespace of its own, where nothing is but lo; false where neither
# root nor user namespaces are allowed to make one.
own_network() {
  local unshare
  [ -z "${FORKLORE_STAGE:-}" ] || { ip link set lo up && unset FORKLORE_STAGE; return; }
  for unshare in 'unshare -n' 'unshare -Urn'; do
    $unshare true 2>/dev/null || continue
    rm -rf "$dir"
    FORKLORE_STAGE=1 exec $unshare "scripts/${0##*/}" "$@"
  done
  return 1
}
