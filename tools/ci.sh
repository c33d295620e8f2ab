#!/usr/bin/env bash
# The whole check of the project: what this passes, CI passes.
#
#   bash tools/ci.sh            everything
#   bash tools/ci.sh lint       format, clippy, documentation
#   bash tools/ci.sh rdma-sys   RDMA's verbs by the package rdma-sys, in place of our own bindings
#   bash tools/ci.sh guest      tests in a guest that QEMU emulates, with persistent memory, power cuts and RDMA
#   bash tools/ci.sh sanitize   ThreadSanitizer and Miri, where there is a nightly toolchain with rust-src and miri
#   bash tools/ci.sh test       tests, with real clients
#
# It needs a Rust toolchain and a C compiler; what else it needs (Python with venv, node with npm, redis-cli,
# libmemcached's tools, the headers of libibverbs) it installs with apt where it may, and says so where it may
# not. Environment:
#   TORC_SKIP_CLIENTS=1         leave the real clients out (their tests then say that they were skipped)
#   TORC_SKIP_RDMA_SYS=1        leave the package rdma-sys out (it needs headers of libibverbs, and libclang)
#   TORC_SKIP_GUEST=1           leave the guest out (it needs Debian's packages of QEMU and a kernel, unpacked in target/)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target="${CARGO_TARGET_DIR:-$PWD/target}"
venv="$target/clients"
requirements=tools/tests/clients/requirements.txt
node="$target/clients-node"
lock=tools/tests/clients/package-lock.json

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'ci: %s\n' "$*" >&2; exit 1; }

# Registries have bad minutes.
retry() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return 0
        printf 'ci: attempt %s of 3 failed: %s\n' "$attempt" "$*" >&2
        sleep $((attempt * 5))
    done
    return 1
}

# Installs Debian packages. The variable named first leaves out what needs them.
install_packages() {
    local skip=$1
    shift
    [ $# -gt 0 ] || return 0
    local cure="install $*, or set $skip=1"
    command -v apt-get >/dev/null || fail "missing packages and no apt-get: $cure"
    [ "$(id -u)" -eq 0 ] || fail "missing packages and not root: $cure"
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    retry apt-get -qq update || fail "apt-get update failed three times: $cure"
    # At run level 1 packages do not start the servers that they bring.
    RUNLEVEL=1 retry apt-get -qq -y --no-install-recommends install "$@" >/dev/null \
        || fail "apt-get install failed three times: $cure"
}

# Installs the Debian packages whose command (before the colon) is missing.
install_missing() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    # The module is split off Debian's python3.
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    install_packages TORC_SKIP_CLIENTS "${missing[@]}"
}

# A virtual environment and a folder of node's packages with the pinned clients, made again when the pins change.
clients() {
    local needed=(python3:python3 node:nodejs npm:npm redis-cli:redis-tools memccat:libmemcached-tools)
    # The servers that the wire vectors are compared with; on a person's machine, installed if they want it.
    # And what traces the system calls of a tier.
    [ -z "${CI:-}" ] || needed+=(redis-server:redis-server memcached:memcached strace:strace)
    install_missing "${needed[@]}"
    if ! cmp -s "$requirements" "$venv/requirements.txt"; then
        say "installing the pinned clients"
        rm -rf "$venv"
        mkdir -p "$target"
        python3 -m venv "$venv" || fail "python3 -m venv failed"
        retry "$venv/bin/pip" -q --disable-pip-version-check install -r "$requirements" \
            || fail "pip install failed three times: check the network, or set TORC_SKIP_CLIENTS=1"
        cp "$requirements" "$venv/requirements.txt"
    fi
    export TORC_TEST_PYTHON="$venv/bin/python3"
    if ! cmp -s "$lock" "$node/installed.json"; then
        say "installing the pinned clients of node"
        rm -rf "$node"
        mkdir -p "$node"
        cp tools/tests/clients/{package.json,package-lock.json,.npmrc} "$node"
        retry npm --prefix "$node" ci --silent --ignore-scripts --no-audit --no-fund \
            || fail "npm ci failed three times: check the network, or set TORC_SKIP_CLIENTS=1"
        cp "$lock" "$node/installed.json"
    fi
    export TORC_TEST_NODE="$node/node_modules"
}

lint() {
    say "format"
    cargo fmt --all --check
    say "clippy"
    cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
    say "documentation"
    # Read by whoever changes the code, so private items are in it and may be linked to.
    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --locked --quiet
}

