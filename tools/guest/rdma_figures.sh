#!/usr/bin/env bash
# What Torc's ways over RDMA take beside what the verbs themselves take, by turns, on two ports of one machine.
#
#   bash tools/guest/run.sh --limit 900 -- bash tools/guest/rdma_figures.sh    in the guest, over SoftRoCE: only ratios mean anything
#   TORC_TEST_RDMA=mlx5_0,mlx5_1 bash tools/guest/rdma_figures.sh              on two ports of real cards that reach each other
#
#   TORC=PATH           the program (target/release/torc)
#   ROUNDS=N            rounds, of which the medians are shown (5)
#   SECONDS_EACH=S      how long each of Torc's loads runs (2)
#   APART=1             SoftRoCE: what comes to an end is worked off by the processor that the program at that end runs on (0 and 1), as on
#                       two machines. Without it the sender's processor does all, for both ends
#
# It needs perftest (ib_send_lat, ib_read_lat, ib_write_bw), and prints one line a figure: its name, round and value; then the medians
# and ratios. Microseconds, and MB/s of 10^6 bytes.
set -euo pipefail

torc=${TORC:-target/release/torc} rounds=${ROUNDS:-5} each=${SECONDS_EACH:-2}
IFS=, read -r server client <<<"${TORC_TEST_RDMA:?two devices, as in mlx5_0,mlx5_1}"
work=$(mktemp -d) pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
port=18000

# The address of a device's port, and its index: the IPv4 one of RoCEv2.
gid_index() {
    local at path=/sys/class/infiniband/$1/ports/1
    for at in {0..15}; do
        if grep -q "RoCE v2" "$path/gid_attrs/types/$at" 2>/dev/null && grep -qi "0000:ffff:" "$path/gids/$at"; then
            echo "$at"
            return
        fi
    done
}

address() {
    local hex
    hex=$(cut -d: -f7,8 <"/sys/class/infiniband/$1/ports/1/gids/$(gid_index "$1")" | tr -d :)
    printf '%d.%d.%d.%d\n' "0x${hex:0:2}" "0x${hex:2:2}" "0x${hex:4:2}" "0x${hex:6:2}"
}

# Has a processor, by its mask, work off what comes to a device's interface (receive packet steering).
steer() {
    local queue
    for queue in "/sys/class/net/$(cat "/sys/class/infiniband/$1/parent")"/queues/rx-*/rps_cpus; do echo "$2" >"$queue"; done
}

if [ "${APART:-}" = 1 ]; then
    steer "$server" 1
    steer "$client" 2
fi

# A tool of perftest at both ends; the field of its result line.
perftest() {
    local field=$1 tool=$2
    shift 2
    port=$((port + 1))
    taskset -c 0 "$tool" -d "$server" -x "$(gid_index "$server")" -p "$port" "$@" >/dev/null 2>&1 &
    pids+=($!)
    sleep 0.5
    timeout 60 taskset -c 1 "$tool" -d "$client" -x "$(gid_index "$client")" -p "$port" "$@" "$(address "$server")" 2>/dev/null \
        | awk -v field="$field" '/^ *[0-9]+ +[0-9]+ / { value = $field } END { print value }'
    wait "${pids[-1]}" || true
    unset 'pids[-1]'
}

# Starts a server; $url is where.
serve() {
    port=$((port + 1)) url=127.0.0.1:$port
    rm -f "$work/ready"
    "$torc" serve --listen "$url" --shards 1 --cpus 0 --memory 512m --admin off --rdma require --rdma-device "$server" --rdma-reads \
        "$@" >"$work/ready" 2>"$work/log" &
    pids+=($!)
    for _ in {1..100}; do [ -s "$work/ready" ] && return; sleep 0.1; done
    cat "$work/log" >&2
    return 1
}

stop() {
    kill "${pids[-1]}" && wait "${pids[-1]}" || true
    unset 'pids[-1]'
}

# A load; the figure of this name in its JSON.
load() {
    local name=$1
    shift
    rm -f "$work/json"
    timeout 120 "$torc" bench --server "$url" --protocol native --connections 1 --warmup 0.5 --rdma-device "$client" \
        --json "$work/json" "$@" >"$work/bench" 2>&1 || { cat "$work/bench" >&2; return 1; }
    sed -n "s/.*\"$name\":\([0-9.e+-]*\).*/\1/p" "$work/json"
}

note() { printf '%s %s %s\n' "$1" "$2" "$3" | tee -a "$work/figures"; }

small=(--keys 1000 --value-size 64 --mix get=1) long=(--keys 16 --value-size 1048576 --mix get=1)
for ((round = 1; round <= rounds; round++)); do
    note send_lat "$round" "$(perftest 5 ib_send_lat -s 64 -n 3000 -F)"
    serve --spin 1ms
    load operations_per_second "${small[@]}" --preload --transport rdma --requests 3000 >/dev/null
    note get "$round" "$(load p50 "${small[@]}" --transport rdma --cpu 1 --duration "$each")"
    note read_lat "$round" "$(perftest 5 ib_read_lat -s 64 -n 3000 -F)"
    note read_again "$round" "$(load p50 "${small[@]}" --transport rdma-read --duration "$each")"
    note read_first "$round" "$(load p50 "${small[@]}" --transport rdma-read --forget --duration "$each")"
    stop
    serve
    note get_sleeping "$round" "$(load p50 "${small[@]}" --transport rdma --duration "$each")"
    stop
    note write_bw "$round" "$(perftest 4 ib_write_bw -s 1048576 -t 16 -n 300 -F --report_gbits | awk '{ print $1 * 125 }')"
    serve --spin 1ms
    load operations_per_second "${long[@]}" --preload --transport rdma --requests 16 >/dev/null
    note long_gets "$round" "$(load operations_per_second "${long[@]}" --transport rdma --depth 16 --window --cpu 1 \
        --duration "$each" | awk '{ print $1 * 1.048576 }')"
    stop
done

median() { awk -v name="$1" '$1 == name { print $3 }' "$work/figures" | sort -g | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
ratio() { awk -v a="$1" -v b="$2" -v times="$3" 'BEGIN { printf "%.2f\n", a / (b * times) }'; }
echo
printf 'GET by SEND and RECV, busy      %8s us  %5s x twice ib_send_lat (%s us)\n' "$(median get)" \
    "$(ratio "$(median get)" "$(median send_lat)" 2)" "$(median send_lat)"
printf 'GET by SEND and RECV, sleeping  %8s us\n' "$(median get_sleeping)"
printf 'one-sided, remembered place     %8s us  %5s x ib_read_lat (%s us)\n' "$(median read_again)" \
    "$(ratio "$(median read_again)" "$(median read_lat)" 1)" "$(median read_lat)"
printf 'one-sided, first time           %8s us  %5s x ib_read_lat\n' "$(median read_first)" \
    "$(ratio "$(median read_first)" "$(median read_lat)" 1)"
printf 'GET of 1 MiB, 16 in flight      %8s MB/s %4s x ib_write_bw (%s MB/s)\n' "$(median long_gets)" \
    "$(ratio "$(median long_gets)" "$(median write_bw)" 1)" "$(median write_bw)"
