"""`packages`: folders or installed Python distributions that carry the same sub-folders."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from agentsite.manifest.reader import Layer, Reader
from agentsite.manifest.schema import PackageRef

FOLDERS = (
    "agents",
    "automations",
    "connections",
    "evals",
    "knowledge",
    "scripts",
    "skills",
    "stores",
    "tools",
)
REFUSED_FOLDERS = ("pages", "channels", "intents")


def add_packages(reader: Reader, packages: tuple[PackageRef, ...]) -> None:
    """Append a layer per package to the reader; what is missing becomes a problem."""
    for index, ref in enumerate(packages):
        place = find_folder(reader.root, ref.package) or find_distribution(ref.package)
        if place is None:
            message = (
                f'"{ref.package}" is neither a folder here nor an installed distribution '
                "with folders such as skills/ or tools/; install it with pip"
            )
            reader.report("amodal.json", message, "packages", index)
            continue
        label = Path(ref.package).name
        reader.layers.append(Layer(place, label, ref.use))
        for part_index, part in enumerate(ref.use or ()):
            if not has_part(place, part):
                message = f'the package has no "{part}"'
                reader.report("amodal.json", message, "packages", index, "use", part_index)


def find_folder(root: Path, name: str) -> Path | None:
    """Return the folder a package name means, seen from the agent's root."""
    place = (root / name).resolve()
    return place if place.is_dir() and place != root else None


def find_distribution(name: str) -> Path | None:
    """Return the folder of an installed distribution that holds agent folders."""
    try:
        files = importlib.metadata.distribution(name).files or []
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    for file in files:
        for depth, part in enumerate(file.parts[:-1]):
            if part in FOLDERS and depth > 0:
                place = Path(str(file.locate())).parents[len(file.parts) - depth - 1]
                if place.is_dir():
                    return place
    return None


def has_part(place: Path, part: str) -> bool:
    """Tell whether `<folder>.<name>` exists in a package."""
    folder, _, name = part.partition(".")
    inside = place / folder
    if folder not in FOLDERS or not inside.is_dir():
        return False
    return any(name == (p.name if p.is_dir() else p.stem) for p in inside.iterdir())
