"""The dashboards' JSON against the types that Grafana itself is built with (@grafana/schema)."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.panels import DASHBOARDS, panels
from support.prometheus import REPOSITORY

SOURCE = Path(__file__).parent / "grafana_types"
CACHE = REPOSITORY / ".cache" / "grafana_types"
PACKAGE = json.loads((SOURCE / "package.json").read_text())
NAMES = {
    "timeseries": "TimeSeries",
    "stat": "Stat",
    "table": "Table",
    "heatmap": "Heatmap",
    "bargauge": "BarGauge",
}
WITH_CUSTOM = {"timeseries", "table", "heatmap"}
"""Kinds of panels that have a type for ``fieldConfig.defaults.custom``."""

TYPES = "./node_modules/@grafana/schema/dist/types"
PANEL = "composable/{0}/panelcfg/x/{1}PanelCfg_types.gen"
IMPORTS = [
    ("{ Plain }", "./plain"),
    ("{ Dashboard, Panel, RowPanel }", f"{TYPES}/raw/dashboard/x/dashboard_types.gen"),
    # In the older types a panel's links pass for those of a dashboard.
    ("{ DataLink }", f"{TYPES}/schema/dashboard/v2beta1/types.spec.gen"),
    *((f"* as {kind}", f"{TYPES}/raw/{PANEL.format(kind, name)}") for kind, name in NAMES.items()),
]
WHERE = re.compile(r"dashboard\.ts\((\d+),")


def as_typescript(dashboard: dict[str, Any]) -> str:
    """Every part of a dashboard as a constant of its type, so that the compiler judges it.

    A line each, which ends with the title that it belongs to.
    """
    declared = [f"import type {names} from '{place}';" for names, place in IMPORTS]

    def declare(kind: str, value: Any, title: str) -> None:
        constant = f"export const part{len(declared)}: Plain<{kind}> = {json.dumps(value)};"
        declared.append(f"{constant} // {title}")

    dashboard = copy.deepcopy(dashboard)
    for panel in dashboard.pop("panels"):
        kind, title = panel["type"], panel["title"]
        if kind == "row":
            declare("RowPanel", panel, title)
            continue
        declare(f"{kind}.Options", panel["options"], title)
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if kind in WITH_CUSTOM:
            declare(f"{kind}.FieldConfig", custom, title)
        else:
            assert not custom
        declare("DataLink[]", panel.pop("links"), title)
        declare("Omit<Panel, 'links'>", panel, title)
    declare("Omit<Dashboard, 'panels'>", dashboard, dashboard["title"])
    return "\n".join(declared) + "\n"


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], list[str]]:
    """Compiles a dashboard and gives the compiler's complaints."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed: the dashboards' types were NOT CHECKED")
    compiler = CACHE / "node_modules" / "typescript" / "bin" / "tsc"
    wanted = (SOURCE / "package.json").read_text()
    installed = CACHE / "installed.json"
    if not compiler.is_file() or not installed.is_file() or installed.read_text() != wanted:
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / "package.json", CACHE)
        install = ["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit"]
        ran = subprocess.run(install, cwd=CACHE, capture_output=True, timeout=240, check=False)
        if ran.returncode:
            why = ran.stderr.decode().strip().splitlines()[:1]
            pytest.skip(f"npm could not install: dashboards' types were NOT CHECKED {why}")
        installed.write_text(wanted)
    directory = tmp_path_factory.mktemp("types")
    (directory / "node_modules").symlink_to(CACHE / "node_modules")
    shutil.copy(SOURCE / "plain.ts", directory)

    def compile_(dashboard: dict[str, Any]) -> list[str]:
        (directory / "dashboard.ts").write_text(as_typescript(dashboard))
        options = "--noEmit --strict --skipLibCheck --target es2022 --module preserve dashboard.ts"
        ran = subprocess.run(
            ["node", str(compiler), *options.split()],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        found = ran.stdout.splitlines()
        assert bool(ran.returncode) == bool(found), ran.stderr
        return found

    return compile_


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_json_is_of_grafanas_types(complaints, name):
    assert complaints(DASHBOARDS[name]) == []


WRONG = {
    ("options", "tooltip", "mode"): "multiple",
    ("options", "tooltip", "kind"): "multi",
    ("fieldConfig", "defaults", "custom", "drawStyle"): "lines",
    ("fieldConfig", "defaults", "custom", "stacking", "moed"): "none",
    ("fieldConfig", "defaults", "units"): "s",
    ("fieldConfig", "defaults", "min"): "0",
    ("gridPos", "width"): 3,
    ("links", 0, "adress"): "x",
    ("descripton",): "x",
}


def test_a_misspelt_option_is_found_at_every_depth(complaints):
    (panel,) = [p for p in panels("operations") if p["title"] == "Lag in records"]
    spoilt = [{**copy.deepcopy(panel), "title": "as it should be"}]
    for place, wrong in WRONG.items():
        spoilt.append({**copy.deepcopy(panel), "title": str(place)})
        inner = spoilt[-1]
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = wrong
    dashboard = {**DASHBOARDS["operations"], "panels": spoilt}
    found = complaints(dashboard)
    lines = as_typescript(dashboard).splitlines()
    numbers = [int(each[1]) for each in map(WHERE.match, found) if each]
    assert {lines[number - 1].rsplit("// ")[-1] for number in numbers} == set(map(str, WRONG))


def test_the_types_are_of_the_grafana_that_compose_starts():
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    image = compose["services"]["grafana"]["image"]
    assert image == f"grafana/grafana:{PACKAGE['dependencies']['@grafana/schema']}"
