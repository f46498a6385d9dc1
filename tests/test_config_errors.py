from __future__ import annotations

from pathlib import Path

import pytest

from cellseg_mmdet.config_files import read_config
from cellseg_mmdet.errors import ConfigError

BASE = "optimizer = dict(lr=0.1)\nnested = dict(a=dict(b=1))\n"
CASES = {
    "syntax": ({"a.py": "x = 1\nmodel = dict(type='A'\ny = 2\n"}, r"a\.py, line 2: syntax error"),
    "tabs": ({"a.py": "if True:\n\tx = 1\n        y = 2\n"}, r"a\.py, line 3: syntax error"),
    "name": ({"a.py": "x = 1\n\nmodel = dict(type=A)\n"}, r"a\.py, line 3: NameError: name 'A'"),
    "value": ({"a.py": "x = 1\ny = x / 0\n"}, r"a\.py, line 2: ZeroDivisionError"),
    "in a base": (
        {"a.py": "_base_ = 'b.py'\n", "b.py": "x = 1\ny = no_such_name\n"},
        r"b\.py, line 2: NameError",
    ),
    "syntax of a base": (
        {"a.py": "_base_ = ['b.py']\n", "b.py": "x = 1\n\ny = (\n"},
        r"b\.py, line 3: syntax error",
    ),
    "missing base": (
        {"a.py": "x = 1\n_base_ = 'no.py'\n"},
        r"a\.py, line 2: its _base_ .*no\.py does not",
    ),
    "missing base of a base": (
        {"a.py": "_base_ = 'b.py'\n", "b.py": "\n_base_ = ['no.py']\n"},
        r"b\.py, line 2: its _base_ .*no\.py does not",
    ),
    "loop": (
        {"a.py": "_base_ = 'b.py'\n", "b.py": "_base_ = 'c.py'\n", "c.py": "_base_ = 'b.py'\n"},
        r"b\.py: its _base_ leads back to it: .*b\.py -> .*c\.py -> .*b\.py$",
    ),
    "itself": ({"a.py": "_base_ = 'a.py'\n"}, r"a\.py: its _base_ leads back to it"),
    "same key in bases": (
        {"a.py": "_base_ = ['b.py', 'c.py']\n", "b.py": BASE, "c.py": BASE},
        r"a\.py: KeyError: .*Duplicate key",
    ),
    "attribute of a base": (
        {"a.py": "_base_ = 'b.py'\nx = 1\ny = _base_.nothing\n", "b.py": BASE},
        r"a\.py, line 3: AttributeError",
    ),
    "json": ({"a.json": '{"a": 1,\n "b": }\n'}, r"a\.json, line 2: JSONDecodeError"),
    "yaml": ({"a.yaml": "a: 1\nb: [1, 2\nc: 3\n"}, r"a\.yaml, line 3: ParserError"),
    "yaml base": (
        {"a.py": "_base_ = 'b.yml'\n", "b.yml": "a: 1\n\tb: 2\n"},
        r"b\.yml, line 2: ScannerError",
    ),
    "not a mapping": ({"a.json": "[1, 2]"}, r"a\.json: "),
    "other suffix": ({"a.py": "_base_ = 'b.txt'\n", "b.txt": ""}, r"b\.txt: OSError: Only py"),
    "import": (
        {"a.py": "custom_imports = dict(imports=['no_such_module'])\n"},
        r"a\.py: No module named 'no_such_module'.*PYTHONPATH",
    ),
    "lazy": (
        {
            "a.py": "from mmengine.config import read_base\nwith read_base():\n    from .no import *\n"
        },
        r"a\.py",
    ),
    "binary": ({"a.py": "\x00\x01"}, r"a\.py"),
    "merge": (
        {"a.py": "_base_ = 'b.py'\noptimizer = dict(lr=dict(a=1))\n", "b.py": BASE},
        r"a\.py: TypeError",
    ),
}


@pytest.mark.parametrize(("files", "told"), CASES.values(), ids=list(CASES))
def test_file_and_line_are_named_in_one_line(
    tmp_path: Path, files: dict[str, str], told: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=told) as error:
        read_config(tmp_path / next(iter(files)))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 2000
    assert str(error.value).startswith("config ")


def test_a_broken_module_keeps_its_traceback(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "broken_module_of_mine.py").write_text("from os import no_such_name\n")
    (tmp_path / "a.py").write_text("custom_imports = dict(imports=['broken_module_of_mine'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError):
        read_config(tmp_path / "a.py")
