"""The dashboard for those who keep it running."""

from __future__ import annotations

from dashboards.parts import Query, Section, lines, stat

GREEN_TO_RED = ((None, "green"), (0.7, "orange"), (0.85, "red"))

NOW = Section(
    "Now",
    [
        stat(
            "Ready",
            "Whether a worker owns partitions, has heard from the broker lately and has finished "
            "its recovery. One that stands by is not ready; one that is suffices.",
            "none",
            Query("max(stream_detector_ready{@})"),
            runbook="streamdetectornotready",
            steps=((None, "red"), (1, "green")),
            words={0: "not ready", 1: "ready"},
        ),
        stat(
            "Events a second",
            "Events taken in, rejected ones included, over the last minute or so.",
            "cps",
            Query("sum(rate(stream_detector_events_total{@p}[$__rate_interval]))"),
            runbook="streamdetectornoevents",
        ),
        stat(
            "Behind",
            "Event time between what is scored and the end of the log, of the partition that is "
            "furthest behind. Alerts come this late.",
            "s",
            Query("max(stream_detector_consumer_lag_seconds{@p})"),
            runbook="streamdetectorlagging",
            steps=((None, "green"), (60, "orange"), (300, "red")),
        ),
        stat(
            "Rejected",
            "Share of the records of the last ten minutes that touched no model. They lie in the "
            "dead-letter topic.",
            "percentunit",
            Query(
                "sum(rate(stream_detector_rejected_total{@}[10m])) "
                "/ (sum(rate(stream_detector_events_total{@}[10m])) > 0 or vector(1))"
            ),
            runbook="streamdetectorrejectingevents",
            steps=((None, "green"), (0.01, "orange"), (0.05, "red")),
        ),
        stat(
            "Output",
            "Whether every shard can write its alerts and offsets. While one cannot, its input is "
            "paused.",
            "none",
            Query("max(stream_detector_output_failing{@})"),
            runbook="streamdetectoroutputfailing",
            steps=((None, "green"), (1, "red")),
            words={0: "writes", 1: "fails"},
        ),
        stat(
            "Oldest snapshot",
            "Age of the newest snapshot, of the shard whose one is oldest. A restart replays what "
            "came since.",
            "s",
            Query("max(stream_detector_snapshot_age_seconds{@})"),
            runbook="streamdetectorsnapshotold",
            steps=((None, "green"), (900, "orange"), (1800, "red")),
        ),
        stat(
            "Memory",
            "Resident memory as a share of what the process may have, of the worker nearest to its "
            "limit.",
            "percentunit",
            Query("max(process_resident_memory_bytes{@} / stream_detector_memory_limit_bytes{@})"),
            runbook="streamdetectormemorynearlimit",
            steps=GREEN_TO_RED,
        ),
        stat(
            "Version",
            "Which version runs. Two of them at a time are a roll-out, or one forgotten.",
            "none",
            Query("count by (version) (stream_detector_build_info{@})", "{{version}}"),
            runbook="operations-panels",
            names=True,
        ),
    ],
)

