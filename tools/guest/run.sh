#!/usr/bin/env bash
# Tests that need hardware which few have, in a guest: a virtual machine that QEMU emulates.
#
#   bash tools/guest/run.sh [--cuts N]    the whole suite: persistent memory, power cuts in the midst of writing, RDMA
#   bash tools/guest/run.sh -- COMMAND...  one command; its exit status is that of this script
#
#   --cuts N          cut the guest off from its power so often (3)
#   --limit SECONDS   end a boot that takes longer (120)
#   --kvm             run the guest by KVM; there are machines where that begins, and hangs
#   --prepare         download and unpack only
#
# A command runs as root, in the folder in which this script is called, with all files of the machine to read; what it
# writes is gone with the guest. TORC_TEST_DAX_DIR names a folder on an ext4 that is mounted with -o dax on an emulated
# NVDIMM. TORC_TEST_RDMA names two SoftRoCE devices on one wire. QEMU, the kernel and libibverbs come from Debian's packages
# (86 MB, unpacked in target/guest, nothing is installed), so it needs an x86-64 Debian, and no rights. Environment:
#   TORC_SKIP_GUEST=1   skip everything, and say so
#   TORC_GUEST_RDMA_SYS=1   run what goes over RDMA with the package rdma-sys as well: its headers have to be there
#   TORC_TEST_SEED=N    the seed of the first power cut (by chance; the suite prints it)
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
target="${CARGO_TARGET_DIR:-$root/target}"
guest="$target/guest"
# shellcheck source=prepare.sh
. "$here/prepare.sh"
# shellcheck source=boot.sh
. "$here/boot.sh"
# shellcheck source=suite.sh
. "$here/suite.sh"

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }
fail() { printf 'guest: %s\n' "$*" >&2; exit 125; }

cuts=3 is_prepared_only='' command=()
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --cuts) cuts=${2:?how many power cuts}; shift ;;
        --limit) guest_limit=${2:?how many seconds}; shift ;;
        --kvm) guest_accel=(-accel kvm -cpu host) ;;
        --prepare) is_prepared_only=1 ;;
        --) shift; command=("$@"); [ $# -gt 0 ] || fail "there is no command behind --"; break ;;
        *) usage >&2; fail "unknown argument '$1'" ;;
    esac
    shift
done

if [ "${TORC_SKIP_GUEST:-}" = 1 ]; then
    echo "guest: SKIPPED, as TORC_SKIP_GUEST=1 says: nothing was tested in persistent memory, or over RDMA"
    exit 0
fi
mkdir -p "$target"
# One at a time: the guest's files are shared, and two emulations would be slow.
exec 9>"$target/guest.lock"
flock -w 900 9 || fail "another run of this script has held $target/guest.lock for 15 minutes"
guest_prepare || fail "there is no guest: see above, or set TORC_SKIP_GUEST=1"
[ -z "$is_prepared_only" ] || exit 0
# What a run that was killed has left.
rm -rf "$guest"/{run,files}.*
guest_files=$(mktemp -d "$guest/files.XXXXXX")
trap 'guest_end; rm -rf "$guest_files"' EXIT
trap 'exit 130' INT TERM HUP
guest_nvdimm="$guest_files/nvdimm"
if [ ${#command[@]} -gt 0 ]; then
    guest_rdma=1
    guest_boot "${command[@]}"
else
    suite
fi
