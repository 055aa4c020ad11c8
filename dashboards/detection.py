"""The dashboard for those who read the alerts."""

from __future__ import annotations

from dashboards.parts import Query, Section, bars, heatmap, lines, stat, table


def cumulative(window: str) -> str:
    """The share of the scores at or below each bound, over a window of time."""
    by_bound = f"sum by (le) (rate(stream_detector_score_bucket{{@}}[{window}))"
    whole = f'sum(rate(stream_detector_score_bucket{{@, le="+Inf"}}[{window}))'
    return f"{by_bound} / scalar({whole})"


NOW = Section(
    "Now",
    [
        stat(
            "Alerts in the last hour",
            "Alerts written, of all severities.",
            "short",
            Query("sum(increase(stream_detector_alerts_total{@}[1h]))"),
            runbook="streamdetectortoomanyalerts",
        ),
        stat(
            "Critical in the last hour",
            "Alerts whose score is a hundred times rarer than the budget asks for.",
            "short",
            Query('sum(increase(stream_detector_alerts_total{@, severity="critical"}[1h]))'),
            runbook="detection-panels",
            steps=((None, "text"), (1, "red")),
        ),
        stat(
            "Over the threshold",
            "Share of the recent events over the threshold, suppressed ones included; of the shard "
            "that has most. An event 10,000 events back counts half.",
            "percentunit",
            Query("max(stream_detector_alert_rate_ratio{@})"),
            runbook="streamdetectortoomanyalerts",
        ),
        stat(
            "Share of the budget used",
            "What is over the threshold, in multiples of what the budget allows; of the shard "
            "furthest above. About 1 is as configured.",
            "percentunit",
            Query(
                "max(stream_detector_alert_rate_ratio{@} / stream_detector_alert_budget_ratio{@})"
            ),
            runbook="streamdetectortoomanyalerts",
            steps=((None, "blue"), (0.5, "green"), (2, "orange"), (3, "red")),
        ),
        stat(
            "Suppressed",
            "Share of the events over the threshold in the last hour whose key had one before.",
            "percentunit",
            Query(
                "sum(increase(stream_detector_suppressed_total{@}[1h])) / "
                "(sum(increase(stream_detector_alerts_total{@}[1h])) "
                "+ sum(increase(stream_detector_suppressed_total{@}[1h])) > 0 or vector(1))"
            ),
            runbook="detection-panels",
        ),
        stat(
            "Precision of the alerts",
            "Share of the events over the threshold that turned out anomalous, of those whose "
            "label has come. Needs labels.",
            "percentunit",
            Query(
                'sum(stream_detector_labelled_events_total{@, label="anomalous", raised="true"}) / '
                '(sum(stream_detector_labelled_events_total{@, raised="true"}) > 0 or vector(1))'
            ),
            runbook="label-feedback",
        ),
        stat(
            "AUC",
            "Area under the ROC curve of the scores as given on arrival, by the labels that came "
            "since: 0.5 is chance, 1 perfect order. Needs labels.",
            "percentunit",
            Query("min(stream_detector_label_auc_ratio{@})"),
            runbook="label-feedback",
            steps=((None, "red"), (0.7, "orange"), (0.85, "green")),
        ),
        stat(
            "Detector",
            "Which kind of detector runs.",
            "none",
            Query("count by (detector) (stream_detector_config_info{@})", "{{detector}}"),
            runbook="detection-panels",
            names=True,
        ),
    ],
)

