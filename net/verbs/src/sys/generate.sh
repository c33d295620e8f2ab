#!/usr/bin/env bash
# Writes bindings.rs anew, from the headers of rdma-core and with the command `bindgen` (cargo install bindgen-cli) and libclang:
#
#   bash generate.sh /usr/include >bindings.rs
#
# The headers need not be installed: a folder into which Debian's libibverbs-dev was unpacked will do. The file in the
# repository comes from those of rdma-core 44.0 (Debian 12) and bindgen 0.73.2. Enumerations have the shape that the package
# rdma-sys gives them, so that code over either is the same. The headers may be used under the BSD licence of OpenIB.org.
set -euo pipefail
include=${1:?the folder that has infiniband/verbs.h}
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

types='ibv_(device|context|context_ops|pd|mr|cq|qp|srq|comp_channel|wc|send_wr|recv_wr|sge|gid|device_attr|port_attr|qp_attr'
types+='|qp_init_attr|qp_cap|srq_init_attr|srq_attr|ah_attr|global_route|async_event'
types+='|access_flags|send_flags|wc_flags|qp_attr_mask|wc_status|wc_opcode|wr_opcode|qp_type|qp_state|port_state|mtu)'
functions='ibv_(get_device_list|free_device_list|get_device_name|open_device|close_device|query_device|query_port|query_gid'
functions+='|get_async_event|ack_async_event|alloc_pd|dealloc_pd|reg_mr|dereg_mr|create_comp_channel|destroy_comp_channel'
functions+='|create_cq|destroy_cq|get_cq_event|ack_cq_events|create_srq|destroy_srq|create_qp|query_qp|modify_qp|destroy_qp)'

bindgen "$here/bindings.h" \
    --allowlist-type "$types" --allowlist-function "$functions" --blocklist-function 'ibv_(poll_cq|post_.*)' \
    --bitfield-enum 'ibv_(access_flags|send_flags|wc_flags|qp_attr_mask)' \
    --constified-enum-module 'ibv_(wc_status|wc_opcode|wr_opcode|qp_type|qp_state|port_state|mtu|mig_state|srq_type|node_type|transport_type|atomic_cap)' \
    --constified-enum-module 'ibv_(mw_type|wq_type|wq_state|rate)' \
    --rustified-enum 'ibv_event_type' \
    --blocklist-type '(verbs|pthread|__pthread|__atomic)_.*' --raw-line 'use libc::{pthread_cond_t, pthread_mutex_t};' \
    --dynamic-loading Functions --dynamic-link-require-all \
    --no-prepend-enum-name --no-layout-tests --no-doc-comments --rust-target 1.90 --rust-edition 2024 \
    --default-macro-constant-type unsigned --use-core --ctypes-prefix core::ffi \
    -- -I"$include"
