"""Results that behave as their number: in formats, arithmetic, order and arrays."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Callable
from numbers import Rational, Real
from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    import numpy as np


class NumberLike:
    """A mixin for an object with a number, which ``float(…)`` returns.

    Arithmetic gives a plain float. Equality and truth stay those of the object: two results with
    the same number may belong to different samples, and a reward of 0.0 is a reward.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # type checkers take the arguments from the fields of the class

        def __new__(cls, *given: Rational, **fields: object) -> Self | float:
            """Return a float for a fraction: `statistics` converts results to the type of its data.

            Everything else is the object's own matter.
            """
            is_fraction = len(given) == 1 and isinstance(given[0], Rational)
            if is_fraction and not isinstance(given[0], int):
                return float(given[0])
            return super().__new__(cls)

    @abstractmethod
    def __float__(self) -> float: ...

    def _check_order(self, other: NumberLike) -> None:
        """Raise TypeError if the order of the two numbers means nothing."""

    def __int__(self) -> int:
        return int(float(self))

    def __trunc__(self) -> int:
        return int(float(self))

    def as_integer_ratio(self) -> tuple[int, int]:
        """Return the number as a fraction, as `float.as_integer_ratio` does."""
        return float(self).as_integer_ratio()

    def __round__(self, digits: int | None = None) -> float:
        return round(float(self), digits)

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)

    def __array__(
        self,
        dtype: np.dtype[Any] | None = None,
        copy: bool | None = None,  # noqa: FBT001 - NumPy's protocol
    ) -> np.ndarray[Any, Any]:
        import numpy as np

        return np.asarray(float(self), dtype=dtype)

    def __neg__(self) -> float:
        return -float(self)

    def __pos__(self) -> float:
        return float(self)

    def __abs__(self) -> float:
        return abs(float(self))

    def __add__(self, other: object) -> float:
        return _calculate(operator.add, self, other)

    def __radd__(self, other: object) -> float:
        return _calculate(operator.add, other, self)

    def __sub__(self, other: object) -> float:
        return _calculate(operator.sub, self, other)

    def __rsub__(self, other: object) -> float:
        return _calculate(operator.sub, other, self)

    def __mul__(self, other: object) -> float:
        return _calculate(operator.mul, self, other)

    def __rmul__(self, other: object) -> float:
        return _calculate(operator.mul, other, self)

    def __truediv__(self, other: object) -> float:
        return _calculate(lambda one, two: one / two, self, other)

    def __rtruediv__(self, other: object) -> float:
        return _calculate(lambda one, two: one / two, other, self)

    def __floordiv__(self, other: object) -> float:
        return _calculate(lambda one, two: one // two, self, other)

    def __rfloordiv__(self, other: object) -> float:
        return _calculate(lambda one, two: one // two, other, self)

    def __mod__(self, other: object) -> float:
        return _calculate(operator.mod, self, other)

    def __rmod__(self, other: object) -> float:
        return _calculate(operator.mod, other, self)

    def __divmod__(self, other: object) -> tuple[float, float]:
        return cast("tuple[float, float]", _calculate(divmod, self, other))

    def __rdivmod__(self, other: object) -> tuple[float, float]:
        return cast("tuple[float, float]", _calculate(divmod, other, self))

    def __pow__(self, other: object) -> float:
        return _calculate(lambda one, two: one**two, self, other)

    def __rpow__(self, other: object) -> float:
        return _calculate(lambda one, two: one**two, other, self)

    def __lt__(self, other: object) -> bool:
        return self._compare(operator.lt, other)

    def __le__(self, other: object) -> bool:
        return self._compare(operator.le, other)

    def __gt__(self, other: object) -> bool:
        return self._compare(operator.gt, other)

    def __ge__(self, other: object) -> bool:
        return self._compare(operator.ge, other)

    def _compare(self, compare: Callable[[Any, Any], Any], other: object) -> bool:
        if isinstance(other, NumberLike):
            self._check_order(other)
        return cast("bool", _calculate(compare, self, other))


def _calculate(calculate: Callable[[Any, Any], Any], one: object, other: object) -> float:
    """Return a result over the numbers; NotImplemented lets Python ask the other object."""
    if not isinstance(one, NumberLike | Real) or not isinstance(other, NumberLike | Real):
        return cast("float", NotImplemented)
    return cast("float", calculate(_number(one), _number(other)))


def _number(value: NumberLike | Real) -> float | Real:
    return float(value) if isinstance(value, NumberLike) else value
