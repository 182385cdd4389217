"""Spark, Flink and Prism on this machine, for trials and tests: made of registries' packages, started, ended.

One file an engine; `artefacts` fetches what they are made of, `processes` starts and ends, `state` remembers.
"""
