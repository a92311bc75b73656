"""A sound exported program."""

from pathlib import Path

import pytest

from tests.unit.models.programs import export_tiny


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As torch.export.save writes it: sizes after the data, ZIP64 end record."""
    return export_tiny(tmp_path_factory.mktemp("program") / "sound.pt2")
