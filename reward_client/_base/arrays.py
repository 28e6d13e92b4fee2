"""Arrays and columns of other libraries, as Python's own lists and numbers.

No library is imported: each offers one of a few methods. NumPy, PyTorch, JAX, pandas and pyarrow
have ``tolist``, pyarrow's chunked arrays ``to_pylist`` and its scalars ``as_py``, polars
``to_list``, and TensorFlow ``__array__``.
"""

from __future__ import annotations

from typing import Any, Protocol

_PROTOCOLS = ("tolist", "to_pylist", "to_list", "as_py", "__array__")


class Array(Protocol):
    """An array or a column: of NumPy, PyTorch, JAX, pandas or pyarrow."""

    def tolist(self) -> Any:
        """Return Python's own lists and numbers."""
        ...


def is_array(value: object) -> bool:
    """Return whether `to_builtin` changes the value."""
    kind: type[object] = type(value)
    return kind.__module__ != "builtins" and any(hasattr(kind, name) for name in _PROTOCOLS)


def to_builtin(value: object) -> object:
    """Return an array, a column or a scalar as Python's own value; other values unchanged.

    The elements of an array of objects stay as they are.

    Raises:
        Exception: The errors of the object's own methods.
    """
    if not is_array(value):  # such as a memoryview, which has tolist and holds bytes
        return value
    kind: Any = type(value)
    read = next(getattr(kind, name) for name in _PROTOCOLS if hasattr(kind, name))
    return to_builtin(read(value))  # a scalar may hold an array
