"""Pictures and files of the editor over its routes: shown, uploaded, masked, saved, moved; and hostile ones."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from support.graphdoors import Client, picture, text_to_image

ESCAPES = ["../x.png", "a/../../x.png", "/etc/passwd", "C:\\x.png", "..\\x.png", "x\0.png", "C:x.png", "a/..\\..\\b"]


def shown(answer: Any) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(BytesIO(answer.content))


class TestUpload:
    def test_kept_and_shown(self, ada: Client) -> None:
        answer = ada.upload("cat.png", picture())
        assert answer.json() == {"name": "cat.png", "subfolder": "", "type": "input"}
        back = ada.get("/api/view?filename=cat.png&type=input&rand=0.5")
        assert shown(back).getpixel((0, 0)) == (200, 30, 30)
        assert back.headers["content-type"] == "image/png"
        assert back.headers["content-disposition"] == 'filename="cat.png"'
        assert back.headers["x-content-type-options"] == "nosniff"
        assert "no-cache" in back.headers["cache-control"]
        assert "private" in back.headers["cache-control"]
        assert "example.png" in ada.get("/internal/files/input").json()

    def test_same_again_and_another_of_the_same_name(self, ada: Client) -> None:
        names = [
            ada.upload("cat.png", picture(colour=colour)).json()["name"] for colour in [(1, 2, 3), (1, 2, 3), (9, 9, 9)]
        ]
        assert names == ["cat.png", "cat.png", "cat (1).png"]
        assert ada.upload("cat.png", picture(colour=(7, 7, 7)), overwrite="true").json()["name"] == "cat.png"
        assert shown(ada.get("/view?filename=cat.png&type=input")).getpixel((0, 0)) == (7, 7, 7)

    def test_subfolder_and_area(self, ada: Client) -> None:
        kept = ada.upload("cat.png", picture(), subfolder="clipspace", type="temp").json()
        assert kept == {"name": "cat.png", "subfolder": "clipspace", "type": "temp"}
        assert ada.get("/view?filename=cat.png&subfolder=clipspace&type=temp").status_code == 200
        assert ada.get("/view?filename=clipspace/cat.png [temp]").status_code == 200

    def test_where_it_was_taken_is_forgotten(self, ada: Client) -> None:
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 30.0, 0.0)
        ada.upload("trip.jpg", picture(kind="JPEG", exif=exif.tobytes()))
        back = ada.get("/view?filename=trip.jpg&type=input")
        assert not dict(shown(back).getexif())
        assert b"GPS" not in back.content

    def test_workflow_in_it_is_kept(self, ada: Client) -> None:
        info = PngInfo()
        info.add_text("workflow", '{"id": "w"}')
        info.add_text("comment", "by somebody")
        ada.upload("graph.png", picture(pnginfo=info))
        texts = shown(ada.get("/view?filename=graph.png&type=input"))
        texts.load()
        assert texts.info == {"workflow": '{"id": "w"}'}

    @pytest.mark.parametrize("name", ESCAPES)
    def test_names_that_lead_out(self, ada: Client, name: str) -> None:
        if "\0" not in name:
            assert ada.upload(name, picture()).status_code in {200, 400}
        assert ada.upload("x.png", picture(), subfolder=name.replace("\0", "")).status_code == (
            200 if name == "x\0.png" else 400
        )
        listed = ada.get("/internal/files/input").json()
        assert all(".." not in each and "\\" not in each and not each.startswith("/") for each in listed)

    @pytest.mark.parametrize(
        "content",
        [
            b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
            b"<html><script>alert(1)</script>",
            b"GIF89a",
            b"\x89PNG\r\n\x1a\n" + b"\0" * 64,
            b"",
        ],
    )
    def test_what_is_no_picture(self, ada: Client, content: bytes) -> None:
        answer = ada.upload("cat.png", content)
        assert answer.status_code == 400
        assert answer.json()["node_errors"] == {}
        assert ada.get("/view?filename=cat.png&type=input").status_code == 404

    def test_scripts_behind_a_picture_are_cut_off(self, ada: Client) -> None:
        ada.upload("cat.png", picture() + b"<script>alert(1)</script>")
        assert b"script" not in ada.get("/view?filename=cat.png&type=input").content

    def test_too_many_pixels(self, ada: Client) -> None:
        assert ada.upload("big.png", picture(4000, 4000)).status_code == 400

    def test_too_large(self, ada: Client) -> None:
        limit = ada.get("/features").json()["max_upload_size"]
        answer = ada.upload("big.png", b"\x89PNG\r\n\x1a\n" + b"\0" * (limit + 2**20))
        assert answer.status_code == 413

    def test_unknown_area(self, ada: Client) -> None:
        assert ada.upload("cat.png", picture(), type="userdata").status_code == 400

    def test_picture_that_is_too_old_to_be_listed(self, ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keelbill.api.comfy.models.MAX_LISTED", 1)
        for name in ("old.png", "new.png"):
            ada.upload(name, picture())
        assert "old.png" not in ada.get("/object_info/LoadImage").text
        graph = text_to_image()
        graph["8"] = {"class_type": "LoadImage", "inputs": {"image": "old.png"}}
        assert ada.post("/prompt", {"prompt": graph}).status_code == 200


class TestMask:
    def test_colours_of_one_and_transparency_of_another(self, ada: Client) -> None:
        info = PngInfo()
        info.add_text("workflow", "{}")
        ada.upload("cat.png", picture(colour=(10, 20, 30), pnginfo=info))
        files = {"image": ("masked.png", picture(colour=(0, 0, 0, 77)))}
        data = {"original_ref": '{"filename": "cat.png", "type": "input"}'}
        kept = ada.http.post("/upload/mask", files=files, data=data)
        assert kept.json()["name"] == "masked.png"
        merged = shown(ada.get("/view?filename=masked.png&type=input"))
        assert merged.getpixel((0, 0)) == (10, 20, 30, 77)
        assert merged.info["workflow"] == "{}"

    @pytest.mark.parametrize("ref", ["", "[]", "{}", '{"filename": "../x"}', '{"filename": "none.png"}'])
    def test_wrong_original(self, ada: Client, ref: str) -> None:
        files = {"image": ("masked.png", picture())}
        assert ada.http.post("/upload/mask", files=files, data={"original_ref": ref}).status_code in {400, 404}


class TestView:
    @pytest.fixture
    def cat(self, ada: Client) -> str:
        ada.upload("cat.png", picture(colour=(10, 20, 30, 40)))
        return "/view?filename=cat.png&type=input"

    def test_previews(self, ada: Client, cat: str) -> None:
        assert shown(ada.get(f"{cat}&preview=webp;90")).format == "WEBP"
        assert shown(ada.get(f"{cat}&preview=jpeg")).format == "JPEG"
        assert shown(ada.get(f"{cat}&preview=jpeg;999")).format == "JPEG"
        assert ada.get(f"{cat}&preview=svg").status_code == 400

    def test_channels(self, ada: Client, cat: str) -> None:
        assert shown(ada.get(f"{cat}&channel=rgb")).getpixel((0, 0)) == (10, 20, 30)
        alpha = shown(ada.get(f"{cat}&channel=a"))
        assert (alpha.mode, alpha.getpixel((0, 0))) == ("RGBA", (0, 0, 0, 40))
        ada.upload("opaque.png", picture())
        assert shown(ada.get("/view?filename=opaque.png&type=input&channel=a")).getpixel((0, 0)) == (0, 0, 0, 255)

    @pytest.mark.parametrize("name", ESCAPES)
    def test_names_that_lead_out(self, ada: Client, name: str) -> None:
        for query in ({"filename": name}, {"filename": "x.png", "subfolder": name}, {"filename": f"{name} [output]"}):
            answer = ada.get("/view", params=query)
            assert answer.status_code in {400, 404}
            assert "root:" not in answer.text

    def test_no_name(self, ada: Client) -> None:
        assert ada.get("/view").status_code == 400
        assert ada.get("/view?filename=x&type=userdata").status_code == 400

    def test_names_of_other_languages(self, ada: Client) -> None:
        ada.upload("Übersicht 猫.png", picture())
        answer = ada.get("/view", params={"filename": "Übersicht 猫.png", "type": "input"})
        assert "filename*=UTF-8''%C3%9Cbersicht%20%E7%8C%AB.png" in answer.headers["content-disposition"]


class TestUserdata:
    def test_save_list_read_move_remove(self, ada: Client) -> None:
        assert ada.get("/userdata?dir=workflows").status_code == 404
        saved = ada.http.post("/api/userdata/workflows%2Fa%20b.json?overwrite=false&full_info=true", content=b"{}")
        assert saved.json()["path"] == "workflows/a b.json"
        assert (saved.json()["size"], saved.json()["modified"] > 1e12) == (2, True)
        again = ada.http.post("/api/userdata/workflows%2Fa%20b.json?overwrite=false", content=b"[]")
        assert again.status_code == 409
        text = {"content-type": "text/plain;charset=UTF-8"}
        assert (
            ada.http.post("/userdata/workflows%2Fsub%2Fc.json", content=b"1", headers=text).json()
            == "workflows/sub/c.json"
        )
        assert ada.get("/userdata?dir=workflows").json() == ["a b.json"]
        assert ada.get("/userdata?dir=workflows&recurse=true&split=true").json() == [
            ["a b.json", "a b.json"],
            ["sub/c.json", "sub", "c.json"],
        ]
        assert ada.get("/userdata/workflows%2Fsub%2Fc.json").text == "1"
        moved = ada.post("/api/userdata/workflows%2Fa%20b.json/move/workflows%2Fmove%2Fd.json?overwrite=false")
        assert moved.json() == "workflows/move/d.json"
        assert ada.get("/v2/userdata?path=workflows").json() == [
            {"name": "move", "path": "workflows/move", "type": "directory"},
            {"name": "sub", "path": "workflows/sub", "type": "directory"},
        ]
        removed = ada.http.delete("/api/userdata/workflows%2Fmove%2Fd.json")
        assert (removed.status_code, removed.content) == (204, b"")
        assert ada.get("/userdata/workflows%2Fmove%2Fd.json").status_code == 404

    def test_a_folder_called_move(self, ada: Client) -> None:
        ada.http.post("/userdata/a%2Fmove%2Fb.json", content=b"1")
        assert ada.get("/userdata/a%2Fmove%2Fb.json").text == "1"

    def test_pages_are_never_shown(self, ada: Client) -> None:
        ada.http.post("/userdata/x.html", content=b"<script>alert(1)</script>")
        answer = ada.get("/userdata/x.html")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == "attachment"
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_style_sheet(self, ada: Client) -> None:
        for path in ("/user.css", "/api/userdata/user.css"):
            answer = ada.get(path)
            assert (answer.status_code, answer.text) == (200, "")
            assert answer.headers["content-type"].startswith("text/css")
        ada.http.post("/userdata/user.css", content=b"body {}")
        assert ada.get("/user.css").text == "body {}"

    @pytest.mark.parametrize(
        "name",
        ["..%2Fx.json", "a%2F..%2F..%2Fx", "%2Fetc%2Fpasswd", "C%3A%5Cx", "..%5Cx", "x%00.json", "%ff", "x" * 300],
    )
    def test_names_that_lead_out(self, ada: Client, name: str) -> None:
        for method in ("GET", "POST", "DELETE"):
            assert ada.http.request(method, f"/userdata/{name}").status_code in {400, 404}
        assert ada.post(f"/userdata/a.json/move/{name}").status_code in {400, 404}
        assert ada.get(f"/userdata?dir={name}").status_code in {400, 404}
        assert ada.get(f"/v2/userdata?path={name}").status_code in {400, 404}


class TestSettings:
    def test_seeded_and_changed(self, ada: Client, bob: Client) -> None:
        assert ada.get("/settings").json()["Comfy.TutorialCompleted"] is True
        text = {"content-type": "text/plain;charset=UTF-8"}
        answer = ada.http.post("/settings/Comfy.Locale", content=b'"de"', headers=text)
        assert (answer.status_code, answer.content) == (200, b"")
        assert ada.http.post("/api/settings", content=b'{"a.b": [1], "Comfy.TutorialCompleted": false}').content == b""
        found = ada.get("/api/settings").json()
        assert (found["Comfy.Locale"], found["a.b"], found["Comfy.TutorialCompleted"]) == ("de", [1], False)
        assert ada.get("/settings/a.b").json() == [1]
        assert ada.get("/settings/unknown").json() is None
        assert "a.b" not in bob.get("/settings").json()


class TestOthers:
    def test_no_file_crosses(self, ada: Client, bob: Client) -> None:
        ada.upload("secret.png", picture())
        entry = ada.run(text_to_image())
        name = entry["outputs"]["9"]["images"][0]["filename"]
        ada.http.post("/userdata/workflows%2Fsecret.json", content=b"{}")
        assert bob.get("/view?filename=secret.png&type=input").status_code == 404
        assert bob.get(f"/view?filename={name}").status_code == 404
        assert bob.get("/userdata/workflows%2Fsecret.json").status_code == 404
        assert bob.get("/userdata?dir=workflows").status_code == 404
        assert "secret.png" not in bob.get("/internal/files/input").text
        assert "secret.png" not in bob.get("/object_info/LoadImage").text
        graph = text_to_image()
        graph["8"] = {"class_type": "LoadImage", "inputs": {"image": "secret.png"}}
        answer = bob.post("/prompt", {"prompt": graph})
        assert answer.status_code == 400
        assert ada.post("/prompt", {"prompt": graph}).status_code == 200
