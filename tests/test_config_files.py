from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.config_files import (
    CONFIGS,
    as_base,
    config_path,
    read_config,
    shipped_configs,
    shipped_models,
)
from cellseg_mmdet.engine import load_config
from cellseg_mmdet.errors import UsageError
from tests.shipped.tiny import write_tiny
from tools.models.pack import pack

ROOT = Path(__file__).parents[1]
NAME = "mask-rcnn_r18_fpn_cpu_sartorius"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_experiment_of_the_checkout_is_shipped_under_a_name_of_its_own() -> None:
    leaves = {p for p in (ROOT / "configs").rglob("*.py") if "_base_" not in p.parts}
    assert {path.resolve() for path in shipped_configs().values()} == leaves


@pytest.mark.parametrize(
    "config",
    [
        NAME,
        f"{NAME}.py",
        f"mask_rcnn/{NAME}",
        f"mask_rcnn/{NAME}.py",
        f"cellseg_mmdet::mask_rcnn/{NAME}.py",
    ],
)
def test_found_by_its_name(config: str) -> None:
    assert config_path(config) == CONFIGS / "mask_rcnn" / f"{NAME}.py"


def test_a_file_goes_before_a_name() -> None:
    Path(NAME).write_text("")
    assert config_path(NAME) == Path(NAME)
    assert config_path(Path(NAME)) == Path(NAME)


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        ("mask-rcnn_r18_fpn_cpu_sartorus", f"Similar: {NAME}"),
        (f"configs/mask_rcnn/{NAME}.py", f"Similar: {NAME}"),
        (f"unet/{NAME}", f"Similar: {NAME}"),
        ("yolo", "The shipped ones lie in"),
        ("", "The shipped ones lie in"),
    ],
)
def test_what_is_not_found_is_told_with_similar_names(config: str, hint: str) -> None:
    with pytest.raises(UsageError, match=rf"^config {config}: there is no such file.* {hint}"):
        config_path(config)


def test_a_users_config_inherits_a_shipped_one_from_any_folder() -> None:
    Path("mine.py").write_text(
        f'_base_ = "cellseg_mmdet::mask_rcnn/{NAME}.py"\n'
        "train_pipeline = [*_base_.train_pipeline[:-1], _base_.pack_cells]\n"
        "train_dataloader = dict(dataset=dict(_base_.one_class_data, pipeline=train_pipeline))\n"
    )
    mine, shipped = load_config("mine.py"), load_config(NAME)
    assert mine.to_dict() == shipped.to_dict()
    assert "_scope_" not in str(
        mine.train_dataloader
    )  # a scope of ours would find nothing: all is in mmdet's


def test_base_of_a_config_that_is_written() -> None:
    Path("sub").mkdir()
    Path("mine.py").write_text("x = 1\n")
    assert as_base("mine.py", Path("sub")) == "../mine.py"
    assert as_base(NAME, Path("sub")) == f"cellseg_mmdet::mask_rcnn/{NAME}.py"
    checkout = ROOT / "configs" / "mask_rcnn" / f"{NAME}.py"
    Path("sub/written.py").write_text(f"_base_ = {as_base(checkout, Path('sub'))!r}\n")
    assert read_config("sub/written.py").to_dict() == read_config(NAME).to_dict()


@pytest.mark.slow
def test_the_wheel_brings_its_configs_and_models(tmp_path: Path) -> None:
    """Built from what git would commit, installed in an empty environment, used far from the checkout."""
    source, wheels, venv = tmp_path / "source", tmp_path / "wheels", tmp_path / "venv"
    copy_sources(source)
    model = source / "cellseg_mmdet/shipped/dots"
    config, checkpoint, facts = write_tiny(tmp_path)
    pack(checkpoint, config, "dots", facts=facts, half=True, out_dir=model.parent)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    run(*pip, "wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", wheels)
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    python = venv / "bin" / "python"
    [wheel] = wheels.glob("*.whl")
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    borrow_dependencies(python)

    Path("mine.py").write_text(f'_base_ = "cellseg_mmdet::mask_rcnn/{NAME}.py"\nfold = 7\n')
    script = f"""
from pathlib import Path
import cellseg_mmdet
from cellseg_mmdet.config_files import config_path, shipped_configs, shipped_models
from cellseg_mmdet.engine import load_config
assert Path(cellseg_mmdet.__file__).is_relative_to({str(venv)!r}), cellseg_mmdet.__file__
assert config_path({NAME!r}).is_relative_to({str(venv)!r})
assert (Path(cellseg_mmdet.__file__).parent / "py.typed").is_file()
assert load_config("mine.py").fold == 7
dots = shipped_models()["dots"]
assert sorted(path.name for path in dots.iterdir()) == ["card.json", "config.json", "weights.safetensors"]
assert set(shipped_models()) == {{"dots", *{sorted(shipped_models())!r}}}
print(*(load_config(name).model.type for name in ({NAME!r}, "unet_cpu_dsb2018")), len(shipped_configs()))
"""
    words = run(python, "-c", script).split()
    assert words[-3:] == ["MaskRCNN", "PixelDetector", str(len(shipped_configs()))]

    Path("images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48), dtype=np.uint8)
    assert cv2.imwrite("images/a.png", pixels)
    cellseg = "import sys; from cellseg_mmdet.cli import main; main(sys.argv[1:])"
    done = run(
        python, "-c", cellseg, "infer", "dots", "images", "--out-dir", "found", "--device=cpu"
    )
    assert done.splitlines()[-1].endswith("in 1 image")
    assert "size of cells" in done and Path("found/overlays/a.png").is_file()
    assert run(python, "-c", cellseg, "models", "dots").startswith("# dots")


def copy_sources(target: Path) -> None:
    """Copy what the wheel is made of, links as links; the checkout's own build folder stays as it is."""
    target.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("cellseg_mmdet", "configs"):
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)


def borrow_dependencies(python: Path) -> None:
    """Let another environment import what is installed in this one, but for the editable install of this checkout."""
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(run(python, "-c", ask).strip())
    # Folders that a .pth file names have none of their own .pth files read.
    here = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "borrowed.pth").write_text("\n".join(here) + "\n")


def run(*command: str | Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
