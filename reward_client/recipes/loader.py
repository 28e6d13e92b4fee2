"""Load recipes from files and from the catalogue, which is read once."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Mapping
from importlib import resources
from os import PathLike
from pathlib import Path

from pydantic import ValidationError

from reward_client._base.json_values import as_mapping
from reward_client._base.regular_file import open_regular
from reward_client._base.unique_keys import unique_keys
from reward_client._base.wording import describe_type
from reward_client.errors import RecipeError
from reward_client.recipes.model_names import anywhere, is_quantization, keys_in, model_key
from reward_client.recipes.schema import Recipe

_SUFFIXES = (".toml", ".json")
"""A recipe of the caller is a TOML file; the manifest of an export is a JSON file."""

_MAX_BYTES = 8 << 20
"""More than a manifest with hundreds of references needs."""
_MAX_PROBLEMS = 10
_MAX_PATH_CHARACTERS = 200


def load_recipe(path: str | Path) -> Recipe:
    """Load a recipe from a TOML file, or from a JSON file such as the manifest of an export.

    The name of the file is the name of the recipe, unless the file contains a name.

    Raises:
        RecipeError: If the file cannot be read, or is not a valid recipe.
    """
    file = Path(path)
    try:
        with open_regular(file) as opened:
            content = opened.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: an impossible file name
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecipeError(f"Cannot read the recipe {file}: {reason}.") from error
    if len(content) > _MAX_BYTES:
        raise RecipeError(
            f"Cannot read the recipe {file}: it is larger than {_MAX_BYTES >> 20} MiB. Check "
            "whether it is the right file."
        )
    return _parse(content, file.stem, str(file))


def find_recipe(name: str) -> Recipe | None:
    """Return the recipe of a model in the catalogue, or None.

    Args:
        name: A Hugging Face ID in any case; the folder of a mirror, cache or registry; or the name
            of a recipe, which selects only reference values that hold for all its models. The name
            of a copy in another precision selects no reference values: its rewards differ.
    """
    family = catalogue().get(name.casefold())
    return recipe_of_model(name) if family is None else family.for_model(*family.models)


def recipe_of_model(location: str) -> Recipe | None:
    """Return the recipe of the model that a location names, or None.

    Args:
        location: A hub ID, the folder of a mirror, cache or registry, or a served name. The name
            of a copy in another precision selects no reference values: its rewards differ.
    """
    known = _by_model()
    for key in keys_in(location):
        begins = [each for each in known if key == each or key.startswith(f"{each}-")]
        if begins:
            longest = max(begins, key=len)
            recipe, end = known[longest], key[len(longest) :]
            if not end:
                return recipe
            return recipe.model_copy(update={"references": ()}) if is_quantization(end) else None
    return None


def similar_model(location: str) -> str | None:
    """Return the ID of the known model whose name a location holds among other words, or None.

    Such a model may be a copy or a successor of the known one, or be trained further.
    """
    if recipe_of_model(location) is not None:
        return None
    key = model_key(location)
    return next((model for words, model in _by_words().items() if words.search(key)), None)


def named_recipe(choice: str | PathLike[str]) -> Recipe:
    """Return the recipe with a name that `find_recipe` knows, or load it from a path.

    Raises:
        RecipeError: If the recipe does not exist or is invalid.
    """
    if not isinstance(choice, str | PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RecipeError(f"recipe= must be a name or a path, not {describe_type(choice)}.")
    named = find_recipe(choice) if isinstance(choice, str) else None
    if named is not None:
        return named
    if not isinstance(choice, str) or choice.endswith(_SUFFIXES):
        return load_recipe(Path(choice))
    similar = difflib.get_close_matches(choice, [*recipe_names(), *catalogue()], cutoff=0.5)
    raise RecipeError(
        f"There is no recipe for {choice!r}. "
        + (
            f"Similar names: {', '.join(similar)}. "
            if similar
            else "`reward-client recipe` lists all names. "
        )
        + f"The path of a recipe file must end in {' or '.join(_SUFFIXES)}."
    )


def recipe_names() -> tuple[str, ...]:
    """Return the Hugging Face IDs of all models with a recipe, sorted."""
    models = (model for recipe in catalogue().values() for model in recipe.models)
    return tuple(sorted(models, key=str.casefold))


@functools.cache
def catalogue() -> Mapping[str, Recipe]:
    """Return the recipes of this package by name."""
    folder = resources.files("reward_client.recipes") / "catalogue"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    recipes = (
        _parse(file.read_bytes(), file.name.removesuffix(".toml"), file.name) for file in files
    )
    return {recipe.name: recipe for recipe in recipes}


@functools.cache
def _by_model() -> Mapping[str, Recipe]:
    """Map the keys of model IDs, with and without the organization, to recipes."""
    return {
        model_key(name): recipe.for_model(model)
        for recipe in catalogue().values()
        for model in recipe.models
        for name in (model, model.rpartition("/")[2])
    }


@functools.cache
def _by_words() -> Mapping[re.Pattern[str], str]:
    """Map the words of the last parts of model IDs to the IDs, the longest name first."""
    models = sorted(recipe_names(), key=lambda model: -len(model.rpartition("/")[2]))
    return {anywhere(model_key(model.rpartition("/")[2])): model for model in models}


def _parse(content: bytes, name: str, path: str) -> Recipe:
    file_format = "JSON" if path.endswith(".json") else "TOML"
    try:
        table = _json_table(content) if file_format == "JSON" else _toml_table(content)
        # Through JSON, because a strict model accepts a JSON array as a tuple.
        return Recipe.model_validate_json(json.dumps({"name": name, **table}))
    except ValidationError as error:
        raise RecipeError(
            f"Cannot use the recipe {path}: it is invalid. {_problems(error)}"
        ) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise RecipeError(
            f"Cannot read the recipe {path}: it is not a {file_format} file of a recipe ({error})."
        ) from error


def _toml_table(content: bytes) -> dict[str, object]:
    import tomllib  # only here, so that a client without a recipe does not import it

    return tomllib.loads(content.decode("utf-8"))


def _json_table(content: bytes) -> Mapping[str, object]:
    table = as_mapping(json.loads(content, object_pairs_hook=unique_keys))
    if table is None:
        raise ValueError("it is not an object")
    return table


def _problems(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    problems = [
        f"{'.'.join(map(str, item['loc']))[:_MAX_PATH_CHARACTERS] or 'recipe'}: {item['msg']}."
        for item in details[:_MAX_PROBLEMS]
    ]
    more = len(details) - len(problems)
    return " ".join([*problems, f"And {more} more."] if more else problems)