ALERTS = Section(
    "Alerts",
    [
        lines(
            "Alert rate and budget",
            "Share of the events over the threshold, suppressed ones included, and the share that "
            "the budget allows. The threshold follows the scores, so the two should stay close.",
            "percentunit",
            Query(
                "max by (shard) (stream_detector_alert_rate_ratio{@})", "shard {{shard}}: raised"
            ),
            Query(
                "max by (shard) (stream_detector_alert_budget_ratio{@})", "shard {{shard}}: budget"
            ),
            runbook="streamdetectortoomanyalerts",
        ),
        lines(
            "Alerts by severity",
            "Alerts written, a minute. Low just passes the budget; critical is a hundred times "
            "rarer.",
            "cpm",
            Query(
                "60 * sum by (severity) (rate(stream_detector_alerts_total{@}[$__rate_interval]))",
                "{{severity}}",
            ),
            runbook="detection-panels",
            stacked=True,
        ),
        lines(
            "Open incidents",
            "What alerts have in common and is not over, by severity. A line that only rises is a "
            "cause that nobody has mended, or a field that is missing in incidents.fields.",
            "short",
            Query("sum by (severity) (stream_detector_incidents_open{@})", "{{severity}}"),
            runbook="open-incidents",
            stacked=True,
        ),
        lines(
            "Incidents opened and over",
            "Incidents an hour: opened (or opened again), over, and those that became part of "
            "another one.",
            "short",
            Query(
                "3600 * sum(rate(stream_detector_incident_changes_total"
                '{@, change=~"opened|reopened"}[$__rate_interval]))',
                "opened",
            ),
            Query(
                '3600 * sum(rate(stream_detector_incident_changes_total{@, change=~"quiet|expired|'
                'evicted"}[$__rate_interval]))',
                "over",
            ),
            Query(
                '3600 * sum(rate(stream_detector_incident_changes_total{@, change="merged"}'
                "[$__rate_interval]))",
                "part of another one",
            ),
            runbook="open-incidents",
        ),
        lines(
            "Written and suppressed",
            "Events over the threshold, a minute: alerts written, and those held back because "
            "their key had one already. Much suppression is one key in trouble for long.",
            "cpm",
            Query("60 * sum(rate(stream_detector_alerts_total{@}[$__rate_interval]))", "written"),
            Query(
                "60 * sum(rate(stream_detector_suppressed_total{@}[$__rate_interval]))",
                "suppressed",
            ),
            runbook="detection-panels",
            stacked=True,
        ),
    ],
)

RULES = Section(
    "Rules and what people did (empty without rules)",
    [
        lines(
            "Rules by how they stand",
            "Rules of the shard that has most. Waiting for their time, active, disabled by what "
            "they ran into, expired (once a period still an alert), and over.",
            "short",
            Query("max by (state) (stream_detector_rules{@})", "{{state}}"),
            runbook="rule-panels",
        ),
        lines(
            "Hidden by rules",
            "Events and findings that a rule hid, an hour, of the ten rules that hide most. A line "
            "that rises is no longer what its rule was made for.",
            "short",
            Query(
                "topk(10, 3600 * sum by (rule) "
                "(rate(stream_detector_rule_hidden_total{@}[$__rate_interval]))) or "
                '(label_replace(vector(0), "rule", "none", "", "") '
                "unless on () stream_detector_rule_hidden_total{@})",
                "{{rule}}",
            ),
            runbook="rule-panels",
        ),
        lines(
            "Disabled rules and snoozed alerts",
            "In an hour: rules that have disabled themselves, since what they hid was no false "
            "alarm; alerts that nobody heard of since their incident is snoozed.",
            "short",
            Query(
                "sum(increase(stream_detector_rules_disabled_total{@}[1h]))",
                "rules that disabled themselves",
            ),
            Query("sum(increase(stream_detector_snoozed_total{@}[1h]))", "alerts snoozed"),
            runbook="streamdetectorruledisabled",
        ),
    ],
)

