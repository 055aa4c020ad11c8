"""Base class of every section of the configuration and of every detector's parameters.

It lies below both, so that a detector declares its parameters in its own file and the configuration
asks the detectors for them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change after loading.

    Messages of validators quote no values: they may be secrets.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True
    )


Name = Annotated[str, Field(min_length=1, max_length=200)]
