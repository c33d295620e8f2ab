# The suite: tests in persistent memory, power cuts, and tests over RDMA. Sourced by run.sh.

say() { printf '\n== guest: %s\n' "$*"; }

# Builds test programs; the arguments name them to cargo. All of one call, over the whole workspace: for a package alone it would build
# what that needs anew, with other features, and a check of everything again.
build() {
    (cd "$root" && cargo test "$@" --no-run --locked --message-format=json) >"$guest_files/built.json"
}

# The path of a test program that was just built, by its name.
built() {
    sed -n 's|.*"executable":"\([^"]*/deps/'"$1"'-[0-9a-f]*\)".*|\1|p' "$guest_files/built.json" | grep .
}

# Adds the results of the test programs whose output is in a file, and a failure if there is none or a test was skipped.
add_results() {
    local log=$1 status=$2 counted_passed counted_failed
    read -r counted_passed counted_failed < <(awk '/^test result:/ { passed += $4; failed += $6 }
        END { print passed + 0, failed + 0 }' "$log")
    passed=$((passed + counted_passed)) failed=$((failed + counted_failed))
    if [ "$counted_failed" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$counted_passed" -eq 0 ]; }; then
        failed=$((failed + 1))
    fi
}

in_persistent_memory() {
    local log="$guest_files/tests.log" status=0
    say "tests in persistent memory"
    # Those of media make their files in it, too.
    # shellcheck disable=SC2016 # for the shell in the guest
    guest_output=$log guest_boot bash -c 'status=0
        "$0" dax:: --nocapture || status=1
        export TMPDIR=$TORC_TEST_DAX_DIR
        "$1" media:: || status=1
        exit $status' "$tier" "$library" || status=$?
    add_results "$log" "$status"
}

# A server whose tier lies in it, which it has to say.
server_in_persistent_memory() {
    local log="$guest_files/server.log" status=0
    say "a server with its tier in persistent memory"
    # shellcheck disable=SC2016 # for the shell in the guest
    guest_output=$log guest_boot bash -c 'export TMPDIR=$TORC_TEST_DAX_DIR
        "$1" serve --listen 127.0.0.1:0 --tier "$TMPDIR/banner" --tier-size 16m >"$TMPDIR/log" 2>&1 &
        for try in {1..300}; do grep -m 1 "tier .*persistent memory" "$TMPDIR/log" && break; sleep 0.1; done
        grep -q "tier .*persistent memory" "$TMPDIR/log" && kill $! && wait $! || exit 1
        rm "$TMPDIR/banner"
        "$0" tier::every_kind tier::damage::a_file_that_shrinks' "$program" "$target/debug/torc" || status=$?
    add_results "$log" "$status"
}

# The guest is cut off while it writes; the next boot looks at what is left, and writes anew, under another seed.
power_cuts() {
    local number seed=${TORC_TEST_SEED:-$RANDOM} drained='' lines look write status log="$guest_files/cut.log"
    say "$cuts power cuts, under the seeds $seed to $((seed + cuts - 1))"
    for ((number = 0; number <= cuts; number++)); do
        look=true write=true guest_cut=0
        if [ "$number" -gt 0 ]; then
            look="TORC_TEST_SEED=$((seed + number - 1)) TORC_TEST_DRAINED=$drained '$tier' --ignored --exact --nocapture \
                dax::what_was_reported_before_the_cut_is_there"
        fi
        if [ "$number" -lt "$cuts" ]; then
            write="TORC_TEST_SEED=$((seed + number)) '$tier' --ignored --exact --nocapture \
                dax::writing_until_the_power_is_cut"
            guest_cut=$((RANDOM % 1000 + 1))
        fi
        status=0
        guest_output=$log guest_boot bash -c "$look && $write" >"$guest_files/boot.log" 2>&1 || status=$?
        if [ "$number" -gt 0 ]; then
            add_results "$log" 0
            printf 'cut %s of %s, when step %s was drained: %s\n' "$number" "$cuts" "$drained" \
                "$(grep '^found\|panicked at' "$log" | head -n 1)"
        fi
        if [ "$number" -lt "$cuts" ] && [ "$status" -ne 137 ] || [ "$number" -eq "$cuts" ] && [ "$status" -ne 0 ]; then
            # After a look that found something wrong, which is counted, nothing was written.
            tail -n 40 "$guest_files/boot.log"
            [ "$failed" -gt 0 ] || failed=1
            return
        fi
        drained=$(sed -n 's/^drained \([0-9]*\) \.$/\1/p' "$log" | tail -n 1)
    done
}

over_rdma() {
    local log="$guest_files/rdma.log" status=0
    say "RDMA over two SoftRoCE devices"
    # Then the devices go, and the library: the program has to serve on, and to say which it is.
    # shellcheck disable=SC2016 # for the shell in the guest
    guest_limit=900 guest_nvdimm='' guest_rdma=1 guest_output=$log guest_boot bash -c 'status=0
        in_state() { TORC_TEST_RDMA_STATE=$1 "$program" rdma:: || status=1; }
        program=$0
        in_state device
        "$program" rdma_client::over_real_devices:: --test-threads 1 || status=1
        for tests; do "$tests" over_real_devices:: --test-threads 1 || status=1; done
        for end in a b; do bash "$TORC_TEST_RDMA_WIRE" remove "$end"; done
        in_state library
        rm /usr/lib/*/libibverbs.so.1*
        in_state no-library
        exit $status' "$program" "${over_rdma[@]}" || status=$?
    add_results "$log" "$status"
}

suite() {
    local tier library program over_rdma=() passed=0 failed=0
    say "building the tests"
    build --workspace --lib --test tier --test program --test provider --test rdma && tier=$(built tier) \
        && library=$(built torc_pmem) && program=$(built program) && over_rdma+=("$(built provider)") && over_rdma+=("$(built rdma)") \
        || fail "the tests cannot be built"
    if [ "${TORC_GUEST_RDMA_SYS:-}" = 1 ]; then
        # In a folder of its own: a build with the feature would take the place of that without.
        CARGO_TARGET_DIR="$target/rdma-sys" build -p torc-verbs -p torc-net --features torc-verbs/rdma-sys,torc-net/rdma-sys \
            --test provider --test rdma && over_rdma+=("$(built provider)") && over_rdma+=("$(built rdma)") \
            || fail "the tests with rdma-sys cannot be built"
    fi
    in_persistent_memory
    server_in_persistent_memory
    power_cuts
    over_rdma
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}
