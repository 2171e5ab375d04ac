"""`critters`: the embedded default dataset, generated from a seed, where only a small part tells the class."""

from wsol_bench.datasets.critters.dataset import Critters as Critters
