"""Sources of PyTorch models, good and misbehaving, to be written to files."""

from __future__ import annotations

import re

MODELS = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, depth=2, width=32, act="relu"):
        super().__init__()
        self.first = nn.Linear(width, width)
        self.act = {"relu": nn.ReLU, "tanh": nn.Tanh}[act]()
        self.rest = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x):
        x = self.first(x)
        for layer in self.rest:
            x = layer(self.act(x))
        return x


def build(depth=2, width=32, act="relu"):
    return Net(depth, width, act)


def with_inputs():
    return Net(), {"x": torch.zeros(2, 8, 32)}


class Zoo:
    deep = staticmethod(lambda: Net(30))


net = Net()
WIDTH = 32
"""

WRONG = """\
import contextlib, os, random, signal, sys, threading, time, warnings

import numpy
import torch
from torch import nn


def good():
    return nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

def raises():
    def inner():
        raise ValueError("bad\\n depth")
    nn.Sequential(nn.Linear(4, 4))
    inner()

def leaves():
    sys.exit("no GPU")

def interrupts():
    raise KeyboardInterrupt

def none():
    pass

def mapping():
    return {"model": good()}

def kind():
    return nn.Linear

def needs(depth, *, width):
    return good()

def loops():
    open(f"{os.getpid()}.pid", "x").close()
    while True:
        time.sleep(0.01)

def ends():
    os._exit(3)

def segfaults():
    os.kill(os.getpid(), signal.SIGSEGV)

def allocates():
    return nn.Linear(len(numpy.ones(1 << 30)), 4)


def allocates_tensor():
    return nn.Linear(len(torch.ones(1 << 31).tolist()), 4)

def forward_fails():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(32, 32)

        def forward(self, x):
            return self.fc(x) + undefined
    return Broken()

def prints():
    for _ in range(20000):
        print("x" * 50)
    os.write(1, b"raw")
    return good()

def warns():
    warnings.warn("careless")
    return good()

def spawns():
    threading.Thread(target=time.sleep, args=(600,)).start()
    return good()

def forks():
    if os.fork() == 0:
        time.sleep(600)
    return good()

def changes():
    os.chdir("/")
    sys.path.clear()
    os.environ.clear()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1), random.seed(1), numpy.random.seed(1)
    nn.Linear.forward = None
    nn.init.kaiming_uniform_ = None
    sys.modules["torch"] = None
    return nn.Sequential(nn.Embedding(5, 32), nn.Flatten())
"""


def placed(message: str) -> str:
    """The message with the number of the line of ``WRONG`` that holds each ``<text>``."""

    def number(match: re.Match[str]) -> str:
        (found,) = (at for at, line in enumerate(WRONG.splitlines(), 1) if match[1] in line)
        return str(found)

    return re.sub(r"<(.*?)>", number, message)
