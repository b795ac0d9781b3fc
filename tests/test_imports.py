"""The layout of the package: which part may import which, and which must not load torch."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# From the top down: a sub-package or module imports only from the floors below its own.
FLOORS = (
    "cli",
    "training export publish",
    "extraction released demo runs",
    "encoder report doctor backend_choice",
    "data evaluation modelhub verification submission",
    "config scoring batch_plan recordings frontend",
    "models losses optimizers schedules samplers augmentations audio frontends kaldi_tables record"
    " distributed",
    "settings arrays archives headers model_files kernels",
    "files",
    "errors packages readahead",
)
TORCH_FREE = ("scoring", "evaluation", "report", "runs", "verification", "submission", "cli")


def imported(path: Path) -> set[str]:
    """Return the parts of the package that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: write the import without leading dots"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("tidyvoice.")}


def part(path: Path) -> str:
    return path.relative_to(ROOT / "tidyvoice").with_suffix("").parts[0]


FILES = sorted((ROOT / "tidyvoice").rglob("*.py"))
PARTS = {name: number for number, names in enumerate(FLOORS) for name in names.split()}


def test_every_part_has_its_floor():
    assert {part(path) for path in FILES} - {"__init__", "__main__"} == set(PARTS)


def test_imports_go_down():
    upwards = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in FILES
        for other in imported(path) & set(PARTS) - {part(path)}
        if PARTS[other] <= PARTS.get(part(path), -1)
    ]
    assert not upwards


def test_no_torch_where_it_is_not_needed():
    paths = [path.relative_to(ROOT) for path in FILES if part(path) in TORCH_FREE]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    code = f"import sys, {', '.join(names)}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_no_module_imports_torchaudio_when_it_is_imported_itself():
    assert not [
        path for path in FILES if re.search(r"(?m)^(import|from) torchaudio", path.read_text())
    ]


def test_only_its_own_file_knows_how_a_network_is_built():
    """Another network has other parts, so that what names one part serves one network only."""
    for path in FILES:
        if part(path) != "models":
            tree = ast.walk(ast.parse(path.read_text()))
            names = {getattr(node, "attr", getattr(node, "arg", None)) for node in tree}
            assert not names & {"in_planes", "front"}, path
