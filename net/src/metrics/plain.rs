//! Figures of a worker that are told without labels: each counter by its name.

use super::{Sample, WorkerStats};
use torc_engine::stats::{Counter, FigureKind};

impl WorkerStats {
    /// Figures without labels.
    pub(super) fn plain(&self) -> impl Iterator<Item = Sample> + '_ {
        let gauge = |name, help, counter: &Counter| (name, FigureKind::Gauge, help, counter.read());
        let counter = |name, help, counter: &Counter| (name, FigureKind::Counter, help, counter.read());
        [
            gauge("connections", "Connections that are open.", &self.connections),
            counter("connections_accepted", "Connections accepted, refused ones included.", &self.accepted),
            counter(
                "accept_failures",
                "Accepts that failed for want of descriptors or memory.",
                &self.accept_failures,
            ),
            counter("received_bytes", "Bytes received from clients.", &self.received_bytes),
            counter("sent_bytes", "Bytes sent to clients.", &self.sent_bytes),
            counter(
                "protocol_refusals",
                "Connections that spoke a protocol which is not served.",
                &self.protocol_refusals,
            ),
            gauge("hottest_key_permille", "Share of the requests that the hottest key has at least, in a thousand, by a sample.", &self.hottest_key_permille),
            counter("monitors_lost", "Clients that monitored the server and were cut off, as they were slower than others asked.", &self.monitors_lost),
            counter("watched_events", "Events that were noted for memcached clients that watch.", &self.watched_events),
            counter("watched_events_dropped", "Events that were more in one turn than are noted.", &self.watched_events_dropped),
            counter("watched_lines", "Lines that such clients were given.", &self.watched_lines),
            counter("watched_lines_skipped", "Lines that they lost, as they were slower than others asked.", &self.watched_lines_skipped),
            counter("auth_successes", "Right passwords that clients gave.", &self.auth_successes),
            counter("auth_failures", "Wrong passwords that clients gave.", &self.auth_failures),
            gauge("rings", "Connections over shared memory that are open.", &self.rings),
            gauge("rings_hot", "Of these, those that each turn looks at; the others ring first.", &self.rings_hot),
            gauge("rings_reading", "Of these, those whose clients can read the shards themselves.", &self.rings_reading),
            gauge("bytes_rings", "Memory of their rings; part of that held for clients.", &self.ring_bytes),
            gauge("rdma_pairs", "Connections over RDMA that are open.", &self.pairs),
            gauge("rdma_read_pairs", "Queue pairs by which clients read the shard themselves.", &self.read_pairs),
            gauge("bytes_rdma", "Memory that is locked for them; part of that held for clients.", &self.pair_bytes),
            counter("rdma_posted", "Work requests that were posted to queue pairs: SENDs, WRITEs and READs.", &self.pair_posted),
            counter("rdma_completions", "Work requests and messages of RDMA that were completed.", &self.pair_completions),
            gauge("rdma_queue", "Completions that the last look at the queue found.", &self.pair_queue),
            counter("bells_rung", "Wake-ups of clients of shared memory that slept.", &self.bells_rung),
            counter("bells_heard", "Wake-ups by such clients while nobody looked at their rings.", &self.bells_heard),
            gauge("connections_parked", "Connections that are not parsed because answers wait.", &self.parked),
            gauge("connections_blocked", "Connections that wait for the end of CLIENT PAUSE.", &self.blocked),
            gauge(
                "bytes_client",
                "Memory held for clients: input, answers, requests that wait, mail.",
                &self.client_bytes,
            ),
            gauge(
                "bytes_client_max",
                "Memory that clients may hold now; it grows up to --client-memory as the store gives back.",
                &self.client_bytes_max,
            ),
            gauge(
                "bytes_mail",
                "Memory of requests to other shards and their answers; part of that held for clients.",
                &self.mail_bytes,
            ),
            gauge(
                "bytes_fixed",
                "Memory kept beside store and clients: receive buffers, the requests of a round, room for outcomes.",
                &self.fixed_bytes,
            ),
            gauge(
                "connections_short_of_memory",
                "Connections that are not read for want of memory.",
                &self.short_of_memory,
            ),
            gauge(
                "subscriptions",
                "Channels and patterns that clients are subscribed to, counted for each client.",
                &self.subscriptions,
            ),
            counter("messages_delivered", "Messages handed to subscribers.", &self.messages_delivered),
            counter(
                "notices_dropped",
                "Changes of keys that subscribers were not told of, as too many waited for other shards.",
                &self.notices_dropped,
            ),
            gauge(
                "tracking_clients",
                "Clients that are told of keys that they keep copies of (CLIENT TRACKING).",
                &self.tracking_clients,
            ),
            gauge("tracking_prefixes", "Prefixes by which clients are told (BCAST).", &self.tracking_prefixes),
            gauge("tracked_keys", "Keys that clients keep copies of.", &self.tracked_keys),
            gauge("tracked_items", "Keys that clients keep copies of, counted for each client.", &self.tracked_items),
            counter(
                "tracked_keys_forced",
                "Keys that clients were told to drop for want of room (--tracking-table-max).",
                &self.tracked_keys_forced,
            ),
            counter("invalidations", "Times that a client was told of keys that have changed.", &self.invalidations),
            counter("connection_parks", "Times that a connection was parked.", &self.parks),
            counter("forwarded", "Requests sent to other shards.", &self.forwarded),
            counter("served_for_others", "Requests executed for other shards.", &self.served_for_others),
            counter(
                "tier_fetches",
                "Items that were asked for and were not in DRAM.",
                &self.tier_fetches,
            ),
            counter("tier_promotions", "Items brought back from the tier.", &self.tier_promotions),
            counter(
                "tier_cache_hits",
                "Items that were found in a page of the tier which was kept (--tier-cache).",
                &self.tier_cache_hits,
            ),
            counter(
                "tier_cache_misses",
                "Items that waited for a page of the tier; many may wait for one.",
                &self.tier_cache_misses,
            ),
            gauge("tier_cache_bytes", "Memory of the pages of the tier that are kept.", &self.tier_cache_bytes),
            counter(
                "tier_long_lost",
                "Long values on the tier that could not be brought back as a whole.",
                &self.tier_long_lost,
            ),
            counter(
                "tier_holds",
                "Times that a connection waited because too many changes were not on the tier.",
                &self.tier_holds,
            ),
            counter(
                "tier_recovery_waits",
                "Times that a command waited because its key was not recovered yet.",
                &self.tier_recovery_waits,
            ),
            gauge("tier_unsaved", "Keys whose last change is not on the tier.", &self.tier_unsaved),
            gauge(
                "mailbox_waiting",
                "Requests at other shards that are not answered yet.",
                &self.mailbox_waiting,
            ),
            gauge("held_keys", "Keys that transactions hold.", &self.held_keys),
            gauge("holds_waiting", "Transactions that wait for keys of the shard.", &self.holds_waiting),
            counter(
                "holds_refused",
                "Transactions that asked all shards for their keys at once, and went on in order as some were not free.",
                &self.holds_refused,
            ),
            gauge("watched_keys", "Keys that clients watch (WATCH).", &self.watched_keys),
            counter(
                "scripts_out_of_time",
                "Scripts that were stopped by --script-time-max.",
                &self.scripts_out_of_time,
            ),
            counter(
                "scripts_out_of_memory",
                "Scripts that were stopped by --script-memory-max.",
                &self.scripts_out_of_memory,
            ),
            counter(
                "scripts_begun_again",
                "Times that a script began again with a key that it had not been given.",
                &self.scripts_begun_again,
            ),
            counter("scripts_sent", "Scripts that were sent to the shard of their keys.", &self.scripts_sent),
            counter(
                "scripts_sent_back",
                "Scripts that this shard sent to the shard of their keys, and ran itself in the end.",
                &self.scripts_sent_back,
            ),
            gauge("script_bytes", "Bytes of what runs scripts, between two of them.", &self.script_bytes),
            gauge("compiled_scripts", "Scripts that the shard has compiled.", &self.compiled_scripts),
            gauge(
                "bytes_outcomes",
                "Bytes of the outcomes kept for changes that may be repeated.",
                &self.outcomes_bytes,
            ),
            counter("turns", "Turns of the loop.", &self.turns),
            counter("rounds", "Batches executed.", &self.rounds),
        ]
        .into_iter()
        .map(|(name, kind, help, value)| Sample { name, kind, help, labels: [None, None], value })
    }
}