SCORES = Section(
    "Scores",
    [
        heatmap(
            "Distribution of the scores",
            "How the scores are spread over time; higher is stranger. A band that moves as a whole "
            "is drift or a new model, a second band a group of strange events.",
            "cps",
            Query(
                "sum by (le) (rate(stream_detector_score_bucket{@}[$__rate_interval]))",
                "{{le}}",
                format="heatmap",
            ),
            runbook="streamdetectorscoresshifted",
        ),
        lines(
            "Scores and threshold",
            "The score that half, one in a hundred and one in a thousand events exceed, read off "
            "the buckets, and the threshold.",
            "none",
            *(
                Query(
                    f"histogram_quantile({quantile}, sum by (le) "
                    "(rate(stream_detector_score_bucket{@}[$__rate_interval])))",
                    legend,
                )
                for quantile, legend in (
                    (0.5, "half"),
                    (0.99, "1 in 100"),
                    (0.999, "1 in 1,000"),
                )
            ),
            Query(
                "max by (shard) (stream_detector_threshold{@} < Inf)",
                "threshold of shard {{shard}}",
            ),
            runbook="streamdetectorscoresshifted",
            least=None,
            width=12,
        ),
        lines(
            "Distance from yesterday's scores",
            "The largest difference between the cumulative distribution of the last half hour and "
            "that of the day before it (Kolmogorov and Smirnov): 0 is the same, 1 has nothing in "
            "common.",
            "percentunit",
            Query(
                f"max(abs(({cumulative('30m]')}) - ({cumulative('1d] offset 30m')})))",
                "distance",
            ),
            runbook="streamdetectorscoresshifted",
            limit=0.25,
            most=1,
            width=12,
        ),
        lines(
            "Learning",
            "Events that the models learnt, and those left out because they were too strange to be "
            "called normal. Many left out: the traffic has changed, or an attack lasts.",
            "cps",
            Query("sum(rate(stream_detector_rows_learned_total{@}[$__rate_interval]))", "learnt"),
            Query("sum(rate(stream_detector_rows_refused_total{@}[$__rate_interval]))", "left out"),
            Query(
                "sum(rate(stream_detector_learning_steps_total{@}[$__rate_interval]))",
                "chunks learnt",
            ),
            runbook="detection-panels",
            width=12,
        ),
    ],
)

REASONS = Section(
    "Reasons",
    [
        bars(
            "First reasons",
            "How often each feature was the one that contributed most to an alert, in the time "
            "shown. One far ahead of the others: look at that feature's data before its events.",
            "short",
            Query(
                "topk(15, sum by (feature) "
                "(increase(stream_detector_alert_reasons_total{@}[$__range])))",
                "{{feature}}",
            ),
            runbook="detection-panels",
            width=12,
        ),
        lines(
            "First reasons over time",
            "Alerts a minute by the feature that contributed most; the seven most frequent ones of "
            "the time shown. A new one on top is a new kind of event, or a broken field.",
            "cpm",
            Query(
                # Chosen for the whole span: chosen at each step, the series would be in pieces.
                "60 * sum by (feature) "
                "(rate(stream_detector_alert_reasons_total{@}[$__rate_interval])) "
                "and topk(7, sum by (feature) "
                "(increase(stream_detector_alert_reasons_total{@}[$__range] @ end())))",
                "{{feature}}",
            ),
            runbook="detection-panels",
            stacked=True,
            width=12,
        ),
    ],
)

FEEDBACK = Section(
    "What labels say (empty without labels)",
    [
        lines(
            "AUC and average precision",
            "Of the scores as given on arrival, by the last 20,000 labelled rows. AUC: 0.5 is "
            "chance. Average precision: compare with the share of anomalies.",
            "percentunit",
            Query("min by (shard) (stream_detector_label_auc_ratio{@})", "AUC, shard {{shard}}"),
            Query(
                "min by (shard) (stream_detector_label_average_precision_ratio{@})",
                "average precision, shard {{shard}}",
            ),
            runbook="label-feedback",
            most=1,
        ),
        lines(
            "Precision at k",
            "Share of anomalous events among the k highest scores of the same rows: what a reader "
            "of the k strangest events finds.",
            "percentunit",
            Query(
                "min by (k, shard) (stream_detector_label_precision_at_ratio{@})",
                "{{k}} highest, shard {{shard}}",
            ),
            runbook="label-feedback",
            most=1,
        ),
        table(
            "Confusion",
            "Events whose label has come, since the start: what they were, and whether their score "
            "was over the threshold. Those below it are estimated from the rows that were kept.",
            "short",
            Query(
                "sum by (label, raised) (stream_detector_labelled_events_total{@})",
                format="table",
            ),
            runbook="label-feedback",
            columns={"label": "Label", "raised": "Over the threshold", "Value": "Events"},
        ),
        lines(
            "Right and false alarms",
            "Labelled events over the threshold an hour, and (estimated) anomalous ones below.",
            "short",
            Query(
                "3600 * sum(rate(stream_detector_labelled_events_total"
                '{@, label="anomalous", raised="true"}[$__rate_interval]))',
                "right",
            ),
            Query(
                "3600 * sum(rate(stream_detector_labelled_events_total"
                '{@, label="normal", raised="true"}[$__rate_interval]))',
                "false",
            ),
            Query(
                "3600 * sum(rate(stream_detector_labelled_events_total"
                '{@, label="anomalous", raised="false"}[$__rate_interval]))',
                "missed",
            ),
            runbook="label-feedback",
        ),
        lines(
            "Labels taken in",
            "Labels from their topic: those that met a waiting row, and those that did not (too "
            "late, or their event was not kept).",
            "cps",
            Query(
                "sum by (result) (rate(stream_detector_labels_total{@}[$__rate_interval]))",
                "{{result}}",
            ),
            runbook="label-feedback",
        ),
        lines(
            "Rows that wait for a label",
            "Bounded by `labels.max_waiting`.",
            "short",
            Query("sum by (shard) (stream_detector_labels_waiting{@})", "shard {{shard}}"),
            runbook="label-feedback",
        ),
    ],
)

