"""Plug-ins put on disk as pip leaves them."""

from __future__ import annotations

import json
from pathlib import Path

TRAINER = """
from dataclasses import dataclass
from trainers.pretrained import Pretrained

@dataclass(frozen=True, kw_only=True)
class Mine(Pretrained):
    pass
"""


def install(
    folder: Path,
    distribution: str,
    points: str,
    group: str = "seqmatch.trainers",
    version: str = "2.5",
    editable: bool = False,
) -> Path:
    """Put the metadata of a distribution with entry points on disk, and return its folder."""
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}\n")
    origin = {"url": folder.as_uri(), "dir_info": {"editable": editable}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    return info
