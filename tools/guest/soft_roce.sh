#!/usr/bin/env bash
# Two SoftRoCE devices on one wire, rxe_a and rxe_b, in a guest: RDMA with the kernel's own driver, and no hardware.
#
#   soft_roce.sh               makes the wire, and the devices at its ends
#   soft_roce.sh up|down a|b   sets the link at one end
#   soft_roce.sh add|remove a|b  puts the device at one end there, or takes it away (which waits until nobody has it open)
#
# The ends of a veth pair have addresses in one network namespace, the first one, as SoftRoCE listens in no other. So the
# kernel would hand packets over inside of it: the table of local addresses is looked at behind rules that send what goes from
# one end to the other over the wire, and both ends take packets that come from an address of their own machine.
set -euo pipefail

declare -rA address=([a]=10.77.0.1 [b]=10.77.0.2) hardware=([a]=02:00:0a:4d:00:01 [b]=02:00:0a:4d:00:02) other=([a]=b [b]=a)
declare -rA table=([a]=101 [b]=102)
# A packet of 4096 bytes, and its headers.
mtu=4200

# What the kernel forgets when a link goes down.
route() {
    local end=$1 far=${other[$1]}
    ip route replace "${address[$far]}/32" dev "veth_$end" src "${address[$end]}" table "${table[$end]}"
    ip neighbour replace "${address[$far]}" lladdr "${hardware[$far]}" dev "veth_$end" nud permanent
}

up() { ip link set dev "veth_$1" up && route "$1"; }
down() { ip link set dev "veth_$1" down; }
add() { rdma link add "rxe_$1" type rxe netdev "veth_$1"; }
remove() { rdma link delete "rxe_$1"; }

make() {
    local end
    ip link add veth_a address "${hardware[a]}" type veth peer name veth_b address "${hardware[b]}"
    echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
    for end in a b; do
        echo 1 >"/proc/sys/net/ipv4/conf/veth_$end/accept_local"
        echo 0 >"/proc/sys/net/ipv4/conf/veth_$end/rp_filter"
        ip link set dev "veth_$end" mtu "$mtu"
        ip address add "${address[$end]}/24" dev "veth_$end"
        ip rule add priority "${table[$end]}" iif lo from "${address[$end]}" to "${address[${other[$end]}]}" \
            lookup "${table[$end]}"
    done
    ip rule add priority 200 lookup local
    ip rule delete priority 0 lookup local
    for end in a b; do up "$end"; done
    for end in a b; do add "$end"; done
}

case ${1:-make} in
    make) make ;;
    up | down | add | remove) "$1" "${2:?which end: a or b}" ;;
    *) echo "soft_roce: unknown argument '$1'" >&2; exit 1 ;;
esac
