"""The client's errors, by the names that its users catch and judge them by."""

from __future__ import annotations

import struct

from kafka.errors import (
    AuthorizationError,
    ClusterAuthorizationFailedError,
    CommitFailedError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    CorruptRecordError,
    FencedInstanceIdError,
    GroupAuthorizationFailedError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidConfigurationError,
    InvalidRecordError,
    InvalidRequiredAcksError,
    InvalidSessionTimeoutError,
    InvalidTimestampError,
    InvalidTopicError,
    InvalidTransactionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    NoOffsetForPartitionError,
    NotCoordinatorError,
    OffsetOutOfRangeError,
    PolicyViolationError,
    RebalanceInProgressError,
    RecordListTooLargeError,
    RequestTimedOutError,
    SaslAuthenticationFailedError,
    SecurityDisabledError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    TransactionalIdNotFoundError,
    UnknownMemberIdError,
    UnsupportedCompressionTypeError,
    UnsupportedForMessageFormatError,
    UnsupportedVersionError,
)

__all__ = [
    "ADMIN_ERRORS",
    "BROKER_AWAY",
    "CLIENT_ERRORS",
    "SEND_ERRORS",
    "AuthorizationError",
    "ClusterAuthorizationFailedError",
    "CommitFailedError",
    "CorruptRecordError",
    "FencedInstanceIdError",
    "GroupAuthorizationFailedError",
    "IllegalGenerationError",
    "InconsistentGroupProtocolError",
    "InvalidConfigurationError",
    "InvalidRecordError",
    "InvalidRequiredAcksError",
    "InvalidSessionTimeoutError",
    "InvalidTimestampError",
    "InvalidTopicError",
    "InvalidTransactionTimeoutError",
    "KafkaError",
    "KafkaTimeoutError",
    "MessageSizeTooLargeError",
    "NoOffsetForPartitionError",
    "OffsetOutOfRangeError",
    "PolicyViolationError",
    "RebalanceInProgressError",
    "RecordListTooLargeError",
    "SaslAuthenticationFailedError",
    "SecurityDisabledError",
    "TopicAlreadyExistsError",
    "TopicAuthorizationFailedError",
    "TransactionalIdAuthorizationFailedError",
    "TransactionalIdNotFoundError",
    "UnknownMemberIdError",
    "UnsupportedCompressionTypeError",
    "UnsupportedForMessageFormatError",
    "UnsupportedVersionError",
]

BROKER_AWAY = (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NotCoordinatorError,
    RequestTimedOutError,
)
"""Errors of a connection, none of them of what was read: the next poll may be made."""

SEND_ERRORS = (KafkaError, ValueError, TypeError, OverflowError)
"""What ``Producer.send`` raises over a message; UnicodeEncodeError is a ValueError."""

CLIENT_ERRORS = (
    KafkaError,
    OSError,
    LookupError,
    AssertionError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a call on a client may raise. Beside its own errors: kafka-python looks up partitions that
are not assigned any more, or gone, in plain dicts, and asserts what a broker need not keep."""

ADMIN_ERRORS = (
    KafkaError,
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)
"""What the admin client raises: not all of it is a ``KafkaError``."""
