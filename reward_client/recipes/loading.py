"""Reading recipes: from a file of the caller's, or from the catalogue, which is read once."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from reward_client.errors import RecipeError
from reward_client.recipes.recipe import Recipe

__all__ = ["catalogue", "find_recipe", "load_recipe", "recipe_names"]


def load_recipe(path: str | Path) -> Recipe:
    """The recipe in a TOML file; its name is the file's, unless the file gives one.

    Raises:
        RecipeError: The file cannot be read, or what is in it is no recipe.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = error.strerror if isinstance(error, OSError) else error
        raise RecipeError(f"The recipe {file} cannot be read: {why}.") from error
    return _parse(content, file.stem, str(file))


def find_recipe(name: str) -> Recipe | None:
    """What is known of a model, or None.

    Args:
        name: A Hugging Face ID in any case; a folder that is called like the model; or the name of
            a recipe, which leaves out the reference values that hold for one model of several.
    """
    wanted = name.casefold().replace("\\", "/").rstrip("/")
    return _index().get(wanted) or _index().get(_last_component(wanted))


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
    import tomllib  # a client that needs no recipe does without a TOML parser

    try:
        table = tomllib.loads(content.decode("utf-8"))
        # Through JSON: there, an array is a tuple to a strict model.
        return Recipe.model_validate_json(json.dumps({"name": name, **table}))
    except ValidationError as error:
        raise RecipeError(f"The recipe {where} is not valid. {_reasons(error)}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise RecipeError(f"The recipe {where} is not a TOML file of a recipe: {error}.") from error


def _reasons(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return " ".join(
        f"{'.'.join(map(str, item['loc'])) or 'recipe'}: {item['msg']}." for item in found
    )
