"""mmcv with compiled operators, for OPS=compiled: a ready wheel whose operators work, else from source.

Left to itself pip builds mmcv without them, since its isolated build has no torch. So nothing counts
as installed until an operator has run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from pathlib import Path

from .layout import Layout, SetupError
from .processes import environment, output_of, pip, run, run_logged, say

COMPILE_TOOLS = ("wheel", "packaging", "ninja")
BYTES_PER_COMPILER = 2 * 10**9  # torch's headers are heavy
PRINT_TORCH_FACTS = """
import json, torch
gpu = torch.cuda.is_available()
arch = "sm_%d%d" % torch.cuda.get_device_capability() if gpu else ""
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda or "", "arch": arch}))
"""
PRINT_OPS_FAULT = """
import sys
from cellseg_mmdet.doctor import ops_fault
print(ops_fault(sys.argv[1]))
"""


def install_compiled(layout: Layout) -> None:
    """Install the pinned mmcv; raises SetupError where its ops do not run in the end."""
    name, requirement = layout.mmcv()
    pip(layout, "install", "--quiet", *(layout.pins()[tool] for tool in COMPILE_TOOLS))
    torch = torch_facts(layout)
    toolkit, warning = choose_toolkit(torch, *find_toolkit())
    device = "cuda" if toolkit else "cpu"
    if ready_wheel_works(layout, name, requirement, device):
        return
    if warning:
        say(warning)
    tree = layout.build / f"mmcv-{build_tag(layout.site_packages().parent.name, torch, device)}"
    wheel = built_wheel(tree) or compile_wheel(layout, name, requirement, tree, toolkit)
    pip(layout, "install", "--quiet", "--no-deps", "--force-reinstall", wheel)
    fault = ops_fault(layout, device)
    if fault:
        shutil.rmtree(tree)
        log = log_of(tree)
        raise SetupError(f"mmcv's ops do not run: {fault}. See {log}; run again to compile anew.")


def torch_facts(layout: Layout) -> dict[str, str]:
    """Return version, CUDA version and GPU architecture of the installed torch ('' for none)."""
    return json.loads(output_of([layout.python, "-c", PRINT_TORCH_FACTS], cwd=layout.root))


def ops_fault(layout: Layout, device: str) -> str:
    """Run an op in ``.venv`` on a device; return what went wrong, or an empty string."""
    command = [layout.python, "-c", PRINT_OPS_FAULT, device]
    variables = environment(CELLSEG_OPS="compiled")
    result = run(
        command, cwd=layout.root, env=variables, capture_output=True, universal_newlines=True
    )
    if result.returncode:  # an extension of another torch can take the interpreter down
        return f"Python ended with exit status {result.returncode}"
    return result.stdout.strip()


# ---- CUDA ----------------------------------------------------------------------------------------


def nvidia_device() -> bool:
    """Tell whether the system shows an NVIDIA GPU, without torch (/dev/dxg: in WSL)."""
    return any(os.path.exists(node) for node in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"))


def find_nvcc() -> Path | None:
    """Return CUDA's compiler: of CUDA_HOME, on the PATH, or in the usual place."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    places = [Path(home, "bin", "nvcc")] if home else []
    places += [Path(found) for found in [shutil.which("nvcc")] if found]
    places.append(Path("/usr/local/cuda/bin/nvcc"))
    return next((place.resolve() for place in places if place.is_file()), None)


def find_toolkit() -> tuple[Path | None, str]:
    """Return home and release ('13.0') of the CUDA toolkit, or (None, '')."""
    nvcc = find_nvcc()
    match = re.search(r"release (\d+\.\d+)", output_of([nvcc, "--version"])) if nvcc else None
    return (nvcc.parents[1], match.group(1)) if match else (None, "")


def choose_toolkit(
    torch: dict[str, str], home: Path | None, release: str
) -> tuple[Path | None, str]:
    """Decide whether to build the ops for CUDA.

    Returns the toolkit's home, or None for a CPU build, and a warning where a GPU is left unused.
    """
    if not torch["arch"]:  # torch sees no GPU
        return None, ""
    if home and release.split(".")[0] == torch["cuda"].split(".")[0]:
        return home, ""
    found = f"nvcc is of CUDA {release}" if home else "there is no nvcc"
    return None, (
        f"WARNING: a GPU is here and torch is built for CUDA {torch['cuda']}, but {found}. "
        "mmcv's ops are built for the CPU alone, so models cannot use the GPU. "
        f"Remedy: install the CUDA {torch['cuda']} toolkit, then run rm -rf .venv and make setup."
    )


# ---- wheels ----


