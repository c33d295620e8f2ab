//! The RDMA device of this machine, as flags name it.

use std::sync::Arc;

use clap::Args;
use torc_rdma::{Local, verbs::survey::choice::Wish};

use crate::{error::BenchError, generator::address::Device};

/// Which RDMA device goes to the server.
#[derive(Args, Clone, Debug)]
pub struct RdmaArgs {
    /// The RDMA device, as torc doctor names it, in place of the one that fits best
    #[arg(long = "rdma-device", value_name = "NAME")]
    pub device: Option<String>,
    /// The device's port
    #[arg(long = "rdma-port", value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..))]
    pub port: Option<u8>,
    /// Which of the port's GIDs, of RoCEv2
    #[arg(long = "rdma-gid", value_name = "INDEX")]
    pub gid: Option<u8>,
    /// DSCP and ECN bits of packets over RDMA
    #[arg(long = "rdma-traffic-class", value_name = "NUMBER", default_value_t = 0)]
    pub traffic_class: u8,
}

impl RdmaArgs {
    pub(crate) fn open(&self) -> Result<Device, BenchError> {
        let wish = Wish { device: self.device.clone(), port: self.port, gid: self.gid, ..Wish::default() };
        let local = Local::open(&wish, self.traffic_class);
        let local = local.map_err(|why| BenchError::setting("transport", format!("no RDMA: {why}")))?;
        Ok(Device(Arc::new(local)))
    }
}
