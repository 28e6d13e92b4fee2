"""Sphinx configuration."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

import reward_client

project = "reward_client"
author = "the reward_client contributors"
copyright = "the reward_client contributors"
release = version = reward_client.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
copybutton_exclude = ".linenos, .gp, .go"
default_role = "py:obj"
html_theme = "furo"
pygments_dark_style = "github-dark"  # the theme's own underlines module names
html_title = f"reward_client {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css", "pictures.css"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Types of other projects, whose documentation is not loaded at build time; and aliases, whose
# values are listed where they are used.
nitpick_ignore_regex = [
    ("py:class", r"(collections\.abc|httpx|openai|pathlib)\..*"),
    ("py:class", r"(NonNegative|Positive)(Float|Int)|Aggregate|Check|FindingStatus"),
    ("py:class", r"EngineName|Head|HeadChoice|On(ControlTokens|Overlong|Unanswered)|RecipeChoice"),
    ("py:class", r"RouteChoice|ServerActivation|_Errors"),
    (
        "py:class",
        r"BaseUrl|Columns|(\w+\.)*(IntegrationOptions|ScorerOptions)|LogprobsMode|Method|SharedOptions|TokenizerChoice|(os\.)?PathLike",
    ),
    ("py:class", r"reward_client\._base\.arrays\.Array"),
    ("py:class", r"reward_client\._rows\.tables\.(ColumnTable|Frame|TableT)"),
    ("py:class", r"reward_client\.evaluation\.(rows\.BenchmarkRow|units\.(Totals|Unit))"),
    ("py:class", r"Transform|datetime|reward_client\.integrations\.slime\.SlimeSample"),
    ("py:class", r"reward_client\.recipes\.schema\.(\w+Table|Turn|Digest)"),
]


def put_pictures_inline(app: Sphinx, page: nodes.document) -> None:
    """Put the pictures into the page: there they follow its scheme, and their text is text."""
    for image in list(page.findall(nodes.image)):
        picture = Path(app.srcdir, app.env.docname).parent / image["uri"]
        if picture.suffix == ".svg":
            app.env.note_dependency(picture)
            svg = re.sub(r"<style>.*?</style>", "", picture.read_text("utf-8"), flags=re.DOTALL)
            frame = f'<span class="picture-frame">{svg}</span>'
            image.replace_self(nodes.raw("", frame, format="html"))


def mark_long_code(app: Sphinx, page: nodes.document) -> None:
    """Mark the code that is too long for a narrow page: the style sheet lets it break."""
    for code in page.findall(nodes.literal):
        if max(map(len, code.astext().split()), default=0) > 31:
            code["classes"].append("long")


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", mark_long_code)
    # Before Sphinx collects the images, at 500.
    app.connect("doctree-read", put_pictures_inline, priority=400)
