"""Data sets, and how batches are drawn from them."""

from .dataset import ArrayDataset as ArrayDataset
from .dataset import Dataset as Dataset
from .loader import DataLoader as DataLoader
from .sampler import BatchSampler as BatchSampler
