"""An unpickler that accepts only the globals on an allow-list.

A pickle is a program: loading one can call any function that it names. What it names is looked up by `find_class`,
so nothing that is not on the list can be reached.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, ClassVar


def printable(found: object) -> str:
    """Returns what a file brought as text for a message: it may hold line breaks, or commands of a terminal."""
    return ascii(str(found))[1:-1][:200]


class RefusedName(pickle.UnpicklingError):
    """The pickle names something that is not on the list; the text is that name."""


class RefusingUnpickler(pickle.Unpickler):
    """Base of the unpicklers here.

    Attributes:
      admitted: what a pickle may name, by module and name, and what it gets for it.
    """

    admitted: ClassVar[Mapping[tuple[str, str], Any]] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Returns what is admitted under a name. Raises `RefusedName` for any other."""
        try:
            return self.admitted[module_name, global_name]
        except KeyError:
            raise RefusedName(printable(f"{module_name}.{global_name}")) from None
