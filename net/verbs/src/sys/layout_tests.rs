//! Every structure of our own bindings has the size and the offsets that the package rdma-sys gives it, which takes them from the
//! headers that are installed.

use super::bindings as ours;
use rdma_sys as theirs;
use std::mem::{align_of, offset_of, size_of};

/// Compares structures; gives the names of those, and how many fields of each were compared. `=` gives what rdma-sys calls
/// otherwise.
macro_rules! compare {
    ($($name:ident = $their_name:ident { $($field:ident = $their_field:ident),* })*) => {
        [$({
            let name = stringify!($name);
            assert_eq!(size_of::<ours::$name>(), size_of::<theirs::$their_name>(), "size of {name}");
            assert_eq!(align_of::<ours::$name>(), align_of::<theirs::$their_name>(), "alignment of {name}");
            let fields: &[&str] = &[$({
                let places = (offset_of!(ours::$name, $field), offset_of!(theirs::$their_name, $their_field));
                assert_eq!(places.0, places.1, "{name}.{}", stringify!($field));
                let sizes = (
                    size_of_field(|at: &ours::$name| &raw const at.$field),
                    size_of_field(|at: &theirs::$their_name| &raw const at.$their_field),
                );
                assert_eq!(sizes.0, sizes.1, "size of {name}.{}", stringify!($field));
                stringify!($field)
            }),*];
            (name, fields)
        }),*]
    };
}

fn size_of_field<S, F>(_: impl Fn(&S) -> *const F) -> usize {
    size_of::<F>()
}

/// The structures of our file and their fields, as its text has them.
fn structures() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in include_str!("bindings.rs").lines() {
        let name = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub union "));
        // One with a semicolon is a number in a wrapping: an enumeration.
        if let Some(name) = name.and_then(|rest| rest.strip_suffix(" {")) {
            found.push((name, Vec::new()));
        } else if let (Some(rest), Some((_, fields))) = (line.strip_prefix("    pub "), found.last_mut()) {
            fields.extend(rest.split_once(':').map(|(field, _)| field).filter(|field| !field.contains(' ')));
        }
    }
    found.retain(|(name, _)| *name != "Functions");
    found
}

