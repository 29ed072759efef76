"""How ka_twisted is built and what it needs. The tables of the tools are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="ka_twisted",
    version="0.1.0",
    description="An HTTP server framework for Twisted whose subject is the connection",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The ka_twisted contributors",
    license="MIT",
    license_files=["LICENSE"],
    keywords="http server twisted keep-alive persistent connection pipelining 100-continue",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Internet :: WWW/HTTP :: HTTP Servers",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["ka_twisted", "ka_twisted.*"]),
    package_data={"ka_twisted": ["py.typed"], "ka_twisted.admin": ["*.css", "*.html", "*.js"]},
    # A module, not a package: the folder that holds it belongs to Twisted and must stay without
    # an __init__.py of ours, or Twisted would take it for a copy of itself and not look inside.
    py_modules=["twisted.plugins.ka_twisted_plugins"],
    zip_safe=False,
    install_requires=["tomli; python_version < '3.11'", "twisted>=24.7", "zope.interface"],
    extras_require={
        # pyOpenSSL takes certificates of cryptography since 24.3, which tells times with their zone since 42.
        "tls": ["cryptography>=42", "pyopenssl>=24.3", "twisted[tls]>=24.7"],
        # Young, hence pinned below its next minor.
        "http2": ["ngh2>=0.3,<0.4"],
        "uvloop": ["uvloop; platform_system != 'Windows'"],
        "metrics": ["prometheus-client"],
        "test": [
            "build",
            "coverage[toml]",
            "h11",
            "hypothesis",
            # The schemas of what is deployed to Kubernetes.
            "kubernetes-validate",
            "prometheus-client",
            # What Twisted's own tests need, which the reactor on uvloop is examined by.
            "pyhamcrest",
            "pytest>=8",
            "pytest-twisted>=1.14",
            "pyyaml",
            "twisted[tls]>=24.7",
            "uvloop; platform_system != 'Windows'",
        ],
        "lint": ["mypy>=2.4,<2.5", "mypy-zope>=1.0.17", "ruff>=0.17,<0.18"],
        "bench": ["matplotlib"],
        "docs": ["furo", "myst-parser", "sphinx"],
    },
)
