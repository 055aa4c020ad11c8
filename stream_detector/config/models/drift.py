"""The section `drift`: what is watched for a lasting change, and what answers one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from stream_detector.config.models.base import MANY_EVENTS, Model, Name, Text

_Moderate = Field(ge=-1e9, le=1e9)
_REMEMBERED = ("window_size", "stat_size", "max_buckets")
_LONGEST_MEMORY = 10_000


def _short_memory(parameters: dict[str, Any]) -> dict[str, Any]:
    for name in _REMEMBERED:
        if isinstance(value := parameters.get(name), int | float) and value > _LONGEST_MEMORY:
            raise ValueError(f"{name} is at most {_LONGEST_MEMORY:,}: each watched column has one")
    return parameters


class DriftConfig(Model):
    """Watch for drift. The means of 32 events each are held against those that came before."""

    on: Literal["score", "inputs", "error"] = Field(
        description="`score`: the model's; `inputs`: each feature by itself; `error`: log loss of "
        "a classifier on labels, as they come."
    )
    method: Literal["adwin", "page_hinkley", "kswin"] = Field(
        "adwin", description="Detector of `river.drift`."
    )
    parameters: Annotated[
        dict[Name, Annotated[float, _Moderate] | Annotated[int, _Moderate] | Text],
        Field(max_length=20),
        AfterValidator(_short_memory),
    ] = Field(
        default_factory=dict,
        description="Its parameters. Default: `delta: 0.002` for `adwin` and `alpha: 1e-5` "
        "for `kswin`, shared among the features watched; `delta: 0.5, threshold: 50` for "
        "`page_hinkley`, in standard deviations of a block's mean.",
    )
    begin: int = Field(
        10_000,
        ge=0,
        le=MANY_EVENTS,
        description="First events of a stream (for `error`: first labels) that it does not see: a "
        "young model changes by itself.",
    )
    answer: Literal["none", "faster", "reset"] = Field(
        "none",
        description="`none`: log and metric only. `faster`: the scaler keeps the weight of "
        "`events` only, and each chunk of the next `events` is learnt `times` times. `reset`: the "
        "model, or its `member`, begins anew, and the scaler keeps one chunk's weight.",
    )
    times: int = Field(3, ge=2, le=20, description="How often `faster` learns each chunk.")
    events: int = Field(10_000, ge=1, le=1_000_000_000, description="How long `faster` lasts.")
    member: Name | None = Field(
        None,
        description="What `reset` resets, of `adaptive_ensemble` `forest`, `loda` or `neighbours`, "
        "of `ensemble` `fourier` or `autoencoder` as well, of a classifier `network` or `trees`; "
        "default: all of the model.",
    )

    @model_validator(mode="after")
    def _member_of_reset(self) -> DriftConfig:
        if self.member is not None and self.answer != "reset":
            raise ValueError("member belongs to `answer: reset`")
        return self
