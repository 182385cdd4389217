"""What models run on: CPUs and GPUs, one or several, their batch sizes, engines and peaks.

Imports only `base`. Torch and OpenVINO are imported where a model is loaded.
"""
