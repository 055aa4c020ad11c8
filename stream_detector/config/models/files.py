"""The section `files`: how a file of text is read where that cannot be found, or is found wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stream_detector.config.models.base import Model, Name


def known_encoding(name: str) -> str:
    """The name of an encoding of text as it is. Raises ``ValueError`` for any other."""
    try:
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"{name} is no encoding known here; utf-8, utf-16, windows-1252, iso-8859-15 and "
            "shift_jis are some"
        ) from error
    return name


def usable_delimiter(name: str) -> str:
    """A delimiter, with words for those that are hard to write. Raises ``ValueError``."""
    named = {"tab": "\t", "\\t": "\t", "blank": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
    delimiter = named.get(name, name)
    if (
        not delimiter
        or delimiter in ("\n", "\r", '"')
        or delimiter.isalnum() != (delimiter == "blanks")
    ):
        raise ValueError('a delimiter is `blanks`, `tab`, or one or two characters like ";"')
    return delimiter


class FilesConfig(Model):
    """Reading of text files by `evaluate`, `train` and `tune`; what is absent is found."""

    encoding: Annotated[Name, AfterValidator(known_encoding)] | None = Field(
        None, description="Encoding of the text, e.g. `windows-1252`, `utf-16`, `shift_jis`."
    )
    delimiter: Annotated[str, AfterValidator(usable_delimiter), Field(max_length=9)] | None = Field(
        None,
        description='What stands between two cells: `";"`, `tab`, `"|"`, or `blanks` for any '
        "number of blanks and tabs.",
    )
    quote: Literal['"', "'", "`", ""] | None = Field(
        None, description="The character around cells that hold a delimiter; `''` for none."
    )
    header: bool | None = Field(
        None, description="Whether the first row names the columns (`event.columns` does else)."
    )
    comment: Annotated[str, Field(max_length=4)] | None = Field(
        None, description="What lines begin with that are no records; `''` for none."
    )
