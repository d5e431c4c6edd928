"""A folder to start an adapter from: what goes in, what does not, texts in two languages, and a recipe."""

from __future__ import annotations

from pathlib import Path

from blends.base import BASE_ID

TEMPLATES = Path(__file__).parent / "templates"
KINDS = ("core", "domain", "isolated")


class FolderTaken(FileExistsError):
    """The folder holds something already; nothing is overwritten."""


def create(kind: str, folder: Path, base: str = BASE_ID, core: str = "core") -> tuple[Path, ...]:
    """Write the documented folder of one of KINDS; return the files. All of them, or none.

    `base` is what the policy will call the base model, `core` the name of the folder beside this one that holds
    the core of a domain. Raises FolderTaken, and ValueError for an unknown kind or a core that is no plain name.
    """
    if kind not in KINDS:
        raise ValueError(f"an adapter is one of {', '.join(KINDS)}, not {kind!r}")
    if core != Path(core).name:
        raise ValueError(f"{core!r} is no folder beside {folder.name}: a domain and its core lie side by side")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderTaken(f"{folder} holds something already; name a new folder, nothing is overwritten")
    words = {"folder": str(folder), "base": base, "core": core}
    contents = {
        file.name: text if file.suffix == ".jsonl" else text.format(**words)
        for file in sorted((TEMPLATES / kind).iterdir())
        if (text := file.read_text("utf-8"))
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name).write_text(text, "utf-8")
    return tuple(folder / name for name in contents)
