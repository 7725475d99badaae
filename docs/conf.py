"""How the documentation is built: ``sphinx-build -W -b html docs docs/_build/html``.

The environment variable ``SKCNN_GALLERY`` chooses the examples that are run: "all" (the default),
"quick" (those that need no download) or "none". Where Fashion-MNIST is neither on the disk nor in
reach, "all" is "quick", so that the site can be built without a network.
"""

import inspect
import os
import re
import sys
from pathlib import Path
from pkgutil import resolve_name

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("MPLBACKEND", "Agg")

from numpydoc.docscrape import NumpyDocString  # noqa: E402
from sphinx.directives.code import LiteralInclude  # noqa: E402
from sphinx.util.docutils import SphinxDirective  # noqa: E402

import skcnn  # noqa: E402
from skcnn.datasets import fetch_fashion_mnist  # noqa: E402

project = "skcnn"
author = "The skcnn developers"
copyright = "the skcnn developers"  # noqa: A001
version = release = skcnn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "myst_parser",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
nitpicky = True  # a reference that leads nowhere is an error

# API reference: the types are in the docstrings.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
autosummary_generate = True
numpydoc_show_class_members = False
nitpick_ignore_regex = [("std:ref", "r2_score|accuracy_score")]  # in scikit-learn's docstrings


def of_scikit_learn(app, what, name, obj, skip, options):
    """Leave out the methods that are the same for every estimator of scikit-learn."""
    is_routing = re.fullmatch("get_metadata_routing|set_.*_request|set_output", name)
    return True if is_routing else None


# guide/mathematics.rst consists of the package's own docstrings and code. Both directives take the
# name of an object of skcnn as ``pkgutil.resolve_name`` does: "_nn.dense:Dense.forward".


class DocstringOf(SphinxDirective):
    """``.. docstring-of:: name`` includes what a docstring says before its first section."""

    required_arguments = 1

    def run(self):
        """Return the nodes of the text and of its equations."""
        described = resolve_name(f"skcnn.{self.arguments[0]}")
        self.env.note_dependency(inspect.getsourcefile(described))
        docstring = NumpyDocString(inspect.getdoc(described))
        lines = [*docstring["Summary"], "", *docstring["Extended Summary"]]
        return self.parse_text_to_nodes("\n".join(lines))


class CodeOf(LiteralInclude):
    """``.. code-of:: name`` includes the code of a function or class, under its file and name."""

    def run(self):
        """Return the nodes of the code."""
        module, _, name = self.arguments[0].partition(":")
        file = f"skcnn/{module.replace('.', '/')}.py"
        self.arguments = [f"/../{file}"]
        self.options |= {"pyobject": name, "caption": f"{name} in {file}", "dedent": None}
        return super().run()


def setup(app):
    """Connect what is defined above."""
    app.connect("autodoc-skip-member", of_scikit_learn)
    app.add_directive("docstring-of", DocstringOf)
    app.add_directive("code-of", CodeOf)


# Other projects: the few objects that are referred to are listed in docs/inventories, so that the
# site is the same with and without a network.
OTHERS = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "sklearn": "https://scikit-learn.org/stable/",
    "joblib": "https://joblib.readthedocs.io/en/stable/",
}
intersphinx_mapping = {name: (url, f"inventories/{name}.inv") for name, url in OTHERS.items()}

# Gallery.
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
WITHOUT_DOWNLOAD = [path for path in EXAMPLES if "fetch_" not in path.read_text("utf-8")]


def examples_to_run(wanted):
    """Return the paths of the examples that are run."""
    chosen = {"all": EXAMPLES, "quick": WITHOUT_DOWNLOAD, "none": []}[wanted]
    if chosen == EXAMPLES:
        try:
            fetch_fashion_mnist()
        except OSError as error:
            print(f"Fashion-MNIST is not available ({error}): its examples are not run.")
            return WITHOUT_DOWNLOAD
    return chosen


run = examples_to_run(os.environ.get("SKCNN_GALLERY", "all"))
plot_gallery = str(bool(run))
sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples"),
    "gallery_dirs": "auto_examples",
    "filename_pattern": "|".join(re.escape(path.name) for path in run) or "^$",
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "image_srcset": ["2x"],
    "doc_module": ("skcnn",),
    "backreferences_dir": "api/generated/backreferences",
    "reference_url": {"skcnn": None},
}

# Appearance. The figures of MathJax, fonts and icons are all in the site itself.
html_theme = "pydata_sphinx_theme"
html_title = "skcnn"
html_static_path = ["_static"]
html_css_files = ["skcnn.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "skcnn"},
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"changelog": [], "contributing": []}
copybutton_exclude = ".linenos, .gp, .go"
