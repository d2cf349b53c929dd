# shellcheck shell=bash
# A server and its clients on one host; to be sourced after stage.sh. The host is a network namespace of
# its own, with the slides' port, and with counters of its own; where the kernel allows none, it is this
# machine's loopback, with a free port, and nothing is counted.
if own_network "$@"; then counted=1 port=9877; else counted='' port=0; fi

start_server() { # PROGRAM ...: sets server, and port, if that was any; what it prints goes to $dir/server
  rm -f "$dir/server" # an earlier one's words
  "$BIN/$1" "127.0.0.1:$port" <"${keyboard:-/dev/null}" >"$dir/server" 2>&1 &
  server=$!
  mine+=("$server")
  until_true grep -qs 'listening on' "$dir/server" || { show <"$dir/server"; fail "$1 listens"; }
  port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$dir/server")
}
server_said() { grep -qs -- "$1" "$dir/server"; }

# A client whose user has typed a line, got it back, and types no more: it is blocked in fgets. Sets
# client, and the descriptor `keys`; what it prints goes to $dir/client.
start_client() { # PROGRAM [OPTION]
  rm -f "$dir/keys" "$dir/client"
  mkfifo "$dir/keys"
  "$BIN/$1" "${@:2}" "127.0.0.1:$port" <"$dir/keys" >"$dir/client" 2>&1 &
  client=$!
  mine+=("$client")
  exec {keys}>"$dir/keys"
}
client_said() { grep -qs -- "$1" "$dir/client"; }
gets_echo() { echo hello >&"$keys"; until_true client_said hello || fail 'the echo of a line'; }
end_of_file() { exec {keys}>&-; }
ends_with() { # CODE: the client's exit code, as echo $? has it
  local code
  wait "$client" 2>/dev/null
  code=$?
  tell "echo \$?: $code"
  [ "$code" -eq "$1" ] || { show <"$dir/client"; fail "exit code $1"; }
}

# The TCP sockets of the server's port: state, queues, both ends, process.
sockets() {
  ss -H "${@:--ta}npO" "( sport = :$port or dport = :$port )" | awk '
    BEGIN { split("ESTAB ESTABLISHED FIN-WAIT-1 FIN_WAIT1 FIN-WAIT-2 FIN_WAIT2", w)
            for (i = 1; i < 6; i += 2) name[w[i]] = w[i + 1] }
    { state = $1 in name ? name[$1] : $1; gsub("-", "_", state); split($6, owner, "\"")
      pid = ""; if (match($6, /pid=[0-9]+/)) pid = substr($6, RSTART + 4, RLENGTH - 4)
      printf "%-12s %6s  %-16s %-16s %s %s\n", state, $2, $4, $5, owner[2], pid }'
}
table() {
  { printf '%-12s %6s  %-16s %-16s %s\n' STATE RECV-Q LOCAL PEER PROCESS; sockets; } | sed 's/ *$//' | show
}
client_end_is() { sockets | awk -v s="$1" -v p=":$port" '$1 == s && substr($4, length($4) - length(p) + 1) == p { f = 1 } END { exit !f }'; }
server_end_is() { sockets | awk -v s="$1" -v p=":$port" '$1 == s && substr($3, length($3) - length(p) + 1) == p { f = 1 } END { exit !f }'; }
no_connection() { sockets | awk '$1 != "LISTEN" && $1 != "TIME_WAIT" { f = 1 } END { exit f }'; }

# How many RSTs this host has sent since it exists (TcpOutRsts of nstat).
resets() { awk '/^Tcp:/ { for (i = 1; i <= NF; i++) if ($i == "OutRsts") n = i; else if (n == i) print $i }' /proc/net/snmp; }
one_more_reset_than() { [ "$(resets)" -eq $(($1 + 1)) ]; }
