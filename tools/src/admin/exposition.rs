//! Figures in Prometheus' text format, version 0.0.4; the writing itself is the `prometheus` crate's.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every figure's name starts so.
const PREFIX: &str = "torc_";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric with all its label values.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// Without the prefix.
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: MetricKind,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Number(f64),
    /// Buckets as (upper bound, observations up to it), rising; the last may lack the infinite one.
    Histogram {
        buckets: Vec<(f64, u64)>,
        sum: f64,
        count: u64,
    },
}

/// A family without samples is left out: the format has no way to say it.
pub(crate) fn encode(families: &[Family]) -> Result<String, prometheus::Error> {
    let families: Vec<MetricFamily> =
        families.iter().filter(|family| !family.samples.is_empty()).map(translate).collect();
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn translate(family: &Family) -> MetricFamily {
    let mut out = MetricFamily::default();
    out.set_name(format!("{PREFIX}{}", family.name));
    out.set_help(family.help.clone());
    out.set_field_type(match family.kind {
        MetricKind::Counter => MetricType::COUNTER,
        MetricKind::Gauge => MetricType::GAUGE,
        MetricKind::Histogram => MetricType::HISTOGRAM,
    });
    out.set_metric(family.samples.iter().map(|sample| metric(family.kind, sample)).collect());
    out
}

fn metric(kind: MetricKind, sample: &Sample) -> Metric {
    let mut metric = Metric::from_label(sample.labels.iter().map(label).collect());
    match (&sample.value, kind) {
        (Value::Number(number), MetricKind::Counter) => {
            let mut counter = Counter::default();
            counter.set_value(*number);
            metric.set_counter(counter);
        }
        (Value::Number(number), _) => {
            let mut gauge = Gauge::default();
            gauge.set_value(*number);
            metric.set_gauge(gauge);
        }
        (Value::Histogram { buckets, sum, count }, _) => {
            let mut histogram = Histogram::default();
            histogram.set_sample_sum(*sum);
            histogram.set_sample_count(*count);
            histogram.set_bucket(buckets.iter().map(bucket).collect());
            metric.set_histogram(histogram);
        }
    }
    metric
}

fn label((name, value): &(String, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.clone());
    pair.set_value(value.clone());
    pair
}

fn bucket((bound, count): &(f64, u64)) -> Bucket {
    let mut bucket = Bucket::default();
    bucket.set_upper_bound(*bound);
    bucket.set_cumulative_count(*count);
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_come_out_in_the_text_format() {
        let labels = vec![("shard".to_owned(), "0".to_owned()), ("command".to_owned(), "a\"b".to_owned())];
        let text = encode(&[
            Family {
                name: "requests_total".into(),
                help: "Requests.".into(),
                kind: MetricKind::Counter,
                samples: vec![Sample { labels, value: Value::Number(3.0) }],
            },
            Family { name: "empty".into(), help: "None.".into(), kind: MetricKind::Gauge, samples: vec![] },
            Family {
                name: "latency_seconds".into(),
                help: "Time.".into(),
                kind: MetricKind::Histogram,
                samples: vec![Sample {
                    labels: vec![],
                    value: Value::Histogram { buckets: vec![(0.001, 1), (0.01, 2)], sum: 0.5, count: 3 },
                }],
            },
        ])
        .expect("good figures");
        assert_eq!(
            text,
            "# HELP torc_requests_total Requests.\n\
             # TYPE torc_requests_total counter\n\
             torc_requests_total{shard=\"0\",command=\"a\\\"b\"} 3\n\
             # HELP torc_latency_seconds Time.\n\
             # TYPE torc_latency_seconds histogram\n\
             torc_latency_seconds_bucket{le=\"0.001\"} 1\n\
             torc_latency_seconds_bucket{le=\"0.01\"} 2\n\
             torc_latency_seconds_bucket{le=\"+Inf\"} 3\n\
             torc_latency_seconds_sum 0.5\n\
             torc_latency_seconds_count 3\n"
        );
    }
}
