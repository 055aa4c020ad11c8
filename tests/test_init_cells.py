"""Files with cells as people write them: `init` proposes, and `evaluate` rejects nothing."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream_detector.__main__ import main

START = datetime(2024, 3, 4, 8, 5)  # noqa: DTZ001 - as the file says


def weather(rng: random.Random) -> Iterator[str]:
    """German, date and clock apart, units, a word of one's own for missing."""
    yield "Datum;Uhrzeit;Station;Temperatur;Umsatz;Feuchte"
    for row in range(400):
        at = START + timedelta(minutes=7 * row)
        money = f"{rng.lognormvariate(6.5, 1):,.2f}".translate(str.maketrans(",.", ".,"))
        degrees = f"{rng.gauss(20, 3):.1f}".replace(".", ",")
        damp = "k.A." if row % 40 == 3 else f"{rng.randint(30, 90)} %"
        yield f"{at:%d.%m.%Y;%H:%M};S{row % 4};{degrees} °C;{money} €;{damp}"


def requests(rng: random.Random) -> Iterator[str]:
    """Go's times and durations, multiples, yes and no, a dash for missing."""
    yield "when,host,latency,share,cached,size"
    for row in range(400):
        at = START + timedelta(seconds=13 * row)
        took = rng.lognormvariate(2.5, 1.5)
        latency = f"{took:.1f}ms" if took < 300 else f"{took / 1000:.2f}s"
        size = rng.choice(["-", "12.5K", "1.2M", "900"])
        said = f"{rng.random():.2f},{rng.choice(['yes', 'no'])},{size}"
        yield f"{at} +0100 CET m=+{row}.5,h{row % 5},{latency},{said}"


def changes(rng: random.Random) -> Iterator[str]:
    """Debezium with its schema, decimals in base64, microseconds."""
    kind = {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal"}
    amount = {**kind, "field": "amount", "parameters": {"scale": "2"}}
    after = {"field": "after", "type": "struct", "fields": [amount]}
    for row in range(400):
        cents = rng.randint(100, 99_999).to_bytes(3, "big")
        value = {
            "id": f"p{row}",
            "amount": b64encode(cents).decode(),
            "created_at": 1_709_539_200_000_000 + row * 61_000_000,
            "customer": f"C{rng.randint(0, 9)}",
        }
        change = {"before": None, "after": value, "op": "c", "source": {"table": "payments"}}
        yield json.dumps({"schema": {"type": "struct", "fields": [after]}, "payload": change})


CASES: dict[str, tuple[Any, dict[str, Any], set[str], str]] = {
    "weather.csv": (
        weather,
        {"fields": ["Datum", "Uhrzeit"], "format": "day_first"},
        {"Temperatur", "Umsatz", "Feuchte"},
        "taken for missing: 'k.A.'",
    ),
    "requests.csv": (
        requests,
        {"field": "when", "format": "auto"},
        {"latency", "share", "size"},
        "'1 ms' as 0.001",
    ),
    "changes.jsonl": (
        changes,
        {"field": "created_at", "format": "auto"},
        {"amount"},
        "debezium",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_cells_as_people_write_them(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines, time, numbers, said = CASES[name]
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("\n".join(lines(random.Random(1))) + "\n", encoding="utf-8")
    assert main(["init", "--data", name, "--output", "c.yaml"]) == 0
    printed = capsys.readouterr()
    assert said in " ".join((printed.out + printed.err).split())
    config = yaml.safe_load(Path("c.yaml").read_text(encoding="utf-8"))
    assert config["event"]["time"] == time
    assert {f["numeric"] for f in config["features"] if "numeric" in f} == numbers
    assert main(["evaluate", "c.yaml", "--data", name, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["events"] == 400
    assert figures["rejected"] == 0
