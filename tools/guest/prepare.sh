# Makes what a guest boots from: QEMU, a kernel, and an initial file system. Sourced by run.sh.
#
# Everything comes from the packages of the Debian that this runs on, and is unpacked in $guest, the build folder for
# guests; nothing is installed. Packages that QEMU needs and the machine has are used where they are.

# Bytes to download: about 86 MB. Seconds that one attempt at a download may take.
guest_download_seconds=120

guest_retry() {
    local attempt
    for attempt in 1 2 3; do
        timeout "$guest_download_seconds" "$@" && return 0
        printf 'guest: attempt %s of 3 failed: %s\n' "$attempt" "$*" >&2
        sleep $((attempt * 3))
    done
    return 1
}

# Lists and archives of its own, so that apt needs no right and no lock of the machine's.
guest_apt=(-qq -o "Dir::State::lists=$guest/apt" -o "Dir::Cache=$guest/apt" -o Debug::NoLocking=1
    -o "APT::Sandbox::User=$(id -un)")

# Names the packages that QEMU and the initial file system need and the machine lacks, and the kernel's own.
guest_packages() {
    apt-get "${guest_apt[@]}" -s --no-install-recommends install qemu-system-x86 busybox-static \
        | awk '/^Inst (lib|qemu-system|seabios|busybox)/ { print $2 }' || return 1
    apt-cache "${guest_apt[@]}" depends linux-image-amd64 | awk '/Depends: linux-image/ { print $2 }'
}

# Names what SoftRoCE needs, whether the machine has it or not (its own may be older or newer than the rest), and what that needs.
guest_verbs_packages() {
    local own=(libibverbs1 ibverbs-providers librdmacm1 perftest)
    printf '%s\n' "${own[@]}"
    apt-get "${guest_apt[@]}" -s --no-install-recommends install "${own[@]}" iproute2 | awk '/^Inst/ { print $2 }'
}

guest_download() {
    local packages
    mkdir -p "$guest/apt/partial" "$guest/packages" "$guest/verbs-packages"
    guest_retry apt-get "${guest_apt[@]}" update || return 1
    packages=$(guest_packages) || return 1
    # shellcheck disable=SC2086 # names of packages have no blanks
    (cd "$guest/packages" && guest_retry apt-get "${guest_apt[@]}" download $packages) || return 1
    packages=$(guest_verbs_packages | sort -u) || return 1
    # shellcheck disable=SC2086 # as above
    (cd "$guest/verbs-packages" && guest_retry apt-get "${guest_apt[@]}" download $packages)
}

# Unpacks what SoftRoCE needs, as a layer that can lie over the host's files.
guest_verbs() {
    local package
    for package in "$guest"/verbs-packages/*.deb; do
        dpkg-deb -x "$package" "$guest/verbs" || return 1
    done
    # Where the host's /lib is a link to /usr/lib, a folder of that name would hide it.
    for place in lib bin sbin; do
        [ -d "$guest/verbs/$place" ] || continue
        mkdir -p "$guest/verbs/usr/$place"
        cp -a "$guest/verbs/$place/." "$guest/verbs/usr/$place/" && rm -rf "${guest:?}/verbs/$place"
    done
}

# Copies a module behind those that it depends on, numbered in the order in which they are to be loaded.
guest_module() {
    local name=${1//-/_} file needed
    [ -z "${guest_loaded[$name]:-}" ] || return 0
    guest_loaded[$name]=1
    file=$(grep -E "/$(sed 's/_/[-_]/g' <<<"$name")\.ko$" "$guest/unpacked/files") || {
        grep -qE "/$(sed 's/_/[-_]/g' <<<"$name")\.ko$" "$guest"/unpacked/lib/modules/*/modules.builtin && return 0
        echo "guest: the kernel has no module $name" >&2
        return 1
    }
    for needed in $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr ',' ' '); do
        guest_module "$needed" || return 1
    done
    guest_modules=$((guest_modules + 1))
    cp "$file" "$guest/initial/modules/$(printf '%03d' "$guest_modules")-$name.ko"
}

# The file system that the kernel unpacks at boot: busybox, init, the modules.
guest_initial() {
    local -A guest_loaded=()
    local guest_modules=0 name busybox="$guest/unpacked/bin/busybox"
    [ -x "$busybox" ] || busybox=$(command -v busybox)
    mkdir -p "$guest"/initial/{bin,dev,proc,sys,host,memory,all,modules}
    cp "$busybox" "$guest/initial/bin/busybox"
    cp "$here/init" "$guest/initial/init"
    chmod 755 "$guest/initial/init"
    find "$guest/unpacked/lib/modules" -name '*.ko' >"$guest/unpacked/files"
    for name in $(sed 's/#.*//' "$here/modules"); do
        guest_module "$name" || return 1
    done
    (cd "$guest/initial" && find . | ./bin/busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$guest/initial.gz"
}

# Does nothing where it has been done with these scripts; else begins anew. 1: it cannot be done.
guest_prepare() {
    local stamp package
    stamp=$(cat "$here"/{prepare.sh,init,modules} | sha256sum)
    [ "$stamp" != "$(cat "$guest/stamp" 2>/dev/null)" ] || return 0
    [ "$(uname -m)" = x86_64 ] || { echo "guest: only for x86-64" >&2; return 1; }
    command -v apt-get >/dev/null || { echo "guest: QEMU and a kernel are taken from Debian's packages: no apt-get" >&2; return 1; }
    rm -rf "$guest"
    mkdir -p "$guest"/{unpacked,qemu,verbs}
    echo "guest: downloading QEMU, a kernel and libibverbs (86 MB) into $guest"
    guest_download || { echo "guest: the packages cannot be downloaded" >&2; return 1; }
    for package in "$guest"/packages/*.deb; do
        case ${package##*/} in
            linux-image* | busybox*) dpkg-deb -x "$package" "$guest/unpacked" ;;
            *) dpkg-deb -x "$package" "$guest/qemu" ;;
        esac || return 1
    done
    guest_verbs || return 1
    guest_initial || return 1
    mv "$guest"/unpacked/boot/vmlinuz-* "$guest/vmlinuz"
    rm -rf "$guest"/{packages,verbs-packages,apt,unpacked,initial}
    echo "$stamp" >"$guest/stamp"
}
