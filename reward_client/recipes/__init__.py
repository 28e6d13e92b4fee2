"""Recipes: facts about families of reward models, each in a TOML file of ``catalogue``.

The manifest of an exported checkpoint is a recipe in JSON.
"""

from reward_client.recipes.loader import (
    catalogue,
    find_recipe,
    load_recipe,
    named_recipe,
    recipe_names,
)
from reward_client.recipes.schema import (
    EngineTable,
    ExportTable,
    HeadTable,
    LayerTable,
    ObjectivesTable,
    PromptTable,
    Recipe,
    Reference,
    ScalarTable,
    StepsTable,
    Turn,
    VerdictTable,
)

__all__ = [
    "EngineTable",
    "ExportTable",
    "HeadTable",
    "LayerTable",
    "ObjectivesTable",
    "PromptTable",
    "Recipe",
    "Reference",
    "ScalarTable",
    "StepsTable",
    "Turn",
    "VerdictTable",
    "catalogue",
    "find_recipe",
    "load_recipe",
    "named_recipe",
    "recipe_names",
]
