# shellcheck shell=bash
# Two hosts with a wire between them: two network namespaces and a veth pair. To be sourced after
# stage.sh. Root makes them, or an ordinary user where the kernel allows user namespaces.
#
#   client 10.0.0.1  ----  server 10.0.0.2
#
# Nothing outside of the two namespaces sees any of it.
client_ip=10.0.0.1 server_ip=10.0.0.2 nobody_ip=10.0.0.9
client_mac=02:00:00:00:00:01 server_mac=02:00:00:00:00:02 no_mac=02:00:00:00:00:ff

# Runs the script anew in a namespace of its own, which becomes the client's host.
in_own_network() {
  own_network "$@" || cannot 'it needs a network namespace: root, or user namespaces for everybody'
}

on_client() { "$@"; }
on_server() { "${over_there[@]}" "$@"; } # in the background: "${over_there[@]}" COMMAND &, for its own $!

# The server's host: the namespace of a process that does nothing else.
two_hosts() {
  unshare -n sleep infinity &
  server_host=$!
  mine+=("$server_host")
  over_there=(nsenter -t "$server_host" -n)
  until_true is_elsewhere || fail 'a second network namespace'
  ip link add wire address $client_mac type veth peer name wire address $server_mac netns "$server_host" &&
    ip link set lo up && ip address add $client_ip/24 dev wire && ip link set wire up &&
    on_server ip link set lo up && on_server ip address add $server_ip/24 dev wire &&
    on_server ip link set wire up || cannot 'the kernel makes no veth pair'
  mend_wire_from client && mend_wire_from server && neighbour client $nobody_ip $no_mac || fail 'static neighbours'
  until_true wire_is_up || fail 'a wire between the two'
}
is_elsewhere() { # another namespace than ours, and already `sleep`
  [ "$(readlink "/proc/$server_host/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}
wire_is_up() { ip -o link show wire | grep -q 'state UP'; }

# What a host sends goes to the hardware address in its table of neighbours. With one that nobody has
# it is lost, as on a cut wire; the other direction stays whole.
neighbour() { "on_$1" ip neighbour replace "$2" lladdr "$3" nud permanent dev wire; }
cut_wire_from() { to_the_other "$1" $no_mac $no_mac; }
mend_wire_from() { to_the_other "$1" $server_mac $client_mac; }
to_the_other() {
  case $1 in
    client) neighbour client $server_ip "$2" ;;
    server) neighbour server $client_ip "$3" ;;
  esac
}

# The TCP sockets of a host that have to do with a port: state, queues, both ends, process. Read with
# ss, and named as netstat and the slides name them.
sockets_on() { # HOST PORT
  "on_$1" ss -H -tanp "( sport = :$2 or dport = :$2 )" | awk -v host="$1" '
    BEGIN { split("ESTAB ESTABLISHED FIN-WAIT-1 FIN_WAIT1 FIN-WAIT-2 FIN_WAIT2", w)
            for (i = 1; i < 6; i += 2) name[w[i]] = w[i + 1] }
    { state = $1 in name ? name[$1] : $1; gsub("-", "_", state); split($6, owner, "\"")
      printf "%-7s %-12s %6s %6s  %-16s %-16s %s\n", host, state, $2, $3, $4, $5, owner[2] }'
}
table() { # PORT
  { printf '%-7s %-12s %6s %6s  %-16s %-16s %s\n' HOST STATE RECV-Q SEND-Q LOCAL PEER PROCESS
    sockets_on client "$1"; sockets_on server "$1"; } | sed 's/ *$//' | show
}
is_in() { # HOST STATE PORT
  sockets_on "$1" "$3" | awk -v state="$2" '$2 == state { found = 1 } END { exit !found }'
}
is_not_in() { ! is_in "$@"; }
has_no_connection() { # HOST PORT: it may listen
  sockets_on "$1" "$2" | awk '$2 != "LISTEN" { found = 1 } END { exit found }'
}
