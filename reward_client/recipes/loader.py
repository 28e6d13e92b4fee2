"""Reading recipes: from a file of the caller's, or from the catalogue, which is read once."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from importlib import resources
from os import PathLike
from pathlib import Path

from pydantic import ValidationError

from reward_client._base.json_values import as_mapping
from reward_client._base.wording import describe_type
from reward_client.errors import RecipeError
from reward_client.recipes.schema import Recipe

_FILES = (".toml", ".json")
"""How the names of files end that hold recipes: those of one's own, and manifests of exports."""

_MOST_BYTES = 8 << 20
"""More than a manifest has with hundreds of references; what is larger is something else."""
_SHOWN_FAULTS = 10
_SHOWN_CHARACTERS = 200


def load_recipe(path: str | Path) -> Recipe:
    """The recipe in a TOML file, or in a JSON file, such as the manifest of an exported checkpoint.

    Its name is the file's, unless the file gives one.

    Raises:
        RecipeError: The file cannot be read, or what is in it is no recipe.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = error.strerror if isinstance(error, OSError) else error
        raise RecipeError(f"The recipe {file} cannot be read: {why}.") from error
    if len(content) > _MOST_BYTES:
        raise RecipeError(f"The recipe {file} is larger than {_MOST_BYTES >> 20} MiB: it is none.")
    return _parse(content, file.stem, str(file))


def find_recipe(name: str) -> Recipe | None:
    """What is known of a model, or None.

    Args:
        name: A Hugging Face ID in any case; a folder that is called like the model; or the name of
            a recipe, which leaves out the reference values that hold for one model of several.
    """
    wanted = name.casefold().replace("\\", "/").rstrip("/")
    return _index().get(wanted) or _index().get(_last_component(wanted))


def named_recipe(choice: str | PathLike[str]) -> Recipe:
    """The recipe of a name, as `find_recipe` knows it, or in the file of a path.

    Raises:
        RecipeError: There is none, or it is broken.
    """
    if not isinstance(choice, str | PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RecipeError(f"recipe= must be a name or a path, not {describe_type(choice)}.")
    named = find_recipe(choice) if isinstance(choice, str) else None
    if named is not None:
        return named
    if not isinstance(choice, str) or choice.endswith(_FILES):
        return load_recipe(Path(choice))
    near = difflib.get_close_matches(choice, [*recipe_names(), *catalogue()], cutoff=0.5)
    raise RecipeError(
        f"There is no recipe for {choice!r}. "
        + (f"Near it: {', '.join(near)}. " if near else "`reward-client recipe` lists all. ")
        + f"The path of a file of yours must end in {' or '.join(_FILES)}."
    )


def recipe_names() -> tuple[str, ...]:
    """The models that there are recipes for, sorted."""
    models = (model for recipe in catalogue().values() for model in recipe.models)
    return tuple(sorted(models, key=str.casefold))


@functools.cache
def catalogue() -> Mapping[str, Recipe]:
    """The recipes of this package by name."""
    folder = resources.files("reward_client.recipes") / "catalogue"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    recipes = (
        _parse(file.read_bytes(), file.name.removesuffix(".toml"), file.name) for file in files
    )
    return {recipe.name: recipe for recipe in recipes}


@functools.cache
def _index() -> Mapping[str, Recipe]:
    """The recipes by their names, by their models' IDs, and by the IDs' last components."""
    index: dict[str, Recipe] = {}
    for recipe in catalogue().values():
        index[recipe.name] = recipe.for_model(*recipe.models)
        for model in recipe.models:
            key = model.casefold()
            index[key] = index[_last_component(key)] = recipe.for_model(model)
    return index


def _last_component(name: str) -> str:
    return name.rpartition("/")[2]


def _parse(content: bytes, name: str, where: str) -> Recipe:
    kind = "JSON" if where.endswith(".json") else "TOML"
    try:
        table = _json_table(content) if kind == "JSON" else _toml_table(content)
        # Through JSON: there, an array is a tuple to a strict model.
        return Recipe.model_validate_json(json.dumps({"name": name, **table}))
    except ValidationError as error:
        raise RecipeError(f"The recipe {where} is not valid. {_reasons(error)}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise RecipeError(
            f"The recipe {where} is not a {kind} file of a recipe: {error}."
        ) from error


def _toml_table(content: bytes) -> dict[str, object]:
    import tomllib  # a client that needs no recipe does without a TOML parser

    return tomllib.loads(content.decode("utf-8"))


def _json_table(content: bytes) -> Mapping[str, object]:
    table = as_mapping(json.loads(content, object_pairs_hook=_without_doubles))
    if table is None:
        raise ValueError("it holds no object")
    return table


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object; the last of two values for one key would win otherwise."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return table


def _reasons(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    reasons = [
        f"{'.'.join(map(str, item['loc']))[:_SHOWN_CHARACTERS] or 'recipe'}: {item['msg']}."
        for item in found[:_SHOWN_FAULTS]
    ]
    more = len(found) - len(reasons)
    return " ".join([*reasons, f"And {more} more."] if more else reasons)
