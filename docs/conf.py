"""How Sphinx builds the site: pages in Markdown, chapters of the lab executed, reference from docstrings."""

import logging
import os
from pathlib import Path

import gridnn

# Kernels that execute chapters draw SVG; see _kernel/profile_default.
os.environ["IPYTHONDIR"] = str(Path(__file__).parent / "_kernel")

logging.getLogger("traitlets").setLevel(logging.WARNING)  # else a line per chapter

project = "gridnn"
author = "the gridnn developers"
project_copyright = f"2026, {author}"
release = version = gridnn.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_kernel"]
html_theme = "furo"
html_title = f"gridnn {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

# Every chapter runs on every build: a figure is what this version of the library draws.
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_output_stderr = "error"
nb_merge_streams = True

autodoc_mock_imports = ["aeon"]  # the base class of gridnn.aeon, which needs other releases of NumPy
autodoc_typehints = "none"  # the signature would repeat what the text says, at greater length
autodoc_member_order = "bysource"
default_role = "py:obj"  # `name` in a docstring links to the name if there is such a page
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [
    "Input shape",
    "Output shape",
    "Weights",
]


def setup(app):
    """Pages that are files of the repository as well keep links that work there."""

    def adapt(app, name, source):
        source[0] = source[0].replace("](../CONTRIBUTING.md)", "](contributing.md)")

    app.connect("source-read", adapt)
