"""An unpickler that accepts only globals on an allow-list, so that loading a file cannot run code.

A pickle is a program: loading one can call any function that it names. Names are looked up by `find_class`, so nothing
off the list can be reached.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, ClassVar


def printable(found: object) -> str:
    """Returns a file's text in a form safe for messages: it may contain line breaks or terminal escapes."""
    return ascii(str(found))[1:-1][:200]


class RefusedName(pickle.UnpicklingError):
    """The pickle names something not on the list; the message is that name."""


class RefusingUnpickler(pickle.Unpickler):
    """Base class of the unpicklers here.

    Attributes:
      admitted: the globals that a pickle may name, by module and name, and what it gets instead.
    """

    admitted: ClassVar[Mapping[tuple[str, str], Any]] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Returns the object admitted under a name. Raises `RefusedName` for any other."""
        try:
            return self.admitted[module_name, global_name]
        except KeyError:
            raise RefusedName(printable(f"{module_name}.{global_name}")) from None
