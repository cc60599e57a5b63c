"""Data sets, and how batches are drawn from them."""

from .dataset import ArrayDataset, Dataset
from .loader import DataLoader
from .sampler import BatchSampler

__all__ = ["ArrayDataset", "BatchSampler", "DataLoader", "Dataset"]
