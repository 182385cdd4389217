"""What is remembered of Beam's own looks says what Beam would say anew."""

from __future__ import annotations

import pickle
import types
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, TypeOptions
from apache_beam.transforms import userstate
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from poolsieve.dataflow.runners.remembered import KeptOptions, remember_stateless

FLAGS = ["--direct_num_workers=3", "--no_pipeline_type_check"]


def test_views_share_their_values_as_beams_do() -> None:
    kept, beams = KeptOptions(FLAGS), PipelineOptions(FLAGS)
    for options in (kept, beams):
        assert options.view_as(DirectOptions).direct_num_workers == 3
        assert not options.view_as(TypeOptions).pipeline_type_check
        options.view_as(DirectOptions).direct_num_workers = 5
        assert options.view_as(TypeOptions).view_as(DirectOptions).direct_num_workers == 5
    assert kept.get_all_options() == beams.get_all_options()
    assert kept.to_runner_api() == beams.to_runner_api()
    assert kept.view_as(TypeOptions) is kept.view_as(TypeOptions)


def test_options_travel_without_their_views() -> None:
    kept = KeptOptions(FLAGS)
    kept.view_as(DirectOptions).direct_num_workers = 7
    again = pickle.loads(pickle.dumps(kept))
    assert again.view_as(DirectOptions).direct_num_workers == 7
    assert "_views" not in pickle.loads(pickle.dumps(KeptOptions(FLAGS))).__dict__


class Plain(beam.DoFn):
    def process(self, element: Any) -> Any:
        yield element


class Counting(beam.DoFn):
    SEEN = ReadModifyWriteStateSpec("seen", VarIntCoder())

    def process(self, element: Any, seen: Any = beam.DoFn.StateParam(SEEN)) -> Any:
        yield element


def test_state_is_found_each_time_and_none_is_remembered() -> None:
    remember_stateless()
    for _ in range(3):
        assert userstate.get_dofn_specs(Plain()) == (set(), set())
        assert userstate.get_dofn_specs(Counting()) == ({Counting.SEEN}, set())
    odd = Plain()
    odd.process = types.MethodType(Counting.process, odd)  # type: ignore[method-assign]
    assert userstate.get_dofn_specs(odd) == ({Counting.SEEN}, set())


def test_beam_is_taught_once() -> None:
    remember_stateless()
    before = userstate.get_dofn_specs
    remember_stateless()
    assert userstate.get_dofn_specs is before
