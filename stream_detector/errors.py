"""The tree of exceptions. Each class that ends the process has an exit code and a stage of its own.

A bad *record* is never an exception that leaves the decoder (it becomes a ``Rejection``); what is
raised from here is bad configuration, an unreachable outside world or state in doubt.
"""

from __future__ import annotations


class StreamDetectorError(Exception):
    """Root of everything this package raises on purpose."""

    exit_code = 1
    stage = "defect"


class ConfigurationError(StreamDetectorError):
    """The configuration or the command line is wrong; the message lists every mistake found."""

    exit_code = 2
    stage = "configuration"


class ActError(ConfigurationError):
    """What is on the control topic, or was to be written there, is no act."""


class ConnectorError(StreamDetectorError):
    """The broker, a topic or a file cannot be reached, or not with these rights."""

    exit_code = 3
    stage = "connection"


class InputMissingError(ConnectorError):
    """The input topic or file did not appear within the time that the configuration allows."""


class OutputError(ConnectorError):
    """An alert or dead letter could not be delivered within its deadline."""


class JournalRecordTooLargeError(OutputError):
    """The journal's topic takes no record of this size; nothing of the commit was written."""


class StateError(StreamDetectorError):
    """A snapshot is damaged, does not fit the configuration, or the state is in doubt."""

    exit_code = 4
    stage = "state"


class StateMismatchError(StateError):
    """The snapshot is sound but was made under a configuration that shapes state differently."""


class PlacesDifferError(StateError):
    """Journal, offsets and log do not end at one place.

    So they also look to a worker that was given up and does not know it yet, where its successor
    commits between two of its questions: true only where it is seen again.
    """


class RefusedError(ConnectorError):
    """The broker refuses us (password, certificate, rights): waiting is no cure."""


class BrokerLimitError(RefusedError):
    """A timeout of ours is outside of what the broker allows."""


class CommitRefusedError(ConnectorError):
    """A commit was refused because the group has moved on; nothing of it was written."""


class CommitDoubtError(ConnectorError):
    """A commit may or may not have been written: the broker did not say."""


class ForeignCommitError(ConnectorError):
    """Somebody else has written for a shard that this worker took for its own."""


class InputLostError(ConnectorError):
    """The log no longer holds what is to be read next: retention was faster."""


class UnreadableInputError(ConnectorError):
    """Records of the input cannot be read; nothing after them in their partition can be."""