def ready_wheel_works(layout: Layout, name: str, requirement: str, device: str) -> bool:
    """Install a wheel that somebody else built, if there is one; tell whether its ops work."""
    # Wheels only, so that pip neither builds nor takes an earlier build from its cache.
    command = [layout.python, "-m", "pip", "install", "--no-deps", "--force-reinstall"]
    command += ["--only-binary", name, requirement]
    if run(command, cwd=layout.root, capture_output=True).returncode:
        say("There is no ready wheel of mmcv: its ops are compiled from source.")
        return False
    fault = ops_fault(layout, device)
    if fault:
        say(f"The ready wheel of mmcv does not work here ({fault}): compiled from source instead.")
    return not fault


def build_tag(python: str, torch: dict[str, str], device: str) -> str:
    """Name what a build of the ops depends on: Python, torch and the GPU's architecture."""
    target = f"{torch['cuda']}-{torch['arch']}" if device == "cuda" else ""
    return f"{python}-torch{torch['version']}-{device}{target}"


def log_of(tree: Path) -> Path:
    """Return the file that takes the compilers' output."""
    return tree.with_name(f"{tree.name}.log")


def built_wheel(tree: Path) -> Path | None:
    """Return the wheel of an earlier build that came to its end."""
    return next((tree / "wheel").glob("*.whl"), None)


def compile_wheel(
    layout: Layout, name: str, requirement: str, tree: Path, toolkit: Path | None
) -> Path:
    """Build the wheel, going on from the object files of an interrupted build, and return it."""
    source = unpacked_source(layout, name, requirement, tree)
    jobs = int(os.environ.get("MAX_JOBS") or default_jobs(cores(), available_bytes()))
    log, fresh = log_of(tree), tree / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    target = f"CUDA ({toolkit})" if toolkit else "the CPU"
    say(f"Compiling mmcv's ops for {target}, {jobs} files at a time: about 10 minutes on 2 cores.")
    # In the source's own folder and without isolation: the build has to see .venv's torch.
    command = [layout.python, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation"]
    command += ["--no-cache-dir", "--wheel-dir", fresh, source]
    variables = environment(**build_variables(layout.python.parent, jobs, toolkit))
    if run_logged(command, log, lambda: progress(source), cwd=layout.root, env=variables):
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise SetupError(f"{tail}\nmmcv did not compile: the whole log is {log}.")
    shutil.rmtree(tree / "wheel", ignore_errors=True)
    fresh.rename(tree / "wheel")
    shutil.rmtree(source)
    return built_wheel(tree)


def unpacked_source(layout: Layout, name: str, requirement: str, tree: Path) -> Path:
    """Return the folder of mmcv's source, fetched unless an interrupted build left it."""
    source, fresh = tree / "source", tree / "download"
    if source.is_dir():
        return source
    shutil.rmtree(fresh, ignore_errors=True)
    pip(layout, "download", "--quiet", "--no-deps", "--no-build-isolation", "--no-binary", name,
        "--dest", fresh, requirement)  # fmt: skip
    archive = next(fresh.glob("*.tar.gz"))
    with tarfile.open(archive) as file:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        file.extractall(fresh / "unpacked", **safe)
    next((fresh / "unpacked").iterdir()).rename(source)
    shutil.rmtree(fresh)
    return source


def build_variables(binaries: Path, jobs: int, toolkit: Path | None) -> dict[str, str]:
    """Return the environment variables that mmcv's build reads."""
    variables = {
        "MMCV_WITH_OPS": "1",
        "MAX_JOBS": str(jobs),
        "CFLAGS": "-g0 -O2",  # without debug symbols: 2 MB instead of 33
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",  # ninja is in .venv
        "FORCE_CUDA": "1" if toolkit else "0",
    }
    if toolkit:
        variables["CUDA_HOME"] = str(toolkit)
    else:
        variables["CUDA_VISIBLE_DEVICES"] = ""  # mmcv builds for any GPU that torch sees
    return variables


def progress(source: Path) -> str:
    """Say how many of the files are compiled."""
    plans = list(source.glob("build/temp*/**/build.ninja"))
    total = sum(len(re.findall(r"(?m)^build .*\.o: ", plan.read_text())) for plan in plans)
    done = sum(1 for _ in source.glob("build/temp*/**/*.o"))
    return f"mmcv's ops: {done} of {total} files compiled" if total else "mmcv's ops: preparing"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_bytes() -> int | None:
    """Return the memory that is free or can be freed, or None where the system does not say."""
    try:
        match = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(match.group(1)) * 1024 if match else None


def default_jobs(core_count: int, memory_bytes: int | None) -> int:
    """Return how many compilers to run at a time: one a core, as far as the memory goes."""
    if memory_bytes is None:
        return core_count
    return max(1, min(core_count, memory_bytes // BYTES_PER_COMPILER))