FLOW = Section(
    "Throughput and lag",
    [
        lines(
            "Events by topic",
            "Events taken in. A fall to zero while the lag grows means that the detector is stuck; "
            "without a lag, the source is silent.",
            "cps",
            Query(
                "sum by (topic) (rate(stream_detector_events_total{@p}[$__rate_interval]))",
                "{{topic}}",
            ),
            runbook="streamdetectornoevents",
        ),
        lines(
            "Lag in records",
            "Records between what is processed and the end of the log. Level is fine; rising means "
            "that events arrive faster than they are scored.",
            "short",
            Query(
                "max by (topic, partition) (stream_detector_consumer_lag_records{@p})",
                "{{topic}}-{{partition}}",
            ),
            runbook="streamdetectorlaggrowing",
        ),
        lines(
            "Lag in event time",
            "The same distance in the events' own time: how late an alert comes.",
            "s",
            Query(
                "max by (topic, partition) (stream_detector_consumer_lag_seconds{@p})",
                "{{topic}}-{{partition}}",
            ),
            runbook="streamdetectorlagging",
            limit=300,
        ),
        lines(
            "Events by partition",
            "Uneven partitions: one of them works off its share alone and the others wait for it.",
            "cps",
            Query(
                "sum by (topic, partition) "
                "(rate(stream_detector_events_total{@p}[$__rate_interval]))",
                "{{topic}}-{{partition}}",
            ),
            runbook="operations-panels",
            stacked=True,
        ),
        lines(
            "Held back by the merge",
            "Records that were read and wait for the other partitions to catch up in time. A "
            "partition that stays high has neighbours which are slow or old.",
            "short",
            Query(
                "sum by (topic, partition) (stream_detector_buffered_records{@p})",
                "{{topic}}-{{partition}}",
            ),
            runbook="operations-panels",
        ),
        lines(
            "Paused and waiting",
            "Partitions that are not read for now because too much of them is held back, and "
            "workers that have nothing to read.",
            "short",
            Query("sum(stream_detector_paused_partitions{@})", "partitions paused"),
            Query("sum(stream_detector_waiting_for_input{@})", "workers waiting for input"),
            runbook="operations-panels",
        ),
    ],
)

REJECTS = Section(
    "Rejected records",
    [
        lines(
            "Rejected by reason",
            "Records that touched no model, by the stage that refused them and why. "
            "`missing_field` and `wrong_type` after a change at the producer; `time_ahead` and "
            "`time_behind` are clocks, units or a replay.",
            "cps",
            Query(
                "sum by (stage, reason) "
                "(rate(stream_detector_rejected_total{@}[$__rate_interval]))",
                "{{stage}}: {{reason}}",
            ),
            runbook="streamdetectorrejectingevents",
            stacked=True,
            width=16,
        ),
        lines(
            "Rejected share",
            "Rejected records as a share of all.",
            "percentunit",
            Query(
                "sum by (job) (rate(stream_detector_rejected_total{@}[$__rate_interval])) "
                "/ (sum by (job) (rate(stream_detector_events_total{@}[$__rate_interval])) > 0)",
                "{{job}}",
            ),
            runbook="streamdetectorrejectingevents",
            limit=0.05,
        ),
    ],
)

TIME = Section(
    "Where the time goes",
    [
        lines(
            "Latency of alerts",
            "From an event's record to its alert, 99 % of them, by part of the way. `arrival` is "
            "the producer's, the broker's and the backlog's, `wait` what commits cost.",
            "s",
            Query(
                "histogram_quantile(0.99, sum by (le, stage) "
                "(rate(stream_detector_alert_latency_seconds_bucket{@}[$__rate_interval])))",
                "{{stage}}",
            ),
            runbook="streamdetectoralertsslow",
            logarithmic=True,
            least=None,
        ),
        lines(
            "Share of time by stage",
            "Seconds spent in each stage, a second. `poll` is mostly waiting; when it is gone, the "
            "worker is at its limit.",
            "percentunit",
            Query(
                "sum by (stage) "
                "(rate(stream_detector_stage_duration_seconds_sum{@}[$__rate_interval]))",
                "{{stage}}",
            ),
            runbook="streamdetectorlaggrowing",
            stacked=True,
        ),
        lines(
            "Time of an event by stage",
            "Time in each stage, divided by the events. What a faster machine or a cheaper "
            "detector would bring.",
            "s",
            Query(
                'sum by (stage) (rate(stream_detector_stage_duration_seconds_sum{@, stage!="poll"}'
                "[$__rate_interval])) / scalar(sum(rate(stream_detector_events_total{@}"
                "[$__rate_interval])) > 0)",
                "{{stage}}",
            ),
            runbook="streamdetectorlaggrowing",
            stacked=True,
        ),
        lines(
            "Slowest batches by stage",
            "The 99th percentile of a batch's time in a stage. `commit` far above the rest: a slow "
            "broker. `snapshot`: a slow disk.",
            "s",
            Query(
                "histogram_quantile(0.99, sum by (le, stage) "
                "(rate(stream_detector_stage_duration_seconds_bucket{@}[$__rate_interval])))",
                "{{stage}}",
            ),
            runbook="streamdetectorlaggrowing",
            logarithmic=True,
            least=None,
        ),
    ],
)

