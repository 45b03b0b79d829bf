"""The studio's files: named by content, complete, from known packages, with every text and every route they use."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keelbill.studio.files import Files
from support.server import LiveServer

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "src/keelbill/studio/assets"
SCRIPTS = sorted((ASSETS / "js").rglob("*.js"))
LIMIT_BYTES = 250_000

_IMPORTS = re.compile(r"""^(?:import|export)[\s{*][^;'"()=]*?from\s*["'](\.[^"']+)["']""", re.MULTILINE)
_TEXT = re.compile(r"""^  "([a-z_]+\.[^"]+)": "((?:[^"\\]|\\.)*)",$""", re.MULTILINE)


@pytest.fixture(scope="module")
def files() -> Files:
    return Files()


def source(*names: str) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS if not names or path.name in names)


def texts(language: str) -> dict[str, str]:
    return dict(_TEXT.findall((ASSETS / f"js/i18n/{language}.js").read_text(encoding="utf-8")))


def test_another_content_has_another_name(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder / "js").mkdir(parents=True)
        (tmp_path / folder / "index.html").write_text('<p src="{base}/js/main.js"></p>')
        (tmp_path / folder / "js/main.js").write_text(f"// {folder}")
    one, again, two = (Files(tmp_path / name) for name in ("one", "one", "two"))
    assert one.digest == again.digest
    assert one.digest != two.digest
    assert f"/studio/{one.digest}/js/main.js".encode() in one.page


def test_a_module_that_is_missing_is_noticed_at_once(tmp_path: Path) -> None:
    (tmp_path / "js").mkdir()
    (tmp_path / "index.html").write_text("")
    (tmp_path / "js/main.js").write_text('import { a } from "./gone.js";\n')
    with pytest.raises(FileNotFoundError, match=r"js/gone\.js"):
        Files(tmp_path)


def test_the_page_has_no_inline_script_or_style(files: Files) -> None:
    page = files.page.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert "<style" not in page
    assert " style=" not in page
    assert " on" not in re.sub(r'content="[^"]*"|<p.*</p>', "", page)


def test_what_is_loaded_first_is_small(files: Files) -> None:
    first = files.needed_by("js/main.js")
    total = sum(len(found.packed) for path in first if (found := files.get(path)))
    assert total < LIMIT_BYTES
    assert "js/gallery/page.js" not in first


def test_packed_files_are_the_same_files(files: Files) -> None:
    for path in files.paths():
        found = files.get(path)
        assert found is not None
        if found.packed:
            assert gzip.decompress(found.packed) == found.content


def test_every_module_that_is_named_exists() -> None:
    named = [(path, name) for path in SCRIPTS for name in _IMPORTS.findall(path.read_text(encoding="utf-8"))]
    lazy = [(p, n) for p in SCRIPTS for n in re.findall(r'import\("(\.[^"]+)"\)', p.read_text(encoding="utf-8"))]
    assert len(named) > 100
    for path, name in [*named, *lazy]:
        assert (path.parent / name).resolve().is_file(), f"{path.name} imports {name}"


def test_no_module_imports_itself_by_a_detour() -> None:
    needs = {
        path: [(path.parent / name).resolve() for name in _IMPORTS.findall(path.read_text(encoding="utf-8"))]
        for path in SCRIPTS
    }
    finished: set[Path] = set()

    def visit(path: Path, way: tuple[Path, ...]) -> None:
        assert path not in way, " > ".join(part.name for part in (*way, path))
        if path not in finished:
            for other in needs.get(path, []):
                visit(other, (*way, path))
            finished.add(path)

    for path in SCRIPTS:
        visit(path, ())


def test_nothing_that_people_write_becomes_markup() -> None:
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in source(), word


def test_both_languages_say_the_same() -> None:
    english, german = texts("en"), texts("de")
    assert len(english) > 200
    assert english.keys() == german.keys()
    for name, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", german[name])), name


def test_every_text_that_is_used_exists() -> None:
    english = texts("en")
    used = set(re.findall(r"""\bt\(\s*["']([a-z_]+\.[\w.-]+)["']""", source()))
    counted = set(re.findall(r"""\btn\(\s*["']([a-z_]+\.[\w.-]+)["']""", source()))
    assert len(used) > 100
    assert used - english.keys() == set()
    assert {f"{name}.{form}" for name in counted for form in ("one", "many")} - english.keys() == set()


def test_every_call_is_a_documented_operation(server: LiveServer) -> None:
    documented = {
        f"{method.upper()} {path}"
        for path, methods in server.client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    called = set(re.findall(r"""["']((?:GET|POST|PUT|PATCH|DELETE) /[^"']+)["']""", source()))
    assert len(called) > 20
    assert called - documented == set()


def test_libraries_are_as_they_were_fetched() -> None:
    done = subprocess.run(
        [sys.executable, "studio/vendor.py"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_libraries_come_with_their_licences(files: Files) -> None:
    for script in (ASSETS / "vendor").glob("*.js"):
        assert script.name in files.paths() or f"vendor/{script.name}" in files.paths()
    licences = {path.name for path in (ASSETS / "vendor").glob("LICENCE.*")}
    assert licences >= {"LICENCE.preact", "LICENCE.htm", "LICENCE.signals", "LICENCE.signals-core", "LICENCE.lucide"}


def test_a_page_names_its_own_modules_ahead(files: Files) -> None:
    gallery = files.page_at("/gallery/{picture_id}").decode()
    assert gallery == files.page_at("/gallery").decode()
    for path in ("js/main.js", "js/gallery/page.js", "js/gallery/grid.js"):
        assert gallery.count(f'<link rel="modulepreload" href="/studio/{files.digest}/{path}">') == 1
    assert b"js/gallery/" not in files.page_at("/")
    assert files.page_at("/") == files.page_at("/nowhere") == files.page


def test_style_sheets_come_as_one_in_their_order(files: Files) -> None:
    named = re.findall(r'<link rel="stylesheet" href="([^"]+)">', files.page.decode())
    assert named == [f"/studio/{files.digest}/css/studio.css"]
    whole = files.get("css/studio.css")
    assert whole is not None
    order = re.findall(r"\{base\}/(css/[^\"]+)", (ASSETS / "index.html").read_text(encoding="utf-8"))
    assert len(order) > 5
    assert whole.content == b"\n".join((ASSETS / path).read_bytes() for path in order)
