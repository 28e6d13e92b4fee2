"""Progress bars, on terminals and in notebooks only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypedDict, Unpack

if TYPE_CHECKING:
    from tqdm import tqdm


class BarOptions(TypedDict, total=False):
    """The options of tqdm that this package uses."""

    total: int | None
    initial: int
    desc: str
    unit: str
    unit_scale: bool
    bar_format: str


def progress_bar(*, is_shown: bool = True, **options: Unpack[BarOptions]) -> tqdm[NoReturn]:
    """Return a progress bar, which shows nothing in a file or a pipe.

    Args:
        is_shown: False for a bar that shows nothing anywhere.
        options: The options of tqdm.
    """
    from tqdm.auto import tqdm

    # The output of a notebook is no terminal.
    in_notebook = any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
    return tqdm(disable=not is_shown or (False if in_notebook else None), **options)
