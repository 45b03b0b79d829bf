from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from keelbill.identity.secret import FILE_NAME, BadSecret, load_secret


def test_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"

    first = load_secret(home)

    assert len(first) == 32
    assert load_secret(home) == first
    assert stat.S_IMODE((home / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == [FILE_NAME]


def test_two_homes_have_two_secrets(tmp_path: Path) -> None:
    assert load_secret(tmp_path / "a") != load_secret(tmp_path / "b")


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    code = "import sys, pathlib; from keelbill.identity.secret import load_secret;"
    code += "print(load_secret(pathlib.Path(sys.argv[1])).hex())"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]

    said = {process.communicate(timeout=60)[0].strip() for process in running}

    assert said == {load_secret(tmp_path).hex()}


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "00" * 31])
def test_a_damaged_file_is_not_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)

    with pytest.raises(BadSecret) as caught:
        load_secret(tmp_path)

    assert "backup" in caught.value.hint
    assert (tmp_path / FILE_NAME).read_text() == content
