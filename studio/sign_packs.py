"""Signs the index of node packs that comes with the program. Knows no pack.

    python studio/sign_packs.py KEY_FILE

KEY_FILE holds a private Ed25519 key in PEM and never enters the repository. A key is made if there is none.
The signature is written beside the index, the public half into the module that checks it.
"""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FOLDER: Final = Path(__file__).resolve().parent.parent / "src/keelbill/graph"


def key_of(file: Path) -> Ed25519PrivateKey:
    """Read the key, or make one."""
    if not file.exists():
        made = Ed25519PrivateKey.generate()
        form = serialization.PrivateFormat.PKCS8
        file.touch(mode=0o600)
        file.write_bytes(made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise SystemExit(f"{file}: not an Ed25519 key")
    return key


def main(file: Path) -> None:
    """Sign the index."""
    key = key_of(file)
    text = (FOLDER / "packs.toml").read_text(encoding="utf-8")
    (FOLDER / "packs.toml.sig").write_text(base64.b64encode(key.sign(text.encode())).decode() + "\n", encoding="ascii")
    module = FOLDER / "pack_index.py"
    public = key.public_key().public_bytes_raw().hex()
    module.write_text(
        re.sub(r'SIGNER: Final = "\w+"', f'SIGNER: Final = "{public}"', module.read_text(encoding="utf-8"))
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
