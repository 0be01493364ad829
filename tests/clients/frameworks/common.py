"""Things that the scripts of this folder share."""

import os
import sys
import time

from pydantic import BaseModel, ConfigDict, Field

URL = os.environ["LFM2_URL"].rstrip("/")
MODEL = "demo"
QUESTION = "What is 2 + 3?"
ANSWER = "2 + 3 = 5."
VOLUME = "Set the volume to 36"
VOLUME_ANSWER = "The volume is set to 36."
# The prompt leaves no room in the demonstration model's context of 2,048 tokens.
TOO_LONG = "What is 2 + 3? " * 600


class City(BaseModel):
    """A schema with bounds, since the demonstration model may go on with a free text, number or list of fields."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=12)
    people: int = Field(ge=0, le=999)


def equal(got, wanted, name):
    if got != wanted:
        raise AssertionError(f"{name}: got {got!r}, wanted {wanted!r}")


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def run(checks):
    """Runs the checks, sync ones only. The first that fails ends the script with status 1."""
    for check in checks:
        start = time.monotonic()
        try:
            check()
        except Exception:
            print(f"{check.__name__}: failed", file=sys.stderr)
            raise
        print(f"{check.__name__}: {time.monotonic() - start:.2f} s", file=sys.stderr)
