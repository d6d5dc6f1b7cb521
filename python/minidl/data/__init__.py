"""Datasets, samplers and DataLoader with PyTorch's names, and the image sets that `minidl train` knows."""

from minidl.data.dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from minidl.data.download import DownloadError
from minidl.data.idx import CorruptFileError, read_idx
from minidl.data.images import DATASET_NAMES, DatasetNotFoundError, ImageSet, load_images
from minidl.data.loader import DataLoader, default_collate
from minidl.data.pixels import PixelDataset
from minidl.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "DATASET_NAMES",
    "BatchSampler",
    "ConcatDataset",
    "CorruptFileError",
    "DataLoader",
    "Dataset",
    "DatasetNotFoundError",
    "DownloadError",
    "ImageSet",
    "PixelDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "load_images",
    "random_split",
    "read_idx",
]
