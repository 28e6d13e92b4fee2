"""What is known of reward models, as data: one TOML file for each family in ``catalogue``."""

from reward_client.recipes.loading import catalogue, find_recipe, load_recipe, recipe_names
from reward_client.recipes.recipe import (
    HeadTable,
    ObjectivesTable,
    PromptTable,
    Recipe,
    Reference,
    ScalarTable,
    StepsTable,
    Turn,
)

__all__ = [
    "HeadTable",
    "ObjectivesTable",
    "PromptTable",
    "Recipe",
    "Reference",
    "ScalarTable",
    "StepsTable",
    "Turn",
    "catalogue",
    "find_recipe",
    "load_recipe",
    "recipe_names",
]
