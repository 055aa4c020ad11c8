"""The incidents of a pipeline: which settings they go by, and how they are followed."""

from __future__ import annotations

from pydantic import ValidationError

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.derived.incident_fields import packed_settings
from stream_detector.config.models.config import Config
from stream_detector.config.models.incidents import IncidentsConfig
from stream_detector.detectors.stored import read_branch
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, EventBatch, State, TopicPartition
from stream_detector.incidents import IncidentTracker
from stream_detector.pipeline.batch_result import BatchResult
from stream_detector.pipeline.cause import Cause
from stream_detector.pipeline.following import Following, FollowingEvents, Place, ReceiptOf
from stream_detector.rules import IncidentAct, Snooze, time_ms_of

LARGEST_SETTINGS = 100_000
"""Characters of the packed settings: sixteen names of fields, and numbers."""


class Incidents:
    """The incidents of a configuration, or none.

    State: the tracker's, and the settings that it goes by: as calendars, they may be others after a
    restart, and a replay goes by those of then.

    Attributes:
        settings: those in use, packed; empty where there are no incidents.
        tracker: groups alerts; None where there are no incidents.
    """

    def __init__(self, config: Config, fingerprint: str, plan: FieldPlan) -> None:
        """``fingerprint``: of the configuration, for the messages."""
        self._detector, self._fingerprint, self._plan = config.name, fingerprint, plan
        self._own = packed_settings(config)
        self.tracker: IncidentTracker | None = None
        self._columns: list[int | None] = []
        self.settings = ""
        self.use(self._own)

    def use(self, packed: str) -> None:
        """Go by other settings from now on; what is open goes on.

        Raises ``StateMismatchError`` where they are none.
        """
        if len(packed) > LARGEST_SETTINGS:
            raise StateMismatchError("the settings of incidents are too long")
        before, self.settings = self.tracker, packed
        if not packed:
            self.tracker, self._columns = None, []
            return
        try:
            settings = IncidentsConfig.model_validate_json(packed)
        except ValidationError as error:
            raise StateMismatchError(f"no settings of incidents: {error!s:.200}") from error
        fields = settings.fields or ()
        known = {name: column for column, name in enumerate(self._plan.text)}
        self._columns = [known.get(name) for name in fields]
        self.tracker = IncidentTracker(settings, self._detector, fields, self._fingerprint)
        if before is not None:
            self.tracker.restore(before.state())

    def use_own(self) -> bool:
        """Go by the configuration's settings; tells whether that changes anything."""
        if self.settings == self._own:
            return False
        self.use(self._own)
        return True

    def follow(
        self, events: EventBatch, receipt_of: ReceiptOf, outcome: BatchResult
    ) -> FollowingEvents | None:
        """Begin with a slice of events; None where there are no incidents."""
        if self.tracker is None:
            return None
        told = Following(self.tracker, self._detector, outcome)
        return FollowingEvents(told, events, receipt_of, self._columns)

    def at_tick(
        self, time_ms: int, shard: int, receipt: Place, outcome: BatchResult
    ) -> Following | None:
        """Begin with a tick: time has come to ``time_ms``; None where there are no incidents."""
        if self.tracker is None:
            return None
        told = Following(self.tracker, self._detector, outcome)
        told.stand(Cause(TopicPartition("", shard), time_ms), time_ms, receipt)
        return told

    def act(
        self, act: IncidentAct, cause: Cause, now_ms: int, receipt: Place, outcome: BatchResult
    ) -> bool:
        """Take in who sees to an incident, or for how long nobody is to hear of it.

        Args:
            act: what was written.
            cause: where it stands on the control topic.
            now_ms: the watermark, or the last tick's time.
            receipt: what the message says of the state.
            outcome: takes the message.

        Returns:
            Whether an incident of the name is open here.
        """
        if self.tracker is None:
            return False
        told = Following(self.tracker, self._detector, outcome)
        told.stand(cause, now_ms, receipt)
        until_ms = NO_TIMESTAMP if act.until is None else time_ms_of(act.until)
        take = self.tracker.snooze if isinstance(act, Snooze) else self.tracker.acknowledge
        changes = take(act.incident, act.owner, until_ms, act.why)
        told.add(changes)
        return bool(changes)

    @property
    def due_ms(self) -> int | None:
        """The first time at which a tick would change anything; None where none would."""
        return None if self.tracker is None else self.tracker.due_ms

    def learn(self) -> None:
        """A chunk of events is full: what is usual takes in what came in it."""
        if self.tracker is not None:
            self.tracker.learn()

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        if self.tracker is not None:
            self.tracker.go_back(mark_ms)

    def state(self) -> State:
        """``incidents``: the tracker's state, and its settings; nothing without any."""
        if self.tracker is None:
            return {}
        return {"incidents": {"settings": self.settings, "tracker": self.tracker.state()}}

    def restore(self, state: State) -> None:
        """Take a pipeline's state in; one without incidents goes on without them.

        Raises ``StateMismatchError`` where it makes no sense.
        """
        self.use("")
        if state.get("incidents") is None:
            return
        branch = read_branch(state, "incidents")
        settings = branch.get("settings")
        if not isinstance(settings, str) or not settings:
            raise StateMismatchError("the state has incidents without their settings")
        self.use(settings)
        assert self.tracker is not None
        self.tracker.restore(read_branch(branch, "tracker"))