#[test]
fn all_structures_are_as_rdma_sys_has_them() {
    let compared = compare! {
        ibv_gid = ibv_gid { raw = raw, global = global }
        ibv_gid__bindgen_ty_1 = ibv_gid_global_t {
            subnet_prefix = subnet_prefix, interface_id = interface_id
        }
        ibv_device_attr = ibv_device_attr {
            fw_ver = fw_ver, node_guid = node_guid, sys_image_guid = sys_image_guid,
            max_mr_size = max_mr_size, page_size_cap = page_size_cap, vendor_id = vendor_id,
            vendor_part_id = vendor_part_id, hw_ver = hw_ver, max_qp = max_qp, max_qp_wr = max_qp_wr,
            device_cap_flags = device_cap_flags, max_sge = max_sge, max_sge_rd = max_sge_rd,
            max_cq = max_cq, max_cqe = max_cqe, max_mr = max_mr, max_pd = max_pd,
            max_qp_rd_atom = max_qp_rd_atom, max_ee_rd_atom = max_ee_rd_atom,
            max_res_rd_atom = max_res_rd_atom, max_qp_init_rd_atom = max_qp_init_rd_atom,
            max_ee_init_rd_atom = max_ee_init_rd_atom, atomic_cap = atomic_cap, max_ee = max_ee,
            max_rdd = max_rdd, max_mw = max_mw, max_raw_ipv6_qp = max_raw_ipv6_qp,
            max_raw_ethy_qp = max_raw_ethy_qp, max_mcast_grp = max_mcast_grp,
            max_mcast_qp_attach = max_mcast_qp_attach,
            max_total_mcast_qp_attach = max_total_mcast_qp_attach, max_ah = max_ah, max_fmr = max_fmr,
            max_map_per_fmr = max_map_per_fmr, max_srq = max_srq, max_srq_wr = max_srq_wr,
            max_srq_sge = max_srq_sge, max_pkeys = max_pkeys, local_ca_ack_delay = local_ca_ack_delay,
            phys_port_cnt = phys_port_cnt
        }
        ibv_port_attr = ibv_port_attr {
            state = state, max_mtu = max_mtu, active_mtu = active_mtu, gid_tbl_len = gid_tbl_len,
            port_cap_flags = port_cap_flags, max_msg_sz = max_msg_sz, bad_pkey_cntr = bad_pkey_cntr,
            qkey_viol_cntr = qkey_viol_cntr, pkey_tbl_len = pkey_tbl_len, lid = lid, sm_lid = sm_lid,
            lmc = lmc, max_vl_num = max_vl_num, sm_sl = sm_sl, subnet_timeout = subnet_timeout,
            init_type_reply = init_type_reply, active_width = active_width, active_speed = active_speed,
            phys_state = phys_state, link_layer = link_layer, flags = flags,
            port_cap_flags2 = port_cap_flags2
        }
        ibv_async_event = ibv_async_event { element = element, event_type = event_type }
        ibv_async_event__bindgen_ty_1 = ibv_async_event_element_t {
            cq = cq, qp = qp, srq = srq, wq = wq, port_num = port_num
        }
        ibv_wc = ibv_wc {
            wr_id = wr_id, status = status, opcode = opcode, vendor_err = vendor_err, byte_len = byte_len,
            __bindgen_anon_1 = imm_data_invalidated_rkey_union, qp_num = qp_num, src_qp = src_qp,
            wc_flags = wc_flags, pkey_index = pkey_index, slid = slid, sl = sl,
            dlid_path_bits = dlid_path_bits
        }
        ibv_wc__bindgen_ty_1 = imm_data_invalidated_rkey_union_t {
            imm_data = imm_data, invalidated_rkey = invalidated_rkey
        }
        ibv_mw_bind_info = ibv_mw_bind_info {
            mr = mr, addr = addr, length = length, mw_access_flags = mw_access_flags
        }
        ibv_pd = ibv_pd { context = context, handle = handle }
        ibv_mr = ibv_mr {
            context = context, pd = pd, addr = addr, length = length, handle = handle, lkey = lkey,
            rkey = rkey
        }
        ibv_mw = ibv_mw { context = context, pd = pd, rkey = rkey, handle = handle, type_ = type_ }
        ibv_global_route = ibv_global_route {
            dgid = dgid, flow_label = flow_label, sgid_index = sgid_index, hop_limit = hop_limit,
            traffic_class = traffic_class
        }
        ibv_ah_attr = ibv_ah_attr {
            grh = grh, dlid = dlid, sl = sl, src_path_bits = src_path_bits, static_rate = static_rate,
            is_global = is_global, port_num = port_num
        }
        ibv_srq_attr = ibv_srq_attr { max_wr = max_wr, max_sge = max_sge, srq_limit = srq_limit }
        ibv_srq_init_attr = ibv_srq_init_attr { srq_context = srq_context, attr = attr }
        ibv_qp_cap = ibv_qp_cap {
            max_send_wr = max_send_wr, max_recv_wr = max_recv_wr, max_send_sge = max_send_sge,
            max_recv_sge = max_recv_sge, max_inline_data = max_inline_data
        }
        ibv_qp_init_attr = ibv_qp_init_attr {
            qp_context = qp_context, send_cq = send_cq, recv_cq = recv_cq, srq = srq, cap = cap,
            qp_type = qp_type, sq_sig_all = sq_sig_all
        }
        ibv_qp_attr = ibv_qp_attr {
            qp_state = qp_state, cur_qp_state = cur_qp_state, path_mtu = path_mtu,
            path_mig_state = path_mig_state, qkey = qkey, rq_psn = rq_psn, sq_psn = sq_psn,
            dest_qp_num = dest_qp_num, qp_access_flags = qp_access_flags, cap = cap, ah_attr = ah_attr,
            alt_ah_attr = alt_ah_attr, pkey_index = pkey_index, alt_pkey_index = alt_pkey_index,
            en_sqd_async_notify = en_sqd_async_notify, sq_draining = sq_draining,
            max_rd_atomic = max_rd_atomic, max_dest_rd_atomic = max_dest_rd_atomic,
            min_rnr_timer = min_rnr_timer, port_num = port_num, timeout = timeout, retry_cnt = retry_cnt,
            rnr_retry = rnr_retry, alt_port_num = alt_port_num, alt_timeout = alt_timeout,
            rate_limit = rate_limit
        }
        ibv_sge = ibv_sge { addr = addr, length = length, lkey = lkey }
        ibv_send_wr = ibv_send_wr {
            wr_id = wr_id, next = next, sg_list = sg_list, num_sge = num_sge, opcode = opcode,
            send_flags = send_flags, __bindgen_anon_1 = imm_data_invalidated_rkey_union, wr = wr,
            qp_type = qp_type, __bindgen_anon_2 = bind_mw_tso_union
        }
        ibv_send_wr__bindgen_ty_1 = imm_data_invalidated_rkey_union_t {
            imm_data = imm_data, invalidate_rkey = invalidated_rkey
        }
        ibv_send_wr__bindgen_ty_2 = wr_t { rdma = rdma, atomic = atomic, ud = ud }
        ibv_send_wr__bindgen_ty_2__bindgen_ty_1 = rdma_t { remote_addr = remote_addr, rkey = rkey }
        ibv_send_wr__bindgen_ty_2__bindgen_ty_2 = atomic_t {
            remote_addr = remote_addr, compare_add = compare_add, swap = swap, rkey = rkey
        }
        ibv_send_wr__bindgen_ty_2__bindgen_ty_3 = ud_t {
            ah = ah, remote_qpn = remote_qpn, remote_qkey = remote_qkey
        }
        ibv_send_wr__bindgen_ty_3 = qp_type_t { xrc = xrc }
        ibv_send_wr__bindgen_ty_3__bindgen_ty_1 = xrc_t { remote_srqn = remote_srqn }
        ibv_send_wr__bindgen_ty_4 = bind_mw_tso_union_t { bind_mw = bind_mw, tso = tso }
        ibv_send_wr__bindgen_ty_4__bindgen_ty_1 = bind_mw_t { mw = mw, rkey = rkey, bind_info = bind_info }
        ibv_send_wr__bindgen_ty_4__bindgen_ty_2 = tso_t { hdr = hdr, hdr_sz = hdr_sz, mss = mss }
        ibv_recv_wr = ibv_recv_wr { wr_id = wr_id, next = next, sg_list = sg_list, num_sge = num_sge }
        ibv_mw_bind = ibv_mw_bind { wr_id = wr_id, send_flags = send_flags, bind_info = bind_info }
        ibv_srq = ibv_srq {
            context = context, srq_context = srq_context, pd = pd, handle = handle, mutex = mutex,
            cond = cond, events_completed = events_completed
        }
        ibv_wq = ibv_wq {
            context = context, wq_context = wq_context, pd = pd, cq = cq, wq_num = wq_num, handle = handle,
            state = state, wq_type = wq_type, post_recv = post_recv, mutex = mutex, cond = cond,
            events_completed = events_completed, comp_mask = comp_mask
        }
        ibv_qp = ibv_qp {
            context = context, qp_context = qp_context, pd = pd, send_cq = send_cq, recv_cq = recv_cq,
            srq = srq, handle = handle, qp_num = qp_num, state = state, qp_type = qp_type, mutex = mutex,
            cond = cond, events_completed = events_completed
        }
        ibv_comp_channel = ibv_comp_channel { context = context, fd = fd, refcnt = refcnt }
        ibv_cq = ibv_cq {
            context = context, channel = channel, cq_context = cq_context, handle = handle, cqe = cqe,
            mutex = mutex, cond = cond, comp_events_completed = comp_events_completed,
            async_events_completed = async_events_completed
        }
        ibv_ah = ibv_ah { context = context, pd = pd, handle = handle }
        _ibv_device_ops = _ibv_device_ops { _dummy1 = _dummy1, _dummy2 = _dummy2 }
        ibv_device = ibv_device {
            _ops = _ops, node_type = node_type, transport_type = transport_type, name = name,
            dev_name = dev_name, dev_path = dev_path, ibdev_path = ibdev_path
        }
        _compat_ibv_port_attr = _compat_ibv_port_attr {  }
        ibv_context_ops = ibv_context_ops {
            _compat_query_device = _compat_query_device, _compat_query_port = _compat_query_port,
            _compat_alloc_pd = _compat_alloc_pd, _compat_dealloc_pd = _compat_dealloc_pd,
            _compat_reg_mr = _compat_reg_mr, _compat_rereg_mr = _compat_rereg_mr,
            _compat_dereg_mr = _compat_dereg_mr, alloc_mw = alloc_mw, bind_mw = bind_mw,
            dealloc_mw = dealloc_mw, _compat_create_cq = _compat_create_cq, poll_cq = poll_cq,
            req_notify_cq = req_notify_cq, _compat_cq_event = _compat_cq_event,
            _compat_resize_cq = _compat_resize_cq, _compat_destroy_cq = _compat_destroy_cq,
            _compat_create_srq = _compat_create_srq, _compat_modify_srq = _compat_modify_srq,
            _compat_query_srq = _compat_query_srq, _compat_destroy_srq = _compat_destroy_srq,
            post_srq_recv = post_srq_recv, _compat_create_qp = _compat_create_qp,
            _compat_query_qp = _compat_query_qp, _compat_modify_qp = _compat_modify_qp,
            _compat_destroy_qp = _compat_destroy_qp, post_send = post_send, post_recv = post_recv,
            _compat_create_ah = _compat_create_ah, _compat_destroy_ah = _compat_destroy_ah,
            _compat_attach_mcast = _compat_attach_mcast, _compat_detach_mcast = _compat_detach_mcast,
            _compat_async_event = _compat_async_event
        }
        ibv_context = ibv_context {
            device = device, ops = ops, cmd_fd = cmd_fd, async_fd = async_fd,
            num_comp_vectors = num_comp_vectors, mutex = mutex, abi_compat = abi_compat
        }
    };
    let all = structures();
    assert_eq!(compared.len(), all.len(), "structures of the file that are compared");
    for ((name, fields), in_file) in compared.into_iter().zip(all) {
        assert_eq!((name, fields.to_vec()), in_file, "compared, and in the file");
    }
}