DRIFT = Section(
    "Drift (empty without the section `drift`)",
    [
        lines(
            "Drifts found",
            "Lasting changes of the inputs, the score or the error, as they are found. One is "
            "a change to look at; many in a row are a rhythm that the watch takes for one.",
            "short",
            Query(
                "sum by (on) (increase(stream_detector_drift_events_total{@}[$__rate_interval]))",
                "{{on}}",
            ),
            runbook="drift-panels",
            width=12,
        ),
        bars(
            "Drifting features",
            "How often each feature was found to have drifted, in the time shown.",
            "short",
            Query(
                "topk(15, sum by (feature) (increase("
                'stream_detector_drift_events_total{@, on="inputs"}[$__range])))',
                "{{feature}}",
            ),
            runbook="drift-panels",
            width=12,
        ),
    ],
)

CHALLENGER = Section(
    "Champion and challenger (empty without a challenger)",
    [
        lines(
            "Who raises what",
            "Events a minute that both models raise, the champion alone, and that the challenger "
            "alone would. Far apart: look at some of each before a promotion.",
            "cpm",
            *(
                Query(
                    "60 * sum(rate(stream_detector_challenger_decisions_total"
                    f'{{@, champion="{champion}", challenger="{challenger}"}}[$__rate_interval]))',
                    legend,
                )
                for champion, challenger, legend in (
                    ("true", "true", "both"),
                    ("true", "false", "champion alone"),
                    ("false", "true", "challenger alone"),
                )
            ),
            runbook="champion-and-challenger-panels",
            stacked=True,
        ),
        lines(
            "AUC of both",
            "Area under the ROC curve of both models' scores, by late labels, since the challenger "
            "began. Needs labels.",
            "percentunit",
            Query(
                "min by (shard) (stream_detector_label_auc_ratio{@})", "champion, shard {{shard}}"
            ),
            Query(
                "min by (shard) (stream_detector_challenger_label_auc_ratio{@})",
                "challenger, shard {{shard}}",
            ),
            runbook="champion-and-challenger-panels",
            most=1,
        ),
        lines(
            "Average precision of both",
            "The same, of average precision: what counts where anomalies are rare.",
            "percentunit",
            Query(
                "min by (shard) (stream_detector_label_average_precision_ratio{@})",
                "champion, shard {{shard}}",
            ),
            Query(
                "min by (shard) (stream_detector_challenger_label_average_precision_ratio{@})",
                "challenger, shard {{shard}}",
            ),
            runbook="champion-and-challenger-panels",
            most=1,
        ),
        lines(
            "Precision at 100 of both",
            "Share of anomalous events among the 100 highest scores of each model.",
            "percentunit",
            Query(
                'min by (shard) (stream_detector_label_precision_at_ratio{@, k="100"})',
                "champion, shard {{shard}}",
            ),
            Query(
                'min by (shard) (stream_detector_challenger_label_precision_at_ratio{@, k="100"})',
                "challenger, shard {{shard}}",
            ),
            runbook="champion-and-challenger-panels",
            most=1,
        ),
        lines(
            "Thresholds of both",
            "Scores from which each raises (would raise) an event. Different models, different "
            "scales.",
            "none",
            Query(
                "max by (shard) (stream_detector_threshold{@} < Inf)", "champion, shard {{shard}}"
            ),
            Query(
                "max by (shard) (stream_detector_challenger_threshold{@} < Inf)",
                "challenger, shard {{shard}}",
            ),
            runbook="champion-and-challenger-panels",
            least=None,
        ),
        heatmap(
            "Distribution of the challenger's scores",
            "As the champion's above, on the challenger's own scale.",
            "cps",
            Query(
                "sum by (le) (rate(stream_detector_challenger_score_bucket{@}[$__rate_interval]))",
                "{{le}}",
                format="heatmap",
            ),
            runbook="champion-and-challenger-panels",
            width=8,
        ),
    ],
)

