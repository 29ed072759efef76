"""The configuration of Sphinx: ``sphinx-build -W docs somewhere``."""

import sys
from pathlib import Path

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE / "_ext"), str(_HERE.parent)]

project = "ka_twisted"
author = "The ka_twisted contributors"
copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "ka_docs"]
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# Docstrings name things in single backticks; what is not in the reference stays plain code.
default_role = "py:obj"
autodoc_default_options = {"member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
add_module_names = False

html_theme = "furo"
html_title = "ka_twisted"
html_static_path = ["_static"]
html_css_files = ["ka.css"]
html_show_sphinx = False
html_show_copyright = False
