"""Table of kafka-python 3.0.12's defects that are got round here.

docs/kafka-client.md shows it. Each row names the place that gets round the defect and the test that
shows it on the bare client, or holds us to the behaviour: when an upgrade makes that test fail (or
pass without the place), the place may go.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = "3.0.12"
"""The version that the table was held to."""

_CLIENT = "stream_detector.connectors.kafka.client."
_KAFKA = "stream_detector.connectors.kafka."
_CONSUMER = "tests/test_client_contract_consumer.py::"
_TRANSACTIONS = "tests/test_client_contract_transactions.py::"
_CONTRACT = "tests/test_client_contract.py::"
_PLAIN = "tests/test_client_contract_plain.py::"


@dataclass(frozen=True, slots=True)
class Defect:
    """Defect of the client.

    Attributes:
        what: what happens, in a sentence.
        since: the first release whose source has it.
        upstream: the nearest issue or pull request of dpkp/kafka-python; "" where none was found.
        place: dotted name of what gets round it.
        test: path and name of the test that says when the place may go.
    """

    what: str
    since: str
    upstream: str
    place: str
    test: str


DEFECTS = (
    Defect(
        "A transaction that the broker has timed out commits without an error, and is lost.",
        "2.2.0",
        "#2587, #2853",
        _KAFKA + "writing.transactions.TransactionalOutput",
        _TRANSACTIONS
        + "test_a_transaction_that_the_broker_timed_out_commits_without_an_error_and_is_lost",
    ),
    Defect(
        "A batch that passes its delivery timeout fails its own future alone; flush and commit say "
        "nothing.",
        "2.2.0",
        "#2587",
        _KAFKA + "writing.refusals.confirm",
        _TRANSACTIONS
        + "test_a_batch_that_was_not_delivered_in_time_is_missing_from_a_commit_that_says_ok",
    ),
    Defect(
        "Commit, abort and offsets of a transaction wait for ever where the coordinator does not "
        "answer (Java's client had the same until KAFKA-7763 and KAFKA-10309).",
        "2.2.0",
        "#2587, #2590",
        _CLIENT + "producer.Producer.commit_transaction",
        _TRANSACTIONS
        + "test_a_commit_sent_while_the_broker_is_down_never_ends_and_close_does_not_end_it",
    ),
    Defect(
        "Offsets with a bare group id, or the metadata of a member that has left, are not fenced: "
        "the client sends them without a generation.",
        "2.2.0",
        "#2590, #2984",
        _KAFKA + "reading.source.KafkaSource.membership",
        _TRANSACTIONS + "test_neither_a_bare_group_nor_the_metadata_after_leaving_is_fenced",
    ),
    Defect(
        "A fenced producer is told by a plain KafkaError.",
        "2.2.0",
        "#2885",
        _KAFKA + "writing.transactions.TransactionalOutput",
        _TRANSACTIONS + "test_a_zombie_learns_it_from_its_sends_and_from_a_plain_kafka_error",
    ),
    Defect(
        "close() waits for ever without a timeout; with one that passes it raises and leaves "
        "thread and sockets.",
        "2.1.0",
        "#2537, #1052",
        _CLIENT + "producer.Producer.close",
        _TRANSACTIONS + "test_close_that_cannot_flush_raises_and_closes_nothing",
    ),
    Defect(
        "A consumer or admin client that cannot start leaves its thread and sockets, for good; a "
        "producer leaves its sockets to the garbage collector.",
        "3.0.0",
        "",
        _CLIENT + "starting.start",
        _PLAIN + "test_a_client_that_cannot_start_leaves_its_thread",
    ),
    Defect(
        "The others of a failed message's batch, and of batches given up for it, fail with errors "
        "that do not say which one was at fault.",
        "2.2.0",
        "",
        _CLIENT + "producer.given_up",
        "tests/test_field_output.py::"
        "test_what_is_too_large_for_its_topic_is_written_in_a_smaller_form",
    ),
    Defect(
        "After an error while a batch is unpacked the next poll never returns.",
        "2.1.0",
        "",
        _CLIENT + "batches.BatchRecords.take",
        _CONSUMER
        + "test_poll_after_a_corrupt_batch_never_returns_unless_the_position_moves_past_it",
    ),
    Defect(
        "A compressed batch is unpacked whatever it grows to.",
        "0.1",
        "",
        _CLIENT + "codecs.unpack",
        _PLAIN + "test_the_client_unpacks_without_a_bound",
    ),
    Defect(
        "A header whose name is not UTF-8 makes its whole batch unreadable.",
        "1.4.0",
        "",
        _CLIENT + "record_batch.header_name",
        _PLAIN + "test_the_client_refuses_a_batch_for_the_name_of_a_header",
    ),
    Defect(
        "A record costs about 5 µs to read: seven calls for its numbers and a tuple of thirteen.",
        "1.4.0",
        "",
        _CLIENT + "batches.BatchRecords",
        "tests/test_kafka_batches.py::test_records_of_every_size_are_those_of_the_client",
    ),
    Defect(
        "What arrives while more is asked for is overlooked, and the poll sleeps on it.",
        "3.0.0",
        "#2960, #3084",
        _CLIENT + "consumer.look_again",
        _CONTRACT + "test_what_arrives_while_more_is_asked_for_is_slept_on",
    ),
    Defect(
        "A resumed partition stands still while the others are at their end.",
        "3.0.0",
        "#2981; #3131 is the same store after a rebalance, mended in 3.0.9",
        _CLIENT + "consumer.Consumer.poll",
        _CONTRACT + "test_a_resumed_partition_stands_still_when_the_others_are_at_their_end",
    ),
    Defect(
        "position() waits at every turn where a partition has no leader.",
        "2.1.0",
        "",
        _CLIENT + "consumer.Consumer.position",
        "tests/test_field_vanishing.py::"
        "test_a_partition_without_a_leader_is_named_and_the_others_go_on",
    ),
    Defect(
        "allow_auto_create_topics is taken and not heeded.",
        "3.0.0",
        "#2083, #2792",
        _CLIENT + "metadata.Metadata",
        _CONSUMER + "test_topics_are_created_by_asking_for_them_whatever_the_setting_says",
    ),
    Defect(
        "A line is logged at every request for a topic that is gone, ten a second.",
        "3.0.0",
        "",
        _CLIENT + "metadata.Metadata",
        "tests/test_field_assignment.py::test_the_only_topic_deleted_is_not_ready_and_one_line",
    ),
    Defect(
        "A join that ends between two polls is thrown away, which costs the group a rebalance.",
        "3.0.0",
        "#2955",
        _CLIENT + "member.GroupMember.poll",
        _CONSUMER + "test_a_join_that_ends_between_two_polls_is_thrown_away_unless_it_is_kept",
    ),
    Defect(
        "Poll brings nothing while a join is under way, though what is owned stays owned.",
        "3.0.0",
        "",
        _CLIENT + "member.GroupMember.poll",
        "tests/test_rebalance.py::"
        "test_a_shard_goes_on_while_the_group_waits_for_a_member_that_hangs",
    ),
    Defect(
        "A leader that does not know a topic's partitions yet assigns none of them, for good.",
        "3.0.0",
        "#1240",
        _CLIENT + "assignor.ClientAssignor.take_incomplete",
        _PLAIN + "test_a_leader_that_knows_no_partitions_asks_for_another_round",
    ),
    Defect(
        "A member whose instance id another has taken over goes on polling as if nothing had "
        "happened.",
        "2.3.0",
        "#2625",
        _CLIENT + "member.GroupMember.fenced",
        _CONSUMER + "test_a_displaced_static_member_learns_it_only_when_it_commits",
    ),
    Defect(
        "A join that a broker of Kafka 4 answers for the newer protocol (KIP-848) is taken for one "
        "of its own.",
        "3.0.0",
        "#3000",
        _CLIENT + "member.GroupMember",
        "tests/test_field_assignment.py::"
        "test_a_member_of_the_newer_protocol_is_not_shared_the_input_with",
    ),
    Defect(
        "A synchronous rebalance listener runs on the I/O thread: it can neither commit nor take "
        "its time.",
        "3.0.0",
        "",
        _CLIENT + "listener.Listener",
        _CONSUMER + "test_the_consumer_cannot_commit_inside_a_listener",
    ),
    Defect(
        'A closed port, a wrong certificate and a wrong password are all "Unable to bootstrap".',
        "3.0.0",
        "#2942",
        _CLIENT + "causes.collected_warnings",
        _PLAIN + "test_a_start_that_fails_tells_its_cause_in_the_log_alone",
    ),
    Defect(
        "The admin client writes all its settings to the log at DEBUG, the password too.",
        "1.4.4",
        "",
        _KAFKA + "connection.settings.security_settings",
        _PLAIN + "test_the_admin_client_logs_its_password",
    ),
    Defect(
        "The admin client has no question for quotas; its protocol has.",
        "3.0.0",
        "#1727",
        _CLIENT + "admin.Admin.quotas",
        _PLAIN + "test_the_admin_client_has_no_call_for_quotas",
    ),
    Defect(
        "The admin client passes over that a broker refuses to tell its settings.",
        "3.0.0",
        "",
        _CLIENT + "admin.Admin.settings_of_broker",
        "tests/test_kafka_security.py::"
        "test_check_names_every_missing_right_at_once_and_what_it_was_not_told",
    ),
    Defect(
        "Calls raise KeyError, AssertionError and others that are no KafkaError.",
        "1.3.0",
        "#3042",
        _CLIENT + "errors.CLIENT_ERRORS",
        _PLAIN + "test_calls_raise_what_is_no_kafka_error",
    ),
)


def as_markdown() -> str:
    """The table as it stands in docs/kafka-client.md."""
    head = "| defect | since | upstream | got round by | may go when this fails |"
    rows = [
        f"| {one.what} | {one.since} | {one.upstream or 'none found'} "
        f"| `{one.place.removeprefix(_KAFKA)}` | `{one.test.removeprefix('tests/')}` |"
        for one in DEFECTS
    ]
    return "\n".join([head, "|---|---|---|---|---|", *rows]) + "\n"
