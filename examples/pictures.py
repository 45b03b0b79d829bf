"""The common calls with httpx. Usage: ``KEY=sk-… python examples/pictures.py [http://localhost:8000]``."""

from __future__ import annotations

import base64
import os
import sys
import time
from pathlib import Path

import httpx

CREATIVE_CREDITS = 60


def main(host: str, key: str) -> None:
    """Make a picture, change it, and make it larger while polling."""
    with httpx.Client(base_url=host, headers={"authorization": f"Bearer {key}"}, timeout=300) as client:
        # The empty file makes httpx send multipart/form-data.
        answer = client.post(
            "/v2beta/stable-image/generate/sd3",
            headers={"accept": "application/json"},
            files={"none": ""},
            data={"prompt": "a strawberry on a light blue background", "model": "sd3.5-flash"},
        )
        answer.raise_for_status()
        made = answer.json()
        picture = base64.b64decode(made["image"])
        Path("strawberry.png").write_bytes(picture)
        sys.stdout.write(f"seed {made['seed']}, {answer.headers['x-credits-charged']} credits\n")

        answer = client.post(
            "/v2beta/stable-image/generate/sd3",
            headers={"accept": "image/*"},
            files={"image": picture},
            data={"prompt": "a lemon", "model": "sd3.5-flash", "mode": "image-to-image", "strength": "0.7"},
        )
        answer.raise_for_status()
        Path("lemon.png").write_bytes(answer.content)

        if client.get("/v1/user/balance").json()["credits"] < CREATIVE_CREDITS:
            sys.stdout.write(f"the larger picture is left out: it costs {CREATIVE_CREDITS} credits\n")
            return
        answer = client.post(
            "/v2beta/stable-image/upscale/creative", files={"image": picture}, data={"prompt": "a strawberry"}
        )
        answer.raise_for_status()
        result = f"/v2beta/results/{answer.json()['id']}"
        while (answer := client.get(result, headers={"accept": "image/*"})).status_code == 202:
            time.sleep(1)
        answer.raise_for_status()
        Path("strawberry-large.png").write_bytes(answer.content)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000", os.environ["KEY"])
