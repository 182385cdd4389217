"""Panels and endpoints in YAML."""

from __future__ import annotations

import pytest

from poolsieve.dataflow.recipes.yaml import recipe_from_yaml
from poolsieve.scoring_models import Endpoint, Panel
from poolsieve.scoring_models.base.errors import PlanError

TEXT = """
pool:
  parquet: "items/*.parquet"
  uid: id
stages:
  - score:
      panel:
        Panel:
          models:
            - org/small@0123abc
            - Endpoint: {url: "http://localhost:8000", model: large, %s}
          scoring: {DocVQA: anls, "*": judge}
          judge:
            Endpoint: {url: "http://localhost:8001", model: judge, key: JUDGE_KEY}
"""


def test_a_panel_with_endpoints_is_written_in_yaml() -> None:
    made = recipe_from_yaml(TEXT % "max_tokens: 64", "r.yaml", {})
    (panel,) = made.stages[0].scorers.values()  # type: ignore[attr-defined]
    expected = Panel(
        ["org/small@0123abc", Endpoint("http://localhost:8000", "large", max_tokens=64)],
        scoring={"DocVQA": "anls", "*": "judge"},
        judge=Endpoint("http://localhost:8001", "judge"),
    )
    assert panel == expected
    assert panel.judge.key == "JUDGE_KEY"
    assert "localhost" not in str(panel.to_dict()) and "JUDGE_KEY" not in str(panel.to_dict())


def test_what_is_wrong_within_is_said_with_its_place() -> None:
    with pytest.raises(PlanError, match=r"r\.yaml, line 1\d.*max_tokens"):
        recipe_from_yaml(TEXT % "max_tokens: many", "r.yaml", {})