MONITORS = Section(
    "Monitors (empty without the section `monitors`)",
    [
        lines(
            "Place in the band",
            "Where the last closed bucket of each key shown lies in its band: at 0 and at 1 an "
            "alert is due. One line beyond is that key's incident; all at once are everybody's.",
            "percentunit",
            Query(
                "max by (monitor, key) ((stream_detector_monitor_actual{@} - "
                "stream_detector_monitor_low{@}) / (stream_detector_monitor_high{@} - "
                "stream_detector_monitor_low{@}))",
                "{{monitor}}: {{key}}",
            ),
            runbook="monitor-panels",
            limit=1,
            least=None,
            width=12,
        ),
        lines(
            "All together beside the band",
            "Of monitors without a key: what there was, what was expected, and the band without an "
            "alert. A key's own is on the status page.",
            "short",
            *(
                Query(
                    f'max by (monitor) (stream_detector_monitor_{name}{{@, key="all"}})',
                    f"{{{{monitor}}}}: {legend}",
                )
                for name, legend in (
                    ("actual", "there were"),
                    ("expected", "expected"),
                    ("low", "least"),
                    ("high", "most"),
                )
            ),
            runbook="monitor-panels",
            least=None,
            width=12,
        ),
        lines(
            "Alerts of monitors",
            "Alerts an hour, by monitor. An incident is one, and one more where it grows.",
            "short",
            Query(
                "3600 * sum by (monitor) "
                "(rate(stream_detector_monitor_alerts_total{@}[$__rate_interval]))",
                "{{monitor}}",
            ),
            runbook="streamdetectormonitormanyalerts",
        ),
        lines(
            "Keys of monitors",
            "Keys remembered, and those of which enough is known to judge them.",
            "short",
            Query(
                "sum by (monitor) (stream_detector_monitor_keys_held{@})", "{{monitor}}: remembered"
            ),
            Query(
                "sum by (monitor) (stream_detector_monitor_keys_judged{@})", "{{monitor}}: judged"
            ),
            runbook="streamdetectormonitorlearnsnothing",
        ),
        lines(
            "What monitors leave out",
            "Keys forgotten for want of room, events without a key or a value and findings that a "
            "calendar left out, a second; and the buckets closed, without which nothing is judged.",
            "cps",
            *(
                Query(
                    f"sum by (monitor) (rate(stream_detector_monitor_{name}_total{{@}}"
                    "[$__rate_interval]))",
                    f"{{{{monitor}}}}: {legend}",
                )
                for name, legend in (
                    ("keys_evicted", "keys forgotten"),
                    ("events_without_key", "events without a key or a value"),
                    ("findings_muted", "findings left out"),
                    ("buckets_closed", "buckets closed"),
                )
            ),
            runbook="streamdetectormonitorkeysevicted",
        ),
    ],
)

DETECTION = [NOW, ALERTS, RULES, SCORES, REASONS, MONITORS, DRIFT, FEEDBACK, CHALLENGER]
