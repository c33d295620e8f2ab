//! `--rdma` and what belongs to it.

use super::{ConfigError, Reader, auto, count, switch, value};
use torc_net::rdma::Rdma;
use torc_rdma::verbs::survey::choice::Wish;

impl Reader<'_> {
    pub(super) fn rdma(&mut self) -> Result<Rdma, ConfigError> {
        let choice = self.one("rdma", |text| text.parse(), ToString::to_string)?;
        let shown = |number: &Option<u64>| number.map_or("auto".into(), |number| number.to_string());
        let device = self.one("rdma-device", auto(|text| Ok(text.to_owned())), |name| {
            name.clone().unwrap_or_else(|| "auto".into())
        })?;
        let port = self.one("rdma-port", auto(count::<1, 255>), shown)?;
        let gid = self.one("rdma-gid", auto(count::<0, 255>), shown)?;
        let clients_max = self.one("rdma-clients", count::<1, 512>, u64::to_string)? as usize;
        let pairs_max = self.one("rdma-pairs", count::<1, 4096>, u64::to_string)? as usize;
        let reads = self.one("rdma-reads", switch, bool::to_string)?;
        let keys_for = self.one("rdma-key-lifetime", value::duration, |time| value::show_duration(*time))?;
        let traffic_class = self.one("rdma-traffic-class", count::<0, 255>, u64::to_string)? as u8;
        let down_timeout =
            self.one("rdma-down-timeout", value::duration, |time| value::show_duration(*time))?;
        Ok(Rdma {
            choice,
            wish: Wish {
                device,
                port: port.map(|port| port as u8),
                gid: gid.map(|gid| gid as u8),
                ..Wish::default()
            },
            clients_max,
            pairs_max,
            reads,
            keys_for,
            traffic_class,
            down_timeout: down_timeout.unwrap_or(std::time::Duration::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::setting;
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_server() {
        let defaults = Rdma::default();
        let told = |name: &str| setting(name).expect("a setting").default;
        assert_eq!(told("rdma"), defaults.choice.to_string());
        assert_eq!(told("rdma-clients"), defaults.clients_max.to_string());
        assert_eq!(told("rdma-traffic-class"), defaults.traffic_class.to_string());
        assert_eq!(told("rdma-pairs"), defaults.pairs_max.to_string());
        assert_eq!(told("rdma-reads"), defaults.reads.to_string());
        assert_eq!(value::duration(told("rdma-key-lifetime")), Ok(defaults.keys_for));
        assert_eq!(value::duration(told("rdma-down-timeout")), Ok(Some(defaults.down_timeout)));
    }
}