STATE = Section(
    "Commits, snapshots, recovery",
    [
        lines(
            "Commits by result",
            "Transactions that ended well, were refused because the partitions had moved on, "
            "failed, or whose end is unknown (`in_doubt`: the state is recovered).",
            "cps",
            Query(
                "sum by (result) (rate(stream_detector_commits_total{@}[$__rate_interval]))",
                "{{result}}",
            ),
            runbook="streamdetectoroutputfailing",
            width=6,
        ),
        lines(
            "Time of a commit",
            "Half of the commits take at most the lower, 99 % at most the upper time. An alert is "
            "visible after its commit.",
            "s",
            Query(
                "histogram_quantile(0.5, sum by (le) (rate("
                'stream_detector_stage_duration_seconds_bucket{@, stage="commit"}'
                "[$__rate_interval])))",
                "half",
            ),
            Query(
                "histogram_quantile(0.99, sum by (le) (rate("
                'stream_detector_stage_duration_seconds_bucket{@, stage="commit"}'
                "[$__rate_interval])))",
                "99 %",
            ),
            runbook="streamdetectoroutputfailing",
            width=6,
        ),
        lines(
            "Output failing",
            "1 while a shard's alerts and offsets cannot be written; its input is paused.",
            "short",
            Query("max by (shard) (stream_detector_output_failing{@})", "shard {{shard}}"),
            runbook="streamdetectoroutputfailing",
            width=6,
            most=1,
            limit=1,
        ),
        lines(
            "Snapshot age",
            "Seconds since the newest snapshot of a shard. It rises to `state.interval` and falls. "
            "If it only rises, snapshots fail.",
            "s",
            Query("max by (shard) (stream_detector_snapshot_age_seconds{@})", "shard {{shard}}"),
            runbook="streamdetectorsnapshotold",
            width=6,
            limit=1800,
        ),
        lines(
            "Snapshots by result",
            "Written, failed, and found damaged at a start. Damaged ones are skipped: an older "
            "state was restored and more was replayed.",
            "short",
            Query(
                "sum by (result) (increase(stream_detector_snapshots_total{@}[$__rate_interval]))",
                "{{result}}",
            ),
            runbook="streamdetectoroldersnapshotrestored",
            width=6,
        ),
        lines(
            "Snapshot size",
            "Size of the newest snapshot of a shard. It grows with the keys remembered, up to "
            "their limits.",
            "bytes",
            Query("max by (shard) (stream_detector_snapshot_size_bytes{@})", "shard {{shard}}"),
            runbook="streamdetectorsnapshotold",
            width=6,
        ),
        lines(
            "Recovery",
            "Events processed again after a start or a commit in doubt, without output, and "
            "journal records that are still to be followed.",
            "short",
            Query(
                "sum(rate(stream_detector_replayed_events_total{@}[$__rate_interval]))",
                "events replayed a second",
            ),
            Query("sum(stream_detector_replay_remaining_records{@})", "records to be followed"),
            runbook="streamdetectorreplaymismatch",
            width=6,
        ),
        lines(
            "Replays that came out other",
            "Journal records whose replay gave another fingerprint than they hold: a library or "
            "the processor has changed. Alerts of before can no longer be computed again.",
            "short",
            Query("sum by (shard) (stream_detector_replay_mismatches_total{@})", "shard {{shard}}"),
            runbook="streamdetectorreplaymismatch",
            width=6,
            limit=1,
        ),
    ],
)

