"""The dashboard against Grafana's own types: a misspelt field would be ignored by Grafana without a word."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE
from tests.unit.insight.world import CAMPAIGN, NAMESPACE, SETTINGS, TITLE
from tools.bootstrap.node import ensure_node_packages, node_command
from tools.bootstrap.peers import GRAFANA_PACKAGES

from flywheel.insight.abtest_dashboard import abtest_dashboard
from flywheel.insight.dashboard import dashboard
from flywheel.insight.fraud_dashboard import fraud_dashboard

OPTIONS = ["--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext"]
# How the types of a panel's own options are called.
KINDS = {"stat": "Stat", "gauge": "Gauge", "timeseries": "TimeSeries", "bargauge": "BarGauge"}
# In JSON the members of an enumeration are their values.
WIRE = """
type Wire<T> = T extends string ? `${T}` : T extends (infer Each)[] ? Wire<Each>[] : T extends object
  ? { [Key in keyof T]: Wire<T[Key]> } : T;
// What the data source of Prometheus reads of an annotation is in no schema.
type Asked = { target: { refId: string; expr: string; interval: string }; titleFormat: string };
type Marked = Omit<AnnotationQuery, "target"> & Asked;
type Filled = { panels: (Panel | RowPanel)[]; annotations: { list: Marked[] } };
type Board = Omit<Dashboard, "panels" | "annotations"> & Filled;
"""


def program(board: dict[str, Any]) -> str:
    """Write a dashboard, and what its panels have of their own, as constants of Grafana's types."""
    lines = ['import type { AnnotationQuery, Dashboard, GraphFieldConfig, Panel, RowPanel } from "@grafana/schema";']
    for kind, name in KINDS.items():
        module = f"@grafana/schema/dist/esm/raw/composable/{kind}/panelcfg/x/{name}PanelCfg_types.gen"
        lines.append(f'import type {{ Options as {name} }} from "{module}";')
    lines += [WIRE, f"export const board: Wire<Board> = {json.dumps(board, ensure_ascii=False)};"]
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        number, options = panel["id"], json.dumps(panel["options"])
        lines.append(f"export const options{number}: Wire<Partial<{KINDS[panel['type']]}>> = {options};")
        custom = json.dumps(panel["fieldConfig"]["defaults"].get("custom", {}))
        lines.append(f"export const custom{number}: Wire<GraphFieldConfig> = {custom};")
    return "\n".join(lines)


def complaints(board: dict[str, Any], folder: Path) -> str:
    """What Grafana's types have against a dashboard."""
    packages = ensure_node_packages(GRAFANA_PACKAGES)
    (folder / "node_modules").symlink_to(packages / "node_modules")
    (folder / "dashboard.ts").write_text(program(board))
    compiler = str(packages / "node_modules/typescript/lib/tsc.js")
    command = [node_command(), compiler, *OPTIONS, "dashboard.ts"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return ended.stdout + ended.stderr


def test_grafana_knows_every_field(tmp_path: Path) -> None:
    assert complaints(dashboard(CAMPAIGN, NAMESPACE, TITLE, SETTINGS), tmp_path) == ""


def test_grafana_knows_every_field_of_the_tests_board(tmp_path: Path) -> None:
    assert complaints(abtest_dashboard(CAMPAIGN, NAMESPACE, TITLE), tmp_path) == ""


def test_grafana_knows_every_field_of_the_fraud_board(tmp_path: Path) -> None:
    assert complaints(fraud_dashboard(CAMPAIGN, NAMESPACE, TITLE), tmp_path) == ""


def test_the_check_sees_mistakes(tmp_path: Path) -> None:
    board = dashboard(CAMPAIGN, NAMESPACE, TITLE, SETTINGS) | {"titel": "x"}
    board["panels"][1]["options"]["graphMod"] = "area"
    said = complaints(board, tmp_path)
    assert "titel" in said
    assert "graphMod" in said
