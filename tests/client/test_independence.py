"""The SDK stands alone: importing it brings in nothing of the server, and does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import keelbill.client

FOLDER = Path(keelbill.client.__file__).parent
ALLOWED = ("keelbill.client", "keelbill.core.errors", "keelbill.imaging.metadata", "keelbill.imaging")


def test_nothing_of_the_server_is_imported() -> None:
    code = (
        "import sys, keelbill.client\n"
        "ours = {name.split('.')[1] for name in sys.modules if name.startswith('keelbill.')}\n"
        "heavy = {'torch', 'fastapi', 'sqlalchemy', 'pydantic', 'msgspec', 'IPython'} & set(sys.modules)\n"
        "print(sorted(ours), sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "['client', 'core', 'imaging'] []\n"


def test_not_even_inside_functions() -> None:
    imported = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("keelbill."):
                imported.add(node.module)
    assert [name for name in imported if not name.startswith(ALLOWED)] == []
