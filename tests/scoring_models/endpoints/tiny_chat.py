"""A tiny chat model that has learnt a few replies by heart, and `transformers serve` around it.

python tests/scoring_models/endpoints/tiny_chat.py FOLDER
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import transformers

from tests.scoring_models.causal.tiny_causal import make

REPLIES = {
    "w1": '{"quality": 1}',
    "w2": 'Sure: {"quality": 2, "reason": "w2 w3"}',
    "w3": "3",
    "w4": "w5 w6 w7",
}
"""First two characters of the first message -> what the model says: its chat template shows it no more of a chat."""

TEMPLATE = "{{ messages[0]['content'][:2] }}:"


def make_chat(folder: Path, replies: Mapping[str, str] = REPLIES) -> Path:
    """Writes the model. A second of training, from a seed."""
    make(folder, "llama")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    learn(model, [tuple(map(tokenizer.encode, (f"{said}:", f"{reply}<|end|>"))) for said, reply in replies.items()])
    model.save_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def learn(model: Any, pairs: Sequence[tuple[list[int], list[int]]], most: int = 400) -> None:
    """Trains until the model says each reply to its prompt, and hardly anything else."""
    torch.manual_seed(0)
    optimizer, length = torch.optim.AdamW(model.parameters(), lr=1e-2), max(len(a) + len(b) for a, b in pairs)
    ids = torch.tensor([[*a, *b, *[0] * (length - len(a) - len(b))] for a, b in pairs])
    labels = torch.tensor([[*[-100] * len(a), *b, *[-100] * (length - len(a) - len(b))] for a, b in pairs])
    for _ in range(most):
        loss = model(input_ids=ids, labels=labels).loss
        if loss.item() < 0.01:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise RuntimeError(f"the tiny model has not learnt its replies: a loss of {loss.item():.3g}")


class Serving:
    """`transformers serve` in a process of its own, on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.model = f"http://127.0.0.1:{port}", str(folder)
        command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder), "--port", str(port)]
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home")}
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen([*command, "--device", "cpu"], stdout=log, stderr=log, env=env)

    def __enter__(self) -> Serving:
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    return self
            except OSError:
                time.sleep(0.3)
        self.__exit__(None, None, None)
        raise RuntimeError(self.log.read_text())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


if __name__ == "__main__":
    make_chat(Path(sys.argv[1]))
