# Boots a guest, and runs a command in it. Sourced by run.sh.
#
#   guest_boot COMMAND...
#
# runs COMMAND as root in the guest, in the folder in which the host is. All files of the host are there to read at their
# places, and what is written is gone with the guest. What comes out of COMMAND comes out here, and its exit status is that
# of the function; 124: it took longer than it may, 125: it was not run, 137: the guest was cut off as asked for.
#
#   guest_limit      seconds that a boot and its command may take together
#   guest_nvdimm     a file that the guest has as its persistent memory, on /mnt/dax; made if it is not there
#   guest_rdma       if it is not empty: two SoftRoCE devices on one wire, rxe_a and rxe_b, and libibverbs
#   guest_cut        cut the guest off from its power when so many lines that begin with "drained " came out; 0: do not
#   guest_output     a file that gets what came out, up to the cut
#   guest_accel      what QEMU runs the guest by

guest_limit=120
guest_nvdimm=
guest_rdma=
guest_cut=0
guest_output=/dev/null
# Emulated on any machine. Not KVM with this behind it: there are machines where KVM begins, and hangs.
guest_accel=(-accel tcg,thread=multi -cpu max)
guest_nvdimm_mib=256
guest_qemu_pid='' guest_run='' guest_is_cut='' guest_seconds=0

# Ends QEMU, if it has not ended.
guest_kill() {
    [ -n "$guest_qemu_pid" ] || return 0
    { kill -KILL "$guest_qemu_pid" && wait "$guest_qemu_pid"; } 2>/dev/null || true
    guest_qemu_pid=''
}

# Ends what a boot has left.
guest_end() {
    guest_kill
    [ -z "$guest_run" ] || rm -rf "$guest_run"
    guest_run=''
}

# What the guest finds on /mnt/exchange: the command, whether its NVDIMM has to be formatted, how SoftRoCE is set up.
guest_exchange() {
    mkdir "$guest_run/exchange"
    {
        printf 'export PATH=%q HOME=/tmp TORC_GUEST=1' "$PATH"
        [ -z "$guest_nvdimm" ] || printf ' TORC_TEST_DAX_DIR=/mnt/dax'
        [ -z "$guest_rdma" ] || printf ' TORC_TEST_RDMA=rxe_a,rxe_b TORC_TEST_RDMA_WIRE=/mnt/exchange/soft_roce'
        printf '\ncd %q || exit 125\nexec' "$PWD"
        printf ' %q' "$@"
        printf '\n'
    } >"$guest_run/exchange/command"
    if [ -n "$guest_rdma" ]; then
        cp "$here/soft_roce.sh" "$guest_run/exchange/soft_roce"
    fi
    if [ -n "$guest_nvdimm" ]; then
        touch "$guest_run/exchange/nvdimm"
        if [ ! -e "$guest_nvdimm" ]; then
            truncate -s "${guest_nvdimm_mib}M" "$guest_nvdimm"
            touch "$guest_run/exchange/format"
        fi
    fi
}

# Starts QEMU in the background. It goes when this shell goes, however that goes.
guest_start() {
    local unpacked="$guest/qemu/usr" qemu=qemu-system-x86_64 machine=pc nvdimm=() layer=() firmware=()
    if [ -x "$unpacked/bin/$qemu" ]; then
        qemu="$unpacked/bin/$qemu"
        firmware=(-L "$unpacked/share/qemu" -L "$unpacked/share/seabios")
        local libraries="$unpacked/lib/x86_64-linux-gnu:$guest/qemu/lib/x86_64-linux-gnu"
        local -x LD_LIBRARY_PATH="$libraries" QEMU_MODULE_DIR="$unpacked/lib/x86_64-linux-gnu/qemu"
    fi
    if [ -n "$guest_nvdimm" ]; then
        machine=pc,nvdimm=on
        nvdimm=(-object "memory-backend-file,id=nvdimm,share=on,mem-path=$guest_nvdimm,size=${guest_nvdimm_mib}M"
            -device nvdimm,memdev=nvdimm)
    fi
    [ -z "$guest_rdma" ] \
        || layer=(-virtfs "local,path=$guest/verbs,mount_tag=layer,security_model=none,readonly=on,multidevs=remap")
    # no_timer_check: the kernel gives up if its timer does not tick in time, which on a busy machine it does not.
    # tsc=reliable: reading another clock leaves the guest, and costs as much as a request does.
    local kernel="console=ttyS0 quiet loglevel=4 panic=-1 random.trust_cpu=on no_timer_check tsc=reliable"
    touch "$guest_run/output"
    setpriv --pdeathsig KILL "$qemu" "${firmware[@]}" -machine "$machine" "${guest_accel[@]}" -smp 2 \
        -m 1G,slots=2,maxmem=4G -nodefaults -no-user-config -display none -no-reboot "${nvdimm[@]}" \
        -kernel "$guest/vmlinuz" -initrd "$guest/initial.gz" \
        -append "$kernel" \
        -serial "file:$guest_run/console" \
        -chardev "file,id=output,path=$guest_run/output" \
        -device virtio-serial-pci -device virtserialport,chardev=output,name=output \
        -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
        -virtfs "local,path=$guest_run/exchange,mount_tag=exchange,security_model=none" \
        "${layer[@]}" \
        -device virtio-rng-pci </dev/null >"$guest_run/qemu" 2>&1 9>&- &
    guest_qemu_pid=$!
}

# Copies what comes out, until the guest is off, is cut off, or has had its time. A time in which this script does not run
# either (the machine sleeps, or somebody has stopped it) is none that the guest takes.
guest_follow() {
    local line='' piece status drained=0 last=$SECONDS
    guest_seconds=0
    while [ "$guest_seconds" -lt "$guest_limit" ]; do
        status=0
        IFS= read -r -t 1 piece || status=$?
        guest_seconds=$((guest_seconds + (SECONDS - last > 2 ? 2 : SECONDS - last)))
        last=$SECONDS
        line+=$piece
        # More than 128: there was no end of a line within a second.
        [ "$status" -le 128 ] || continue
        [ "$status" -eq 0 ] || break
        printf '%s\n' "$line"
        case $line in "drained "*) drained=$((drained + 1)) ;; esac
        line=''
        if [ "$guest_cut" -gt 0 ] && [ "$drained" -ge "$guest_cut" ]; then
            # At any moment of what comes next, not always at the same.
            sleep "0.0$((RANDOM % 100))"
            guest_kill
            guest_is_cut=1
            break
        fi
    done < <(exec tail -n +1 -s 0.2 -f --pid="$guest_qemu_pid" "$guest_run/output")
}

guest_boot() {
    local status=125
    guest_run=$(mktemp -d "$guest/run.XXXXXX")
    guest_is_cut=''
    guest_exchange "$@"
    guest_start
    guest_follow
    cp "$guest_run/output" "$guest_output"
    if [ -e "$guest_run/exchange/status" ]; then
        status=$(cat "$guest_run/exchange/status")
    elif [ -n "$guest_is_cut" ]; then
        status=137
    elif [ "$guest_seconds" -ge "$guest_limit" ]; then
        status=124
    fi
    if [ "$status" -eq 124 ] || [ "$status" -eq 125 ]; then
        echo "guest: the command was not run, or not to its end, in $guest_seconds s of $guest_limit s" >&2
        tail -n 20 "$guest_run"/{qemu,console} >&2
    fi
    guest_end
    return "$status"
}
