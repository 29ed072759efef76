"""Which files the distribution holds. What it is and what it needs is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["ka_twisted", "ka_twisted.*"]),
    package_data={"ka_twisted": ["py.typed"], "ka_twisted.admin": ["*.css", "*.html", "*.js"]},
    data_files=[("share/man/man1", ["ka_twisted/service/configuration/twistd-keepalive.1"])],
    # A module, not a package: the folder that holds it belongs to Twisted and must stay without
    # an __init__.py of ours, or Twisted would take it for a copy of itself and not look inside.
    py_modules=["twisted.plugins.ka_twisted_plugins"],
    zip_safe=False,
)
