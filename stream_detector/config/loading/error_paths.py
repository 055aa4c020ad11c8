"""Follows pydantic's ``loc`` through the models, for it is not a path in the data.

Inside a tagged union pydantic puts the tag into ``loc``: ``('features', 0, 'ratio', 'ratio', 1)``
is the second entry of ``features[0].ratio``. Which step is a tag only the annotations know.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag

from stream_detector.config.loading.diagnostics import Path
from stream_detector.config.models.config import Config
from stream_detector.detectors.base import DetectorConfig
from stream_detector.detectors.registry import find_detector, kinds


@dataclass(frozen=True, slots=True)
class Target:
    """Target of a ``loc``: the path in the data and the model there.

    Attributes:
        path: of the value, in the data.
        owner: the model whose field the last step named, None within lists and free mappings.
        annotation: the type expected at ``path``, None where there is none.
    """

    path: Path
    owner: type[BaseModel] | None
    annotation: Any

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a ``Literal``, the tags of a union told apart by ``kind``."""
        if get_origin(self.annotation) is Literal:
            return get_args(self.annotation)
        if self.annotation is DetectorConfig:
            return kinds()
        return tuple(tagged_members(self.annotation) or ())


def locate(loc: Sequence[str | int], root: type[BaseModel] = Config) -> Target:
    """The target of ``loc``, which begins at ``root``."""
    path: Path = ()
    owner: type[BaseModel] | None = None
    here: Any = root
    for step in loc:
        if here is DetectorConfig:  # the step is the kind, which validation has looked up
            here = find_detector(str(step)).config
            continue
        members = tagged_members(here)
        if members is None and _is_tag(step, here):
            continue
        if members is not None and step in members:
            here = members[str(step)]
            continue
        path = (*path, step)
        owner = None
        if isinstance(here, type) and issubclass(here, BaseModel):
            owner = here
            field = here.model_fields.get(str(step))
            here = plain(field.annotation) if field is not None else None
        elif get_origin(here) in (list, tuple):
            arguments = get_args(here)
            index = step if isinstance(step, int) and step < len(arguments) else 0
            here = plain(arguments[index])
        else:
            here = None
    return Target(path, owner, here)


def _is_tag(step: str | int, model: Any) -> bool:
    """Tell whether a step is the tag of a union that has this model alone."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return False
    kind = model.model_fields.get("kind")
    return kind is not None and kind.default == step and step not in model.model_fields


def plain(annotation: Any) -> Any:
    """``annotation`` without ``Annotated`` and without ``| None``."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return plain(members[0])
    return annotation


def tagged_members(annotation: Any) -> dict[str, type[BaseModel]] | None:
    """The models of a tagged union by tag; None for everything else."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return None
    members: dict[str, type[BaseModel]] = {}
    for member in get_args(annotation):
        model = plain(member)
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return None
        tags = [data.tag for data in getattr(member, "__metadata__", ()) if isinstance(data, Tag)]
        members[tags[0] if tags else model.model_fields["kind"].default] = model
    return members