# The same code over the package rdma-sys, which also knows whether our own bindings are laid out as they should be.
rdma_sys() {
    if [ "${TORC_SKIP_RDMA_SYS:-}" = 1 ]; then
        say "rdma-sys: SKIPPED, as TORC_SKIP_RDMA_SYS=1 says"
        return 0
    fi
    local missing=() package
    for package in libibverbs-dev librdmacm-dev libclang-dev pkg-config; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    install_packages TORC_SKIP_RDMA_SYS "${missing[@]}"
    say "verbs by the package rdma-sys"
    cargo clippy -p torc-verbs --features rdma-sys --all-targets --locked --quiet -- -D warnings
    cargo test -p torc-verbs --features rdma-sys --locked --quiet
    # For the guest, which has devices.
    export TORC_GUEST_RDMA_SYS=1
}

# Before the tests, whose closing line is the last one.
guest() {
    bash tools/guest/run.sh || fail "the tests in the guest failed; bash tools/guest/run.sh --help"
}

# What only a nightly toolchain can look for: two threads at one byte, and what Rust leaves undefined.
sanitize() {
    # Asked first, as rustup may install a toolchain that is named and not there.
    if ! rustup toolchain list 2>/dev/null | grep '^nightly' >/dev/null || ! cargo +nightly miri --version >/dev/null 2>&1 || [ ! -d "$(rustc +nightly --print sysroot)/lib/rustlib/src" ]; then
        say "sanitizers: SKIPPED, as there is no nightly toolchain with rust-src and miri"
        return 0
    fi
    local triple
    triple=$(rustc +nightly --print host-tuple)
    say "ThreadSanitizer: shards that read each other"
    RUSTFLAGS="-Zsanitizer=thread" CARGO_TARGET_DIR="$target/tsan" cargo +nightly test --locked --quiet \
        -Zbuild-std --target "$triple" -p torc-engine --lib readers_threads
    RUSTFLAGS="-Zsanitizer=thread" CARGO_TARGET_DIR="$target/tsan" cargo +nightly test --locked --quiet \
        -Zbuild-std --target "$triple" -p torc-net --test sibling_reads
    say "Miri: mailboxes, items, the head of a file"
    CARGO_TARGET_DIR="$target/miri" cargo +nightly miri test --locked --quiet -p torc-net --lib mailbox_tests
    CARGO_TARGET_DIR="$target/miri" cargo +nightly miri test --locked --quiet -p torc-engine --lib -- item:: shared::
}

tests() {
    [ "${TORC_SKIP_CLIENTS:-}" = 1 ] || clients
    say "build"
    cargo build --workspace --all-targets --locked --quiet
    say "bench smoke: every benchmark once"
    cargo test --workspace --bench '*' --locked --quiet
    say "tests"
    local log="$target/ci-tests.log" status=0
    cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log" || status=$?
    # Again at the end, what failed has said, but for backtraces and what was said before: logs are long, and where they are shown they
    # are cut in the middle. What is indented is the rest of a line.
    [ "$status" -eq 0 ] || awk '
        function tell(  line) {
            for (line = lines > 30 ? lines - 29 : 1; line <= lines; line++) print substr(said[line], 1, 4000)
            lines = 0
            delete seen
        }
        /^---- .* stdout ----$/ || /^failures:$/ { tell(); tells = /^----/ }
        !tells || !NF || /^ +([0-9]+:|at) / { next }
        /^[ \t\]]/ && lines { sub(/^[ \t]+/, ""); said[lines] = said[lines] " " $0; next }
        !seen[$0]++ { said[++lines] = $0 }
        END { tell() }' "$log"
    # One line over all test programs, as the last of them may have run none.
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
         END { printf "\n%d passed, %d failed, %d skipped\n", passed, failed, ignored }' "$log"
    return "$status"
}

command -v cargo >/dev/null || fail "there is no cargo: install a Rust toolchain"
command -v cc >/dev/null || fail "there is no C compiler: install gcc or clang"
case "${1:-all}" in
    lint) lint ;;
    guest) guest ;;
    rdma-sys) rdma_sys ;;
    sanitize) sanitize ;;
    test) tests ;;
    all) lint; rdma_sys; guest; sanitize; tests ;;
    *) fail "unknown part '$1': lint, rdma-sys, guest, sanitize, test, or nothing for all" ;;
esac