GROUP = Section(
    "Group and broker",
    [
        lines(
            "Rebalances",
            "Changes of the assignment. Each one costs a recovery; many in a row are workers that "
            "come and go, or polls that take too long.",
            "short",
            Query(
                "sum by (instance) (increase(stream_detector_rebalances_total{@}"
                "[$__rate_interval]))",
                "{{instance}}",
            ),
            runbook="streamdetectorrebalancing",
        ),
        lines(
            "Who owns what",
            "Partitions and shards of each worker. One with none stands by.",
            "short",
            Query(
                "sum by (instance) (stream_detector_partitions_assigned{@})",
                "{{instance}} partitions",
            ),
            Query("sum by (instance) (stream_detector_shards_owned{@})", "{{instance}} shards"),
            runbook="operations-panels",
        ),
        lines(
            "Conditions that last",
            "Topics, partitions or shards in a condition that should pass. The log names them.",
            "short",
            Query("sum by (condition) (stream_detector_conditions{@})", "{{condition}}"),
            runbook="streamdetectorconditionlasts",
        ),
        lines(
            "Time set anew",
            "How often the stream's time was set to what most events say: forward over a silence, "
            "back where most clocks had been wrong.",
            "short",
            Query(
                "sum by (direction) (increase(stream_detector_time_shifts_total{@}"
                "[$__rate_interval]))",
                "{{direction}}",
            ),
            runbook="the-streams-time-is-wrong",
        ),
        lines(
            "Open transactions",
            "How long a transaction has kept a partition from being read. The log names it.",
            "s",
            Query(
                "max by (topic, partition) (stream_detector_last_stable_offset_age_seconds{@})",
                "{{topic}}-{{partition}}",
            ),
            runbook="streamdetectoropentransaction",
        ),
        lines(
            "Waits for schemas",
            "How long a partition has been paused for want of a schema. The log says why.",
            "s",
            Query(
                "max by (topic, partition) (stream_detector_schema_wait_seconds{@})",
                "{{topic}}-{{partition}}",
            ),
            runbook="streamdetectorschemamissing",
            limit=60,
        ),
        lines(
            "Broker errors",
            "Errors of the broker or of its client, by kind.",
            "short",
            Query(
                "sum by (kind) (increase(stream_detector_broker_errors_total{@}"
                "[$__rate_interval]))",
                "{{kind}}",
            ),
            runbook="streamdetectorbrokererrors",
        ),
    ],
)

PROCESS = Section(
    "Process",
    [
        lines(
            "Resident memory",
            "Memory of each worker. It grows while keys and rows are gathered, then stays level.",
            "bytes",
            Query("max by (instance) (process_resident_memory_bytes{@})", "{{instance}}"),
            runbook="streamdetectormemorynearlimit",
        ),
        lines(
            "Memory against its limit",
            "The same as a share of what the process may have: the least of its container's or "
            "unit's limit and the machine's memory.",
            "percentunit",
            Query(
                "max by (instance) "
                "(process_resident_memory_bytes{@} / stream_detector_memory_limit_bytes{@})",
                "{{instance}}",
            ),
            runbook="streamdetectormemorynearlimit",
            limit=0.85,
        ),
        lines(
            "Processor time",
            "Seconds of processor time a second. One shard uses one core; 1 is its limit.",
            "percentunit",
            Query(
                "max by (instance) (rate(process_cpu_seconds_total{@}[$__rate_interval]))",
                "{{instance}}",
            ),
            runbook="streamdetectorlaggrowing",
        ),
        lines(
            "Keys remembered and forgotten",
            "Keys that the windows hold, and those forgotten a second because `max_keys` was "
            "reached. Steady forgetting: raise it, or accept that rare keys begin anew.",
            "short",
            Query("sum by (key) (stream_detector_keys_held{@})", "{{key}} held"),
            Query(
                "sum by (key) (rate(stream_detector_keys_evicted_total{@}[$__rate_interval]))",
                "{{key}} forgotten a second",
            ),
            runbook="streamdetectormemorynearlimit",
        ),
        lines(
            "Open files",
            "File descriptors in use. Steady growth is a defect.",
            "short",
            Query("max by (instance) (process_open_fds{@})", "{{instance}}"),
            runbook="operations-panels",
        ),
        lines(
            "Uptime",
            "Time since each process was started. A saw-tooth is a process that keeps ending.",
            "s",
            Query("time() - max by (instance) (process_start_time_seconds{@})", "{{instance}}"),
            runbook="streamdetectordown",
        ),
    ],
)

OPERATIONS = [NOW, FLOW, REJECTS, TIME, STATE, GROUP, PROCESS]
